import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LodgeError } from '../../src/errors.ts';
import { parseNetworkText } from '../../src/machine/network/text.ts';
import { noDeadline } from '../../src/placement/mapper/deadline.ts';
import { partFor } from '../../src/placement/mapper/part.ts';
import { costOf, inNetwork, problemOf } from '../../src/placement/mapper/problem.ts';
import { objectives, place } from '../../src/placement/place.ts';
import { generateTraffic } from '../../src/placement/traffic/generate.ts';

/** Every shape, with and without places inside hosts. */
const forms = [
  'torus:8x8x8',
  'torus:6x5/numa:3/slots:2',
  'mesh:7x9',
  'torus:4x4x4x4',
  'torus:5x4x3x4/numa:2',
  'fat-tree:k=6',
  'tree:3x4x5',
  'dragonfly:a=4,p=2,h=2',
  'dragonfly:a=3,p=2,h=1/numa:2',
  'hypercube:7',
  'flat:40/slots:2',
];

const options = {
  seed: 1,
  effort: 'fast',
  routing: 'dimension-order',
  deadline: noDeadline,
  threads: 1,
} as const;

describe('the part of a network that ranks go into', () => {
  it('is as near together by its own distances as by those of the network', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...forms),
        fc.integer({ min: 1, max: 40 }),
        fc.nat(),
        (form, ranks, hole) => {
          const network = parseNetworkText(form);
          const room = network.capacity.guests.slice();
          room[hole % room.length] = 0;
          const part = partFor(network, room, ranks);
          const places = part.placesOf ?? Int32Array.from(room, (_, at) => at);
          expect(part.room).toHaveLength(places.length);
          expect(part.room.reduce((sum, one) => sum + one, 0)).toBeGreaterThanOrEqual(ranks);
          expect(Array.from(part.hierarchy.order).sort((a, b) => a - b)).toEqual(Array.from(places.keys()));
          for (let a = 0; a < places.length; a += 3) {
            expect(part.room[a]!).toBeLessThanOrEqual(room[places[a]!]!);
            for (let b = 0; b < places.length; b += 5) {
              expect(part.metric.distance(a, b)).toBe(network.metric.distance(places[a]!, places[b]!));
            }
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  it.each(forms)('is what placements are found in, by any objective: %s', async (form) => {
    const network = parseNetworkText(form);
    const traffic = generateTraffic('power-law:13', 2);
    const problem = problemOf(traffic, network, network.capacity.guests);
    for (const objective of objectives) {
      const { placement, metrics } = await place(traffic, network, { ...options, objective });
      const counts = new Int32Array(network.places);
      for (const at of placement) counts[at]!++;
      expect(counts.findIndex((count, at) => count > network.capacity.guests[at]!)).toBe(-1);
      // What is told is of the places in the network.
      const local = placement.map((at) => problem.placesOf?.indexOf(at) ?? at);
      expect(inNetwork(problem, local)).toEqual(placement);
      expect(metrics.hopBytes).toBeCloseTo(costOf(problem, local), 6);
    }
  });

  it('gives few ranks in millions of places what they are given in a network of their size', async () => {
    const traffic = generateTraffic('power-law:300', 4);
    const whole = { ...options, effort: 'normal', objective: 'hop-bytes' } as const;
    const small = await place(traffic, parseNetworkText('torus:16x16x16'), whole);
    const large = await place(traffic, parseNetworkText('torus:128x128x128'), whole);
    expect(large.metrics.hopBytes).toBe(small.metrics.hopBytes);
    expect(large.isComplete).toBe(true);
  });

  it('is not there where there are more ranks than room', () => {
    const network = parseNetworkText('torus:4x4');
    expect(() => partFor(network, network.capacity.guests, 17)).toThrow(
      expect.objectContaining({ code: 'no-room' } satisfies Partial<LodgeError>),
    );
  });
});

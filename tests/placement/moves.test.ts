import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseNetworkText } from '../../src/machine/network/text.ts';
import { noDeadline } from '../../src/placement/mapper/deadline.ts';
import { measure } from '../../src/placement/metrics.ts';
import { moveSeconds, parseMoveCost } from '../../src/placement/move-cost.ts';
import { findMoves, type MoveOptions } from '../../src/placement/moves.ts';
import { generateTraffic } from '../../src/placement/traffic/generate.ts';
import { ArcList, type Traffic, trafficOfArcs } from '../../src/placement/traffic/graph.ts';
import { seededRandom, shuffle } from '../../src/random.ts';

const options: MoveOptions = {
  cost: parseMoveCost('memory=1G,bandwidth=10Gbit,pause=50ms'),
  horizonSeconds: 600,
  windowSeconds: 1,
  mostMoves: Number.POSITIVE_INFINITY,
  mostSeconds: Number.POSITIVE_INFINITY,
  deadline: noDeadline,
};

/** Traffic with weights that are worth moving for. */
function heavy(traffic: Traffic, factor: number): Traffic {
  return { ...traffic, weights: traffic.weights.map((weight) => weight * factor) };
}

test('orders can be followed: rooms are kept at each step, gains are as promised', () => {
  const forms = ['torus:4x4', 'torus:3x2/numa:2', 'fat-tree:k=4', 'flat:4/slots:4', 'mesh:4x4/slots:2'];
  fc.assert(
    fc.property(
      fc.constantFrom(...forms),
      fc.integer({ min: 2, max: 16 }),
      fc.nat(1000),
      fc.constantFrom(1e3, 1e6, 1e9),
      fc.constantFrom(Number.POSITIVE_INFINITY, 3),
      (form, count, seed, factor, mostMoves) => {
        const network = parseNetworkText(form);
        const ranks = Math.min(
          count,
          network.capacity.guests.reduce((sum, one) => sum + one, 0),
        );
        const traffic = heavy(generateTraffic(`power-law:${ranks}`, seed), factor);
        const slots = Array.from(network.capacity.guests).flatMap((guests, at) =>
          new Array<number>(guests).fill(at),
        );
        const current = Int32Array.from(shuffle(slots, seededRandom(seed)).slice(0, ranks));
        const moves = findMoves(traffic, network, current, { ...options, mostMoves });
        const at = current.slice();
        const inside = new Int32Array(network.places);
        for (const one of at) inside[one]!++;
        expect(moves.steps.length).toBeLessThanOrEqual(mostMoves);
        for (const step of moves.steps) {
          expect(at[step.rank]).toBe(step.from);
          if (step.kind === 'swap') {
            expect(at[step.with!]).toBe(step.to);
            at[step.with!] = step.from;
          } else {
            inside[step.from]!--;
            inside[step.to]!++;
            expect(inside[step.to]).toBeLessThanOrEqual(network.capacity.guests[step.to]!);
          }
          at[step.rank] = step.to;
        }
        expect(at).toEqual(moves.placement);
        const saved =
          measure(traffic, network, current, undefined).hopBytes -
          measure(traffic, network, at, undefined).hopBytes;
        expect(moves.gain).toBeCloseTo((saved * 600) / (10e9 / 8), 6);
        // Each group pays.
        const groups = new Map<number, number>();
        for (const { group, gain, cost } of moves.steps)
          groups.set(group, (groups.get(group) ?? 0) + gain - cost);
        for (const net of groups.values()) expect(net).toBeGreaterThan(0);
      },
    ),
    { numRuns: 80 },
  );
});

const apart = (): Traffic => {
  const arcs = new ArcList();
  arcs.add(0, 1, 1e9);
  return trafficOfArcs(2, arcs, false);
};

describe('what pays', () => {
  test('two that talk much come together', () => {
    const { steps, end } = findMoves(apart(), parseNetworkText('torus:8'), Int32Array.of(0, 4), options);
    expect(steps).toHaveLength(1);
    expect(end).toBe('nothing pays');
    expect(steps[0]!.gain).toBeCloseTo((3 * 1e9 * 600) / (10e9 / 8), 6);
    expect(steps[0]!.cost).toBeCloseTo((2 ** 30 / (10e9 / 8)) * 3 + 0.05, 6);
  });

  test('nothing, where the traffic will soon be over', () => {
    const short = { ...options, horizonSeconds: 1e-6 };
    expect(findMoves(apart(), parseNetworkText('torus:8'), Int32Array.of(0, 4), short).steps).toEqual([]);
  });

  test('nothing, where all is well', () => {
    expect(findMoves(apart(), parseNetworkText('torus:8'), Int32Array.of(3, 4), options).steps).toEqual([]);
  });

  test('a budget of time', () => {
    const limited = findMoves(apart(), parseNetworkText('torus:8'), Int32Array.of(0, 4), {
      ...options,
      mostSeconds: 0.5,
    });
    expect(limited).toMatchObject({ steps: [], end: 'budget' });
  });

  const ring = (): Traffic => {
    const arcs = new ArcList();
    for (const [a, b] of [
      [0, 2],
      [1, 3],
    ] as const)
      arcs.add(a, b, 1e9);
    return trafficOfArcs(4, arcs, false);
  };

  test('without free room there are only swaps, and that is said', () => {
    const moves = findMoves(ring(), parseNetworkText('mesh:4'), Int32Array.of(0, 1, 2, 3), options);
    expect(moves.hasFreeRoom).toBe(false);
    expect(moves.steps.map(({ kind }) => kind)).toEqual(['swap']);
  });

  test('with free room two are exchanged through it', () => {
    const network = parseNetworkText('mesh:5');
    network.capacity.guests[4] = 1;
    const moves = findMoves(ring(), network, Int32Array.of(0, 1, 2, 3), options);
    expect(moves.hasFreeRoom).toBe(true);
    expect(new Set(moves.steps.map(({ kind }) => kind))).toEqual(new Set(['move']));
  });

  test('where a budget has no room for an exchange, a move that pays less is taken', () => {
    const arcs = new ArcList();
    arcs.add(0, 2, 1e9);
    arcs.add(1, 3, 1e9);
    arcs.add(4, 5, 1e8);
    const traffic = trafficOfArcs(6, arcs, false);
    const [network, current] = [parseNetworkText('mesh:9'), Int32Array.of(0, 1, 2, 3, 8, 5)];
    network.capacity.guests[4] = 0;
    const all = findMoves(traffic, network, current, options);
    expect(all.steps.slice(0, 3).map(({ group }) => group)).toEqual([1, 1, 1]);
    const two = findMoves(traffic, network, current, { ...options, mostMoves: 2 });
    expect(two.end).toBe('budget');
    expect(two.steps.length).toBeGreaterThan(0);
    expect(two.gain).toBeGreaterThan(two.cost);
  });

  test('a placement that is too full is refused', () => {
    expect(() => findMoves(apart(), parseNetworkText('torus:8'), Int32Array.of(2, 2), options)).toThrow(
      /more in place 2 than it can hold/,
    );
  });

  test('memory of guests counts against that of places', () => {
    const network = parseNetworkText('flat:2/slots:2');
    const tight = { ...network, capacity: { ...network.capacity, memoryBytes: Float64Array.of(10, 7) } };
    const traffic = { ...apart(), demand: { memoryBytes: Float64Array.of(5, 4) } };
    const { placement } = findMoves(traffic, tight, Int32Array.of(0, 1), options);
    expect(Array.from(placement)).toEqual([0, 0]);
  });
});

test('costs of moves', () => {
  const cost = parseMoveCost('memory=2G,bandwidth=8Gbit,dirty=100M');
  expect(moveSeconds(cost, 1e9)).toBeCloseTo(1 / (1 - (100 * 2 ** 20) / 1e9), 9);
  expect(() => parseMoveCost('dirty=2G,bandwidth=8Gbit')).toThrow(/never ends/);
  expect(() => parseMoveCost('speed=2')).toThrow(/says nothing/);
});

test('an exchange goes through the free place that makes the way shortest, however many are free', () => {
  // A chain in the upper half of a row, two of it in each other's place; only what is below is free.
  const network = parseNetworkText('mesh:200');
  const arcs = new ArcList();
  for (let rank = 1; rank < 100; rank++) arcs.add(rank - 1, rank, 1e9);
  const current = Int32Array.from({ length: 100 }, (_, rank) => 100 + rank);
  [current[49], current[51]] = [current[51]!, current[49]!];
  const { steps } = findMoves(trafficOfArcs(100, arcs, false), network, current, options);
  const [first, second, third] = steps;
  expect([first?.to, second?.kind, third?.from]).toEqual([99, 'move', 99]);
});

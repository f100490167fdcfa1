import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LodgeError } from '../../src/errors.ts';
import { parseNetworkText } from '../../src/machine/network/text.ts';
import { recogniseBundle } from '../../src/placement/mapper/bundle.ts';
import { deadlineIn, noDeadline } from '../../src/placement/mapper/deadline.ts';
import { findGrid, placeBundle } from '../../src/placement/mapper/heavy-edges.ts';
import { mapRanks } from '../../src/placement/mapper/mapper.ts';
import { costOf, type Placement, type Problem, problemOf } from '../../src/placement/mapper/problem.ts';
import { halveAgain, recursivePlacement } from '../../src/placement/mapper/recursive.ts';
import { anneal, improve } from '../../src/placement/mapper/search.ts';
import { type PlaceOptions, place } from '../../src/placement/place.ts';
import { generateTraffic } from '../../src/placement/traffic/generate.ts';
import { ArcList, type Traffic, trafficOfArcs } from '../../src/placement/traffic/graph.ts';
import { seededRandom } from '../../src/random.ts';

const problemFor = (traffic: Traffic, form: string): Problem => {
  const network = parseNetworkText(form);
  return problemOf(traffic, network, network.capacity.guests);
};

const options: PlaceOptions = {
  objective: 'hop-bytes',
  seed: 1,
  effort: 'fast',
  routing: 'dimension-order',
  deadline: noDeadline,
  threads: 1,
};

function expectFits({ ranks, room }: Problem, placement: Placement): void {
  expect(placement).toHaveLength(ranks);
  const counts = new Int32Array(room.length);
  for (const at of placement) counts[at]!++;
  expect(counts.findIndex((count, at) => count > room[at]!)).toBe(-1);
}

const forms = [
  'torus:4x4',
  'mesh:3x5',
  'torus:3x2/numa:2/slots:2',
  'fat-tree:k=4',
  'dragonfly:a=2,p=2,h=1',
  'hypercube:4',
  'flat:9/slots:3',
  'tree:2x3x2',
];

const anyTraffic = fc
  .tuple(
    fc.integer({ min: 1, max: 12 }),
    fc.array(fc.tuple(fc.nat(11), fc.nat(11), fc.nat(9)), { maxLength: 40 }),
  )
  .map(([ranks, list]) => {
    const arcs = new ArcList();
    for (const [a, b, bytes] of list) arcs.add(a % ranks, b % ranks, bytes);
    return trafficOfArcs(ranks, arcs, false);
  });

test('every way keeps the room of each place, and says what it costs', () => {
  fc.assert(
    fc.property(anyTraffic, fc.constantFrom(...forms), fc.nat(100), (traffic, form, seed) => {
      const problem = problemFor(traffic, form);
      const mapped = mapRanks(problem, { seed, effort: 'fast', deadline: noDeadline });
      expectFits(problem, mapped.placement);
      expect(mapped.cost).toBeCloseTo(costOf(problem, mapped.placement), 6);
      const { placement: halved } = recursivePlacement(problem, seededRandom(seed), noDeadline);
      expectFits(problem, halved);
      const first = costOf(problem, halved);
      const saved = halveAgain(problem, halved, seededRandom(seed), noDeadline);
      expectFits(problem, halved);
      expect(first - costOf(problem, halved)).toBeCloseTo(saved, 6);
      const before = costOf(problem, halved);
      const fallen = improve(problem, halved, seededRandom(seed), noDeadline);
      expectFits(problem, halved);
      // What swaps were said to gain is what the whole cost has fallen by.
      expect(before - costOf(problem, halved)).toBeCloseTo(fallen, 6);
      if (traffic.neighbours.length > 0) {
        anneal(problem, halved, { tries: 5000, growth: 0.05 }, seededRandom(seed), noDeadline);
        expectFits(problem, halved);
      }
    }),
    { numRuns: 60 },
  );
});

/** The least cost of all placements, one rank in each of as many places. */
function leastCost(problem: Problem): number {
  let least = Number.POSITIVE_INFINITY;
  const placement = new Int32Array(problem.ranks);
  const left = problem.room.slice();
  const put = (rank: number): void => {
    if (rank === problem.ranks) {
      least = Math.min(least, costOf(problem, placement));
      return;
    }
    for (let at = 0; at < left.length; at++) {
      if (left[at] === 0) continue;
      left[at]!--;
      placement[rank] = at;
      put(rank + 1);
      left[at]!++;
    }
  };
  put(0);
  return least;
}

test('of small cases the best placement of all is found', () => {
  for (const form of [
    'torus:6',
    'mesh:2x3',
    'tree:2x3',
    'flat:2/slots:3',
    'torus:3/numa:2',
    'hypercube:2/slots:2',
    'dragonfly:a=1,p=3,h=1',
  ]) {
    for (let seed = 0; seed < 6; seed++) {
      const random = seededRandom(seed, form);
      const arcs = new ArcList();
      for (let i = 0; i < 9; i++) arcs.add(random.below(6), random.below(6), 1 + random.below(20));
      const problem = problemFor(trafficOfArcs(6, arcs, false), form);
      const { cost } = mapRanks(problem, { seed: 1, effort: 'normal', deadline: noDeadline });
      expect(cost, `${form}, seed ${seed}`).toBeCloseTo(leastCost(problem), 6);
    }
  }
});

describe('grids in shuffled graphs', () => {
  test.each([
    ['halo5:6x9', [6, 9], false],
    ['halo7:4x5x6', [4, 5, 6], false],
    ['halo7:5x6x7+wrap', [5, 6, 7], true],
    ['halo7:3x3x3+wrap', [3, 3, 3], true],
    ['halo27:4x5x6', [4, 5, 6], false],
    ['halo27:5x5x6+wrap', [5, 5, 6], true],
    ['mg:8x8x8', [8, 8, 8], false],
    ['butterfly:64', [2, 2, 2, 2, 2, 2], false],
    ['ft:64', [8, 8], false],
    ['ft:128', [8, 16], false],
    // A ring of four is a square: two dimensions of two.
    ['halo5:4x6+wrap', [2, 2, 6], undefined],
  ] as const)('%s', (pattern, sizes, wraps) => {
    const grid = findGrid(problemFor(generateTraffic(pattern, 7), 'flat:600'), noDeadline);
    expect(grid?.sizes.toSorted((a, b) => a - b)).toEqual(sizes);
    if (wraps !== undefined) expect(new Set(grid?.wraps)).toEqual(new Set([wraps]));
  });

  test.each(['power-law:64', 'geometric:100', 'groups:64/8', 'cg:64'])('%s is none', (pattern) => {
    expect(findGrid(problemFor(generateTraffic(pattern, 7), 'flat:600'), noDeadline)).toBeUndefined();
  });

  test('a square of ranks with one connection moved is none', () => {
    const { offsets, neighbours } = generateTraffic('ft:16', 1, false);
    const arcs = new ArcList();
    for (let rank = 0; rank < 16; rank++) {
      for (let at = offsets[rank]!; at < offsets[rank + 1]!; at++) {
        if (neighbours[at]! > rank) arcs.add(rank, neighbours[at]!, 100);
      }
    }
    // 0-1 and 10-11 become 0-10 and 1-11: each still has as many neighbours.
    for (let arc = 0; arc < arcs.count; arc++) {
      if (arcs.from[arc] === 0 && arcs.to[arc] === 1) arcs.to[arc] = 10;
      else if (arcs.from[arc] === 10 && arcs.to[arc] === 11) arcs.from[arc] = 1;
    }
    expect(findGrid(problemFor(trafficOfArcs(16, arcs, false), 'flat:16'), noDeadline)).toBeUndefined();
  });

  test('an edge more or less is seen', () => {
    const traffic = generateTraffic('halo5:5x5', 1, false);
    const arcs = new ArcList();
    for (let rank = 0; rank < 25; rank++) {
      for (let at = traffic.offsets[rank]!; at < traffic.offsets[rank + 1]!; at++) {
        if (traffic.neighbours[at]! > rank) arcs.add(rank, traffic.neighbours[at]!, 100);
      }
    }
    arcs.add(0, 24, 100);
    expect(findGrid(problemFor(trafficOfArcs(25, arcs, false), 'flat:25'), noDeadline)).toBeUndefined();
  });
});

describe('what structure gives', () => {
  test.each([
    ['halo7:8x8x8', 'torus:8x8x8', 1],
    ['halo7:6x5x4', 'torus:4x6x5', 1],
    ['halo7:4x4x8+wrap', 'torus:8x4x4', 1],
    ['halo5:8x8', 'hypercube:6', 1],
    ['butterfly:64', 'hypercube:6', 1],
    ['halo5:16x32', 'torus:8x8x8', 1.1],
    ['halo7:8x8x8', 'torus:4x4x4/slots:8', 0.43],
    ['halo27:6x6x6', 'torus:6x6x6', 1.19],
    // Both ends of a ring side by side on a line, the others two apart.
    ['halo5:8x8+wrap', 'mesh:8x8', 1.75],
    ['halo5:16x16', 'tree:4x4x16', 2.9],
    // Rows along one ring and columns along the other: 16 hops to the 7 others.
    ['ft:64', 'torus:8x8', 16 / 7],
  ])('%s on %s is at most %d hops', async (pattern, form, hops) => {
    const { metrics } = await place(generateTraffic(pattern, 3), parseNetworkText(form), options);
    expect(metrics.hopsPerByte).toBeLessThanOrEqual(hops + 1e-9);
  });
});

describe('many small graphs', () => {
  const mapped = (pattern: string, form: string) => {
    const problem = problemFor(generateTraffic(pattern, 1), form);
    const found = mapRanks(problem, { seed: 1, effort: 'fast', deadline: noDeadline });
    expectFits(problem, found.placement);
    return found;
  };

  test('groups are laid each into a box, its ranks beside their likes in the next group', () => {
    const { way, cost } = mapped('groups:256/16', 'torus:8x8x4');
    expect(way).toBe('bundle');
    // In boxes of 4x2x2 a rank is 36 hops from all others. The way through all 16 boxes and back goes 2 hops to the
    // next of four in a row, and of two rows, and 4 to the other half, and from there.
    expect(cost).toBe(256 * (36 / 2) * 100 + 16 * 10 * (14 * 2 + 2 * 4));
  });

  test('rows of conjugate gradients are found in the shuffled graph', () => {
    const problem = problemFor(generateTraffic('cg:4096', 1), 'torus:16x16x16');
    const { ranks, offsets, neighbours } = problem;
    const rows = { count: ranks, offsets, neighbours };
    const bundle = recogniseBundle(rows, rows, noDeadline)!;
    expect(bundle).toHaveLength(64);
    for (const part of bundle) {
      part.forEach((rank, i) => {
        const around = neighbours.subarray(offsets[rank]!, offsets[rank + 1]!);
        for (let bit = 1; bit < 64; bit *= 2) expect(around.includes(part[i ^ bit]!)).toBe(true);
      });
    }
    expect(Array.from(bundle).flatMap((part) => Array.from(part))).toHaveLength(4096);
  });

  test('where an axis has no power of two places, or traffic is of another kind, there are none', () => {
    const laid = (pattern: string, form: string) =>
      placeBundle(problemFor(generateTraffic(pattern, 1), form), noDeadline);
    expect(laid('groups:144/16', 'torus:12x12')).toBeUndefined();
    expect(laid('geometric:512', 'torus:8x8x8')).toBeUndefined();
    expect(laid('halo7:8x8x8', 'torus:8x8x8')).toBeUndefined();
    expect(laid('groups:64/16', 'dragonfly:a=4,p=2,h=2')).toBeUndefined();
    expect(laid('groups:64/16', 'torus:4x4x4')).toBeDefined();
  });
});

test('small parts are halved anew as long as it gains', () => {
  const problem = problemFor(generateTraffic('cg:256', 1), 'torus:4x4x4/slots:4');
  const random = seededRandom(1);
  const { placement } = recursivePlacement(problem, random, noDeadline);
  const fallen = [0, 1, 2].map(() => halveAgain(problem, placement, random, noDeadline));
  expect(fallen[0]).toBeGreaterThan(0);
  expect(Math.min(...fallen)).toBeGreaterThanOrEqual(0);
});

test('without time nothing is halved anew, and what there was stays', () => {
  const problem = problemFor(generateTraffic('cg:64', 1), 'torus:4x4x4');
  const { placement } = recursivePlacement(problem, seededRandom(1), noDeadline);
  const before = placement.slice();
  const over = deadlineIn(0, () => 1);
  expect(() => halveAgain(problem, placement, seededRandom(1), over)).toThrow('the time limit is over');
  expect(placement).toEqual(before);
});

test('the same seed gives the same placement', async () => {
  const traffic = generateTraffic('geometric:200', 4);
  const network = parseNetworkText('torus:6x6x6');
  const [one, same, other] = await Promise.all([
    place(traffic, network, options),
    place(traffic, network, options),
    place(traffic, network, { ...options, seed: 2 }),
  ]);
  expect(one.placement).toEqual(same.placement);
  expect(one.placement).not.toEqual(other.placement);
});

test('with hardly any time there is a placement, and it is said to be cut short', async () => {
  const traffic = generateTraffic('power-law:2000', 4);
  let calls = 0;
  // A clock that goes on with each look.
  const deadline = deadlineIn(20, () => calls++);
  const { isComplete, placement } = await place(traffic, parseNetworkText('torus:13x13x13'), {
    ...options,
    deadline,
  });
  expect(isComplete).toBe(false);
  expect(new Set(placement).size).toBe(2000);
});

describe('objectives', () => {
  const traffic = generateTraffic('geometric:100', 2);
  const network = parseNetworkText('torus:5x5x4');

  test('dilation: the longest way is not longer than where hop-bytes count', async () => {
    const plain = await place(traffic, network, options);
    const least = await place(traffic, network, { ...options, objective: 'dilation' });
    expect(least.metrics.maximumDilation).toBeLessThanOrEqual(plain.metrics.maximumDilation);
  });

  test('congestion: the fullest link carries no more', async () => {
    const plain = await place(traffic, network, options);
    const least = await place(traffic, network, { ...options, objective: 'congestion' });
    expect(least.metrics.congestion!.maximum).toBeLessThan(plain.metrics.congestion!.maximum);
  });
});

describe('room', () => {
  test('more ranks than room is refused', async () => {
    await expect(
      place(generateTraffic('halo5:5x5', 1), parseNetworkText('torus:24'), options),
    ).rejects.toMatchObject({ code: 'no-room' });
  });

  test('places without room are not used', async () => {
    const network = parseNetworkText('torus:4x4');
    network.capacity.guests.fill(0, 0, 4);
    const { placement } = await place(generateTraffic('halo5:3x4', 1), network, options);
    expect(Math.min(...placement)).toBeGreaterThanOrEqual(4);
    expect(new Set(placement).size).toBe(12);
  });

  test('CPUs and memory limit it as well', async () => {
    const network = parseNetworkText('flat:4/slots:8');
    const limited = {
      ...network,
      capacity: {
        ...network.capacity,
        cpus: new Float64Array(4).fill(4),
        memoryBytes: new Float64Array(4).fill(100),
      },
    };
    const traffic = {
      ...generateTraffic('butterfly:8', 1),
      demand: { cpus: new Float64Array(8).fill(2), memoryBytes: new Float64Array(8).fill(20) },
    };
    const { metrics } = await place(traffic, limited, options);
    expect(metrics.balance.most).toBe(2);
    const tooMuch = { ...traffic, demand: { cpus: new Float64Array(8).fill(3) } };
    await expect(place(tooMuch, limited, options)).rejects.toBeInstanceOf(LodgeError);
  });

  test('few ranks on a large network stay together', async () => {
    const { metrics } = await place(
      generateTraffic('groups:8/8', 1),
      parseNetworkText('torus:16x16x16'),
      options,
    );
    expect(metrics.maximumDilation).toBeLessThanOrEqual(3);
  });
});

test.each(['halo5:1x1', 'groups:1/1', 'power-law:1', 'butterfly:2'])('%s', async (pattern) => {
  const { metrics } = await place(generateTraffic(pattern, 1), parseNetworkText('flat:1/slots:2'), options);
  expect(metrics.hopBytes).toBe(0);
});

test('parts that do not talk', async () => {
  const arcs = new ArcList();
  arcs.add(0, 1, 5);
  arcs.add(2, 3, 5);
  const { metrics } = await place(trafficOfArcs(6, arcs, false), parseNetworkText('torus:6'), options);
  expect(metrics.hopsPerByte).toBe(1);
});

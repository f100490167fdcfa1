import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { HostNetwork } from '../../../src/machine/network/network.ts';
import { parseNetworkText } from '../../../src/machine/network/text.ts';

/** Hops between vertices of a graph, by going through it. */
function hopsFrom(start: number, neighbours: readonly number[][]): number[] {
  const hops = neighbours.map(() => -1);
  hops[start] = 0;
  for (const queue = [start]; queue.length > 0; ) {
    const at = queue.shift()!;
    for (const next of neighbours[at]!) {
      if (hops[next] !== -1) continue;
      hops[next] = hops[at]! + 1;
      queue.push(next);
    }
  }
  return hops;
}

function joined(count: number, links: readonly [number, number][]): number[][] {
  const neighbours: number[][] = Array.from({ length: count }, () => []);
  for (const [a, b] of links) {
    neighbours[a]!.push(b);
    neighbours[b]!.push(a);
  }
  return neighbours;
}

function lattice(sizes: readonly number[], wraps: boolean): number[][] {
  const count = sizes.reduce((product, size) => product * size, 1);
  const links: [number, number][] = [];
  for (let at = 0; at < count; at++) {
    let stride = 1;
    for (const size of sizes.toReversed()) {
      const coordinate = Math.floor(at / stride) % size;
      if (coordinate + 1 < size) links.push([at, at + stride]);
      else if (wraps && size > 2) links.push([at, at - coordinate * stride]);
      stride *= size;
    }
  }
  return joined(count, links);
}

/** Compares with going through a graph whose first vertices are the places. */
function expectHops(network: HostNetwork, graph: readonly number[][]): void {
  for (let a = 0; a < network.places; a++) {
    const hops = hopsFrom(a, graph);
    const wrong = hops
      .slice(0, network.places)
      .findIndex((far, b) => Math.abs(network.metric.distance(a, b) - far) > 1e-9);
    expect(wrong, `${network.form}: from ${a}`).toBe(-1);
  }
}

describe('distances are those of going through the graph', () => {
  test.each([
    ['torus:5', [5], true],
    ['torus:4x3', [4, 3], true],
    ['torus:5x4x3', [5, 4, 3], true],
    ['mesh:3x4x2', [3, 4, 2], false],
    ['grid:7', [7], false],
    ['torus:3x3x3x3', [3, 3, 3, 3], true],
    ['torus:2x2x5', [2, 2, 5], true],
    ['torus:600', [600], true],
    ['hypercube:5', [2, 2, 2, 2, 2], false],
  ] as const)('%s', (form, sizes, wraps) => {
    expectHops(parseNetworkText(form), lattice(sizes, wraps));
  });

  test('fat trees', () => {
    // xgft:3x2: hosts 0-5, switches 6 and 7, root 8.
    const links: [number, number][] = [0, 1, 2].flatMap((i) => [
      [i, 6],
      [i + 3, 7],
    ]);
    expectHops(parseNetworkText('xgft:3x2'), joined(9, [...links, [6, 8], [7, 8]]));
    expectHops(parseNetworkText('tree:2x3'), joined(9, [...links, [6, 8], [7, 8]]));
    const network = parseNetworkText('fat-tree:k=4');
    expect(network.places).toBe(16);
    expect([1, 2, 4, 15].map((host) => network.metric.distance(0, host))).toEqual([2, 4, 6, 6]);
  });

  test.each([
    [2, 1, 1],
    [2, 2, 1],
    [3, 2, 2],
    [4, 1, 2],
  ])('dragonfly a=%i, p=%i, h=%i', (routers, hosts, globals) => {
    const groups = routers * globals + 1;
    const count = groups * routers * hosts;
    const router = (group: number, one: number): number => count + group * routers + one;
    const links: [number, number][] = [];
    for (let group = 0; group < groups; group++) {
      for (let one = 0; one < routers; one++) {
        for (let host = 0; host < hosts; host++) {
          links.push([(group * routers + one) * hosts + host, router(group, one)]);
        }
        for (let other = one + 1; other < routers; other++)
          links.push([router(group, one), router(group, other)]);
      }
      for (let l = 0; l < groups - 1; l++) {
        const other = (group + l + 1) % groups;
        if (other < group) continue;
        links.push([
          router(group, Math.floor(l / globals)),
          router(other, Math.floor((groups - 2 - l) / globals)),
        ]);
      }
    }
    const network = parseNetworkText(`dragonfly:a=${routers},p=${hosts},h=${globals}`);
    // Only ways with one global link are taken, which are not always the shortest of all.
    const graph = joined(count + groups * routers, links);
    for (let a = 0; a < count; a++) {
      const hops = hopsFrom(a, graph);
      for (let b = 0; b < count; b++) {
        expect(network.metric.distance(a, b)).toBeGreaterThanOrEqual(hops[b]!);
        expect(network.metric.distance(a, b)).toBeLessThanOrEqual(5);
        const sameGroup = Math.floor(a / routers / hosts) === Math.floor(b / routers / hosts);
        if (sameGroup) expect(network.metric.distance(a, b)).toBe(hops[b]!);
      }
    }
  });
});

describe('levels', () => {
  test('the outermost level in which places differ counts, at its weight', () => {
    const network = parseNetworkText('torus:4x4/numa:2@0.25/slots:3');
    expect(network.places).toBe(32);
    expect(network.capacity.guests[0]).toBe(3);
    expect(network.metric.distance(0, 1)).toBe(0.25);
    expect(network.metric.distance(0, 2)).toBe(1);
    expect(network.metric.distance(1, 2)).toBe(1);
    expect(network.metric.distance(0, 2 * (2 * 4 + 2))).toBe(4);
    expect(network.name(2 * 9 + 1)).toBe('2,1/1');
  });

  test('a hop inside a host costs a tenth where nothing is said', () => {
    expect(parseNetworkText('flat:2/numa:4').metric.distance(0, 3)).toBe(0.1);
  });

  test('weights of the outermost level', () => {
    expect(parseNetworkText('torus:8@2.5').metric.distance(0, 4)).toBe(10);
    expect(() => parseNetworkText(`torus:8@${'9'.repeat(400)}`)).toThrow('is no cost of a hop');
  });
});

test('distances are a metric, and the hierarchy holds every place once', () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 });
  const form = fc.oneof(
    sizes.map((list) => `torus:${list.join('x')}`),
    sizes.map((list) => `mesh:${list.join('x')}/numa:2`),
    sizes.map((list) => `xgft:${list.join('x')}`),
    fc.integer({ min: 1, max: 6 }).map((d) => `hypercube:${d}`),
    fc
      .tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 }))
      .map(([a, h]) => `dragonfly:a=${a},p=2,h=${h}`),
  );
  fc.assert(
    fc.property(form, fc.nat(), fc.nat(), fc.nat(), (text, x, y, z) => {
      const network = parseNetworkText(text);
      const { metric, places } = network;
      const hierarchy = network.hierarchy();
      const [a, b, c] = [x % places, y % places, z % places];
      expect(metric.distance(a, a)).toBe(0);
      expect(metric.distance(a, b)).toBeCloseTo(metric.distance(b, a), 9);
      if (a !== b) expect(metric.distance(a, b)).toBeGreaterThan(0);
      // A dragonfly's ways have one global link each: two of them can be shorter than one with local links around it.
      if (!text.startsWith('dragonfly')) {
        expect(metric.distance(a, c)).toBeLessThanOrEqual(
          metric.distance(a, b) + metric.distance(b, c) + 1e-9,
        );
      }
      expect(Array.from(hierarchy.order).sort((p, q) => p - q)).toEqual(
        Array.from({ length: places }, (_, i) => i),
      );
      for (let part = 0; part < 2 * places - 1; part++) {
        if (hierarchy.left[part]! < 0) continue;
        expect(hierarchy.high[hierarchy.left[part]!]).toBe(hierarchy.low[hierarchy.right[part]!]);
      }
    }),
    { numRuns: 60 },
  );
});

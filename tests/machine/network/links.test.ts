import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Links,
  type Routing,
  regularTreeLinks,
  type TreeVertex,
  treeLinks,
} from '../../../src/machine/network/links.ts';
import type { HostNetwork } from '../../../src/machine/network/network.ts';
import { parseNetworkText } from '../../../src/machine/network/text.ts';

function loadsOf(network: HostNetwork, from: number, to: number, routing: Routing): Map<string, number> {
  const loads = new Map<string, number>();
  network.links!.route(from, to, 1, routing, (link, amount) => {
    const name = network.links!.name(link);
    loads.set(name, (loads.get(name) ?? 0) + amount);
  });
  return loads;
}

/** Every shortest way, each hop as likely as the others that come nearer, by trying all. */
function bruteForce(
  sizes: readonly number[],
  wraps: boolean,
  from: number[],
  to: number[],
): Map<string, number> {
  const loads = new Map<string, number>();
  const distance = (a: readonly number[]): number =>
    a.reduce((sum, at, d) => {
      const straight = Math.abs(at - to[d]!);
      return sum + (wraps ? Math.min(straight, sizes[d]! - straight) : straight);
    }, 0);
  /** Ways round are chosen at the beginning, each as likely. */
  const go = (at: readonly number[], ways: readonly number[], share: number): void => {
    const open = ways.map((_, d) => d).filter((d) => at[d] !== to[d]);
    for (const d of open) {
      const next = [...at];
      next[d] = (at[d]! + ways[d]! + sizes[d]!) % sizes[d]!;
      const name = `(${at.join(',')}) ${ways[d]! > 0 ? '+' : '-'}${'xyz'[d]!}`;
      loads.set(name, (loads.get(name) ?? 0) + share / open.length);
      go(next, ways, share / open.length);
    }
  };
  const choices = sizes.map((size, d) => {
    if (from[d] === to[d]) return [1];
    return [1, -1].filter((by) => {
      const next = from[d]! + by;
      if (!wraps && (next < 0 || next >= size)) return false;
      const moved = [...from];
      moved[d] = (next + size) % size;
      return distance(moved) < distance(from) && (size > 2 || by === (wraps ? 1 : to[d]! - from[d]!));
    });
  });
  const all = choices.reduce<number[][]>(
    (lists, some) => lists.flatMap((list) => some.map((by) => [...list, by])),
    [[]],
  );
  for (const ways of all) go(from, ways, 1 / all.length);
  return loads;
}

function coordinates(host: number, sizes: readonly number[]): number[] {
  let rest = host;
  return sizes
    .toReversed()
    .map((size) => {
      const at = rest % size;
      rest = Math.floor(rest / size);
      return at;
    })
    .reverse();
}

test('adaptive ways are those of a router that tries all', () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(sizes, fc.boolean(), fc.nat(), fc.nat(), (list, wraps, x, y) => {
      const network = parseNetworkText(`${wraps ? 'torus' : 'mesh'}:${list.join('x')}`);
      const [from, to] = [x % network.places, y % network.places];
      if (from === to) return;
      const found = loadsOf(network, from, to, 'adaptive');
      const expected = bruteForce(list, wraps, coordinates(from, list), coordinates(to, list));
      expect([...found.keys()].sort()).toEqual([...expected.keys()].sort());
      for (const [name, load] of expected) expect(found.get(name)).toBeCloseTo(load, 9);
    }),
    { numRuns: 150 },
  );
});

test('the loads of a way add up to its length', () => {
  const forms = [
    'torus:4x5x3',
    'mesh:3x4',
    'hypercube:4',
    'fat-tree:k=4',
    'dragonfly:a=3,p=2,h=1',
    'tree:2x3x2',
    'flat:5',
  ];
  fc.assert(
    fc.property(
      fc.constantFrom(...forms),
      fc.constantFrom('dimension-order', 'adaptive'),
      fc.nat(),
      fc.nat(),
      (form, routing, x, y) => {
        const network = parseNetworkText(form);
        const [from, to] = [x % network.places, y % network.places];
        const sum = [...loadsOf(network, from, to, routing as Routing).values()].reduce((a, b) => a + b, 0);
        // All at the same distance are one hop apart, over two links.
        const hops = network.metric.distance(from, to) * (form.startsWith('flat') ? 2 : 1);
        if (from !== to) expect(sum).toBeCloseTo(hops, 9);
      },
    ),
    { numRuns: 200 },
  );
});

describe('ways worked out by hand', () => {
  test('dimension order goes x first, the short way round', () => {
    const network = parseNetworkText('torus:4x4');
    // From (0,3) to (3,1): down x over the end, then two in y, both ways as short.
    expect(Object.fromEntries(loadsOf(network, 3, 13, 'dimension-order'))).toEqual({
      '(0,3) -x': 1,
      '(3,3) -y': 0.5,
      '(3,2) -y': 0.5,
      '(3,3) +y': 0.5,
      '(3,0) +y': 0.5,
    });
  });

  test('up and down a fat tree, over links that stand for several', () => {
    const network = parseNetworkText('fat-tree:k=4');
    expect(Object.fromEntries(loadsOf(network, 0, 1, 'dimension-order'))).toEqual({
      'host 0 up': 1,
      'host 1 down': 1,
    });
    const far = [...loadsOf(network, 0, 15, 'dimension-order').keys()];
    expect(far).toEqual([
      'host 0 up',
      'host 15 down',
      'subtree 0 of level 1 up',
      'subtree 7 of level 1 down',
      'subtree 0 of level 2 up',
      'subtree 3 of level 2 down',
    ]);
    // An edge switch has k/2 ways up, a pod (k/2)².
    const { links } = network;
    const widthOf = (name: string): number =>
      links!.width(
        Array.from({ length: links!.count }, (_, i) => i).find((link) => links!.name(link) === name)!,
      );
    expect([
      widthOf('host 0 up'),
      widthOf('subtree 0 of level 1 up'),
      widthOf('subtree 0 of level 2 up'),
    ]).toEqual([1, 2, 4]);
  });

  test('a dragonfly takes the one link between two groups', () => {
    const network = parseNetworkText('dragonfly:a=2,p=1,h=1');
    expect(Object.fromEntries(loadsOf(network, 0, 3, 'dimension-order'))).toEqual({
      'host 0 up': 1,
      'host 3 down': 1,
      'g1 to g2': 1,
    });
    expect(Object.fromEntries(loadsOf(network, 0, 5, 'dimension-order'))).toEqual({
      'host 0 up': 1,
      'host 5 down': 1,
      'g1r1 to g1r2': 1,
      'g1 to g3': 1,
      'g3r1 to g3r2': 1,
    });
  });
});

test.each([
  ['torus:5x4', 80],
  ['torus:2x3x2', 48],
  ['torus:1x6', 12],
  ['mesh:4x3', 34],
  ['hypercube:4', 64],
  ['flat:12', 24],
  ['tree:2x3x2', 40],
  ['fat-tree:k=4', 56],
  ['dragonfly:a=3,p=2,h=2', 168],
])('%s has as many links as some way takes', (form, count) => {
  const { links, places } = parseNetworkText(form);
  const taken = new Set<number>();
  for (let from = 0; from < places; from++) {
    for (let to = 0; to < places; to++) {
      if (from !== to) links!.route(from, to, 1, 'dimension-order', (link) => taken.add(link));
    }
  }
  expect([taken.size, links!.present]).toEqual([count, count]);
});

describe('links of a regular tree', () => {
  // The same tree, vertex by vertex: two subtrees of three hosts, the upper links double.
  const vertices: TreeVertex[] = [
    { parent: -1, depth: 0, width: 0, name: 'root' },
    { parent: 0, depth: 1, width: 2, name: 'subtree 0 of level 1' },
    { parent: 0, depth: 1, width: 2, name: 'subtree 1 of level 1' },
    ...Array.from({ length: 6 }, (_, host) => ({
      ...{ parent: 1 + Math.floor(host / 3), depth: 2, width: 1, name: `host ${host}` },
    })),
  ];
  const drawn = treeLinks(vertices, Int32Array.from([3, 4, 5, 6, 7, 8]));
  const counted = regularTreeLinks([3, 2], [1, 2]);

  test('are numbered, named and as many as those of the tree', () => {
    expect([counted.count, counted.present]).toEqual([drawn.count, drawn.present]);
    for (let link = 0; link < counted.count; link++) {
      expect([counted.name(link), counted.width(link)]).toEqual([drawn.name(link), drawn.width(link)]);
    }
  });

  test('are taken as in the tree', () => {
    const taken = (links: Links, from: number, to: number): [number, number][] => {
      const loads: [number, number][] = [];
      links.route(from, to, 1, 'dimension-order', (link, amount) => loads.push([link, amount]));
      return loads;
    };
    for (let from = 0; from < 6; from++) {
      for (let to = 0; to < 6; to++) expect(taken(counted, from, to)).toEqual(taken(drawn, from, to));
    }
  });
});

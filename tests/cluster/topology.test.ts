import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseAsGraph } from '../../src/cluster/as-graph.ts';
import { buildGraph, type Graph, partsOf } from '../../src/cluster/topology.ts';
import { parseTopology } from '../../src/cluster/topology-text.ts';
import { faultOf } from './sample.ts';

function graph(text: string, members: number, seed = 1): Graph {
  return buildGraph(parseTopology(text), { network: 'net', members, seed });
}

function degrees({ switches, links }: Graph): number[] {
  const counts = new Array<number>(switches.length).fill(0);
  for (const [a, b] of links) {
    counts[a]!++;
    counts[b]!++;
  }
  return counts;
}

/** No link twice, none to itself, all in one part, all ends there. */
function expectSound(of: Graph): void {
  const keys = of.links.map(([a, b]) => (a < b ? `${a} ${b}` : `${b} ${a}`));
  expect(new Set(keys).size).toBe(keys.length);
  expect(of.links.every(([a, b]) => a !== b && a in of.switches && b in of.switches)).toBe(true);
  expect(new Set(partsOf(of)).size).toBe(1);
  expect(of.seats.every((seat) => seat in of.switches)).toBe(true);
  expect(new Set(of.switches).size).toBe(of.switches.length);
}

describe('a topology', () => {
  it.each([
    ['lan', 5, 1, 0],
    ['star', 5, 1, 0],
    ['ring', 5, 5, 5],
    ['ring', 1, 1, 0],
    ['ring', 2, 2, 1],
    ['ring:8', 3, 8, 8],
    ['grid:4x4', 16, 16, 24],
    ['grid:3', 3, 3, 2],
    ['torus:4x4', 16, 16, 32],
    ['torus:4x4x2', 32, 32, 80],
    ['torus:2x2', 4, 4, 4],
    ['torus:1x3', 3, 3, 3],
    ['fat-tree:k=4', 16, 20, 32],
    ['fat-tree:k=2', 2, 5, 4],
    ['dragonfly:a=4,p=2,h=2', 72, 36, 54 + 36],
    ['dragonfly:a=1,p=1,h=3', 4, 4, 6],
    ['random:switches=20,degree=3', 5, 20, 30],
    ['random:switches=1,degree=0', 2, 1, 0],
  ])('%s with %i members has %i switches and %i links', (text, members, switches, links) => {
    const made = graph(text, members);
    expect([made.switches.length, made.links.length, made.seats.length]).toEqual([switches, links, members]);
    expectSound(made);
  });
  it('is regular where it should be', () => {
    expect(new Set(degrees(graph('torus:4x3x3', 36)))).toEqual(new Set([6]));
    expect(new Set(degrees(graph('dragonfly:a=4,p=2,h=2', 1)))).toEqual(new Set([5]));
    expect(new Set(degrees(graph('ring:7', 1)))).toEqual(new Set([2]));
  });
  it('seats members in order: spread where any switch has room, filled where ports are counted', () => {
    expect(graph('ring:4', 4).seats).toEqual([0, 1, 2, 3]);
    expect(graph('ring:4', 8).seats).toEqual([0, 0, 1, 1, 2, 2, 3, 3]);
    expect(graph('ring:4', 2).seats).toEqual([0, 2]);
    expect(graph('fat-tree:k=4', 5).seats).toEqual([0, 0, 1, 1, 2]);
    expect(graph('dragonfly:a=2,p=2,h=1', 5).seats).toEqual([0, 0, 1, 1, 2]);
    // More seats than anybody could write down.
    expect(graph('dragonfly:a=2,p=999999999,h=1', 3).seats).toEqual([0, 0, 0]);
  });
  it('has no more members than ports', () => {
    expect(faultOf(() => graph('fat-tree:k=4', 17)).message).toBe(
      'it has room for 16 members, and there are 17',
    );
  });
  it('at random is connected, of bounded degree, and the same for the same seed', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 3, max: 60 }),
        fc.integer({ min: 2, max: 8 }),
        fc.nat(1e6),
        (n, most, seed) => {
          const degree = Math.min(most, n - 1);
          const text = `random:switches=${n},degree=${degree}`;
          const made = graph(text, 3, seed);
          expectSound(made);
          expect(Math.max(...degrees(made))).toBeLessThanOrEqual(degree);
          expect(graph(text, 3, seed)).toEqual(made);
        },
      ),
      { numRuns: 60 },
    );
    expect(graph('random:switches=30,degree=3', 1, 1)).not.toEqual(
      graph('random:switches=30,degree=3', 1, 2),
    );
  });
  it.each([
    '',
    'tree',
    'ring:2',
    'ring:x',
    'grid',
    'grid:',
    'grid:4x',
    'grid:0x4',
    'torus:4x4x',
    'fat-tree:k=3',
    'fat-tree:4',
    'dragonfly:a=4,p=2',
    'dragonfly:a=4,p=2,h=0',
    'dragonfly:a=1,p=1,h=1,h=1',
    'random:switches=5,degree=1',
    'random:switches=5',
    'lan:4',
    'as-graph',
    'grid:1000x1000',
    'ring:99999999',
  ])('is not %j', (text) => {
    expect(faultOf(() => parseTopology(text, 'here')).where).toBe('here');
  });
});

describe('a graph of autonomous systems', () => {
  it('is read in both of the forms', () => {
    const text = '# serial 2\n64500|64496|-1|bgp\n64496|65551|0|mlp\n64500|65551|-1\n\n';
    expect(parseAsGraph(text, 'as.txt')).toEqual({
      numbers: [64496, 64500, 65551],
      links: [
        [1, 0],
        [0, 2],
        [1, 2],
      ],
    });
  });
  it.each([
    ['1|2|-1\nx|2|0\n', 'as.txt:2'],
    ['1|2|-1\n# c\n1|2\n', 'as.txt:3'],
    ['1|2|5\n', 'as.txt:1'],
    ['1|1|0\n', 'as.txt:1'],
    ['1|2|-1\n2|1|0\n', 'as.txt:2'],
    ['1|99999999999|0\n', 'as.txt:1'],
    ['9999999999|1|0\n', 'as.txt:1'],
    ['# nothing\n', 'as.txt'],
  ])('with a fault is refused: %j', (text, where) => {
    expect(faultOf(() => parseAsGraph(text, 'as.txt')).where).toBe(where);
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type RouteLink, Routes } from '../../src/fabric/routes.ts';

/** Links with numbers, from pairs of switches. */
function number(pairs: readonly (readonly [number, number])[]): RouteLink[] {
  return pairs.map(([a, b], index) => ({ a, b, direction: index * 2 }));
}

const graph = fc.integer({ min: 1, max: 12 }).chain((switches) =>
  fc.record({
    switches: fc.constant(switches),
    pairs: fc.array(
      fc.tuple(fc.nat(switches - 1), fc.nat(switches - 1)).filter(([a, b]) => a !== b),
      {
        maxLength: switches === 1 ? 0 : 30,
      },
    ),
    cut: fc.array(fc.nat(29), { maxLength: 5 }),
  }),
);

/** Distances by repeated relaxation. */
function distances(switches: number, links: readonly RouteLink[], to: number): number[] {
  const found = Array.from({ length: switches }, (_, at) => (at === to ? 0 : Number.POSITIVE_INFINITY));
  for (let round = 0; round < switches; round++) {
    for (const { a, b } of links) {
      found[a] = Math.min(found[a]!, found[b]! + 1);
      found[b] = Math.min(found[b]!, found[a]! + 1);
    }
  }
  return found;
}

describe('routes', () => {
  it('go by a shortest way over links that are up, whatever the hash', () => {
    fc.assert(
      fc.property(graph, fc.integer(), ({ switches, pairs, cut }, hash) => {
        const links = number(pairs);
        const isUp = (direction: number) => !cut.includes(direction >>> 1);
        const up = links.filter(({ direction }) => isUp(direction));
        const routes = new Routes(switches, links, isUp);
        const ends = new Map(
          links.flatMap(({ a, b, direction }) => [
            [direction, b],
            [direction + 1, a],
          ]),
        );
        for (let to = 0; to < switches; to++) {
          const expected = distances(switches, up, to);
          for (let from = 0; from < switches; from++) {
            expect(routes.hops(from, to)).toBe(expected[from]);
            let at = from;
            let hops = 0;
            for (let next = routes.next(at, to, hash); next >= 0; next = routes.next(at, to, hash)) {
              expect(isUp(next)).toBe(true);
              at = ends.get(next)!;
              hops++;
            }
            if (expected[from] === Number.POSITIVE_INFINITY) expect([at, hops]).toEqual([from, 0]);
            else expect([at, hops]).toEqual([to, expected[from]]);
          }
        }
      }),
    );
  });

  it('bring a frame for everybody to each switch once', () => {
    fc.assert(
      fc.property(graph, ({ switches, pairs, cut }) => {
        const links = number(pairs);
        const isUp = (direction: number) => !cut.includes(direction >>> 1);
        const routes = new Routes(switches, links, isUp);
        const ends = new Map(
          links.flatMap(({ a, b, direction }) => [
            [direction, b],
            [direction + 1, a],
          ]),
        );
        for (let root = 0; root < switches; root++) {
          const seen = [root];
          for (const at of seen) {
            routes.children(at, root, (direction) => {
              expect(isUp(direction)).toBe(true);
              seen.push(ends.get(direction)!);
            });
            expect(seen.length).toBeLessThanOrEqual(switches);
          }
          const expected = distances(
            switches,
            links.filter(({ direction }) => isUp(direction)),
            root,
          );
          const reachable = expected.flatMap((distance, at) => (Number.isFinite(distance) ? [at] : []));
          expect(seen.sort((a, b) => a - b)).toEqual(reachable);
        }
      }),
    );
  });

  it('spread flows over ways that are as short', () => {
    // 0 and 5 with four switches between.
    const routes = new Routes(
      6,
      number(
        [1, 2, 3, 4].flatMap(
          (middle) =>
            [
              [0, middle],
              [middle, 5],
            ] as const,
        ),
      ),
      () => true,
    );
    const used = new Map<number, number>();
    for (let hash = 0; hash < 400; hash++) {
      const next = routes.next(0, 5, Math.imul(hash, 0x9e3779b1));
      used.set(next, (used.get(next) ?? 0) + 1);
      expect(routes.next(0, 5, Math.imul(hash, 0x9e3779b1))).toBe(next);
    }
    expect(used.size).toBe(4);
    expect(Math.min(...used.values())).toBeGreaterThan(60);
  });

  it('are found anew when told to forget', () => {
    let isUp = true;
    const routes = new Routes(
      3,
      number([
        [0, 1],
        [1, 2],
        [0, 2],
      ]),
      (direction) => isUp || direction < 4,
    );
    expect(routes.hops(0, 2)).toBe(1);
    isUp = false;
    expect(routes.next(0, 2, 1)).toBe(-1);
    routes.forget();
    expect([routes.hops(0, 2), routes.next(0, 2, 1)]).toEqual([2, 0]);
  });

  it('find their way in ten thousand switches', () => {
    const side = 100;
    const pairs: [number, number][] = [];
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        pairs.push([y * side + x, y * side + ((x + 1) % side)], [y * side + x, ((y + 1) % side) * side + x]);
      }
    }
    const routes = new Routes(side * side, number(pairs), () => true);
    expect(routes.hops(0, 50 * side + 50)).toBe(100);
  });
});

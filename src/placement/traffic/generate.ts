/** Traffic of the usual patterns, for trying things out and for benchmarks: seeded, and shuffled where asked. Pure. */

import { LodgeError } from '../../errors.ts';
import { type Random, seededRandom, shuffle } from '../../random.ts';
import { ArcList, mostRanks, renumbered, type Traffic, trafficOfArcs } from './graph.ts';

export const patterns = {
  halo5: 'halo5:64x64 a grid of two dimensions, each rank with its 4 neighbours',
  halo7: 'halo7:16x16x16 three dimensions, 6 neighbours',
  halo27:
    'halo27:16x16x16 three dimensions, 26 neighbours: 100 bytes over faces, 10 over edges, 1 over corners',
  geometric: 'geometric:4096 points in a square, joined when near, 8 neighbours on average',
  'power-law': 'power-law:4096 few ranks with very many neighbours, 8 on average',
  butterfly: 'butterfly:4096 ranks whose numbers differ in one bit',
  groups: 'groups:4096/16 all to all in groups of 16, and a ring of groups',
  cg: 'cg:4096 as in NAS CG: sums along rows of a square of ranks, and its transpose',
  mg: 'mg:16x16x16 as in NAS MG: halos with strides 1, 2, 4, …, each with a quarter of the bytes',
  ft: 'ft:4096 as in NAS FT: all to all along rows and columns of a square of ranks',
} as const;

export type Pattern = keyof typeof patterns;

/** A trailing `+wrap` joins the ends of halos. */
const wrapMark = '+wrap';

export function isPattern(text: string): boolean {
  return Object.keys(patterns).some((name) => text.startsWith(`${name}:`));
}

/**
 * Traffic of a pattern such as `halo7:16x16x16`, `halo7:16x16x16+wrap`, `groups:4096/16`.
 * @param shuffled ranks are renumbered at random, so that their order says nothing
 * @throws LodgeError `traffic`
 */
export function generateTraffic(text: string, seed: number, shuffled = true): Traffic {
  const [, name = '', rest = ''] = /^([a-z0-9-]+):(.*)$/.exec(text.trim()) ?? [];
  const traffic = generate(name, rest, seededRandom(seed, `traffic ${text}`));
  if (traffic === undefined) {
    throw new LodgeError('traffic', `'${text}' is no pattern of traffic`, {
      detail: Object.values(patterns).join('\n'),
      fix: 'write one of these',
    });
  }
  if (!shuffled) return traffic;
  const order = shuffle(
    Array.from({ length: traffic.ranks }, (_, i) => i),
    seededRandom(seed, 'order of ranks'),
  );
  return renumbered(traffic, Int32Array.from(order));
}

function generate(name: string, rest: string, random: Random): Traffic | undefined {
  const wraps = rest.endsWith(wrapMark);
  const sizes = sizesOf(wraps ? rest.slice(0, -wrapMark.length) : rest);
  const [count = 0] = sizes;
  const isNumber = sizes.length === 1;
  switch (name as Pattern) {
    case 'halo5':
      return sizes.length === 2 ? halo(sizes, wraps, faces) : undefined;
    case 'halo7':
      return sizes.length === 3 ? halo(sizes, wraps, faces) : undefined;
    case 'halo27':
      return sizes.length === 3 ? halo(sizes, wraps, (moved) => 10 ** (3 - moved)) : undefined;
    case 'mg':
      return sizes.length === 3 ? multigrid(sizes) : undefined;
    case 'geometric':
      return isNumber ? geometric(count, random) : undefined;
    case 'power-law':
      return isNumber ? powerLaw(count, random) : undefined;
    case 'butterfly':
      return isNumber ? butterfly(count) : undefined;
    case 'cg':
      return isNumber ? conjugateGradient(count) : undefined;
    case 'ft':
      return isNumber ? transposes(count) : undefined;
    case 'groups': {
      const match = /^(\d{1,8})\/(\d{1,4})$/.exec(rest);
      return match === null ? undefined : groups(Number(match[1]), Number(match[2]));
    }
    default:
      return undefined;
  }
}

function sizesOf(text: string): number[] {
  const sizes = text.split('x').map((size) => (/^\d{1,8}$/.test(size) ? Number(size) : 0));
  const ranks = sizes.reduce((product, size) => product * size, 1);
  if (ranks > mostRanks) {
    throw new LodgeError('traffic', `a pattern of '${text}' has ${ranks} ranks`, {
      fix: `at most ${mostRanks}`,
    });
  }
  return ranks > 0 ? sizes : [];
}

const faces = (moved: number): number => (moved === 1 ? 100 : 0);

/** @param bytesOf what a neighbour that is moved along so many dimensions gets; 0 for none */
function halo(sizes: readonly number[], wraps: boolean, bytesOf: (moved: number) => number): Traffic {
  const ranks = sizes.reduce((product, size) => product * size, 1);
  const arcs = new ArcList();
  const offsets: number[][] = [[]];
  for (const _ of sizes) {
    offsets.push(...offsets.splice(0).flatMap((offset) => [-1, 0, 1].map((by) => [...offset, by])));
  }
  const forward = offsets.filter((offset) => {
    const first = offset.find((by) => by !== 0);
    return first === 1 && bytesOf(offset.filter((by) => by !== 0).length) > 0;
  });
  const at = sizes.map(() => 0);
  for (let rank = 0; rank < ranks; rank++) {
    let rest = rank;
    for (let d = sizes.length - 1; d >= 0; d--) {
      at[d] = rest % sizes[d]!;
      rest = Math.floor(rest / sizes[d]!);
    }
    for (const offset of forward) {
      let other = 0;
      let isInside = true;
      for (let d = 0; d < sizes.length; d++) {
        let to = at[d]! + offset[d]!;
        if (to < 0 || to >= sizes[d]!) {
          if (!wraps || sizes[d]! <= 2) isInside = false;
          to = (to + sizes[d]!) % sizes[d]!;
        }
        other = other * sizes[d]! + to;
      }
      if (isInside) arcs.add(rank, other, bytesOf(offset.filter((by) => by !== 0).length));
    }
  }
  return trafficOfArcs(ranks, arcs, false);
}

/** Halos between every second rank, every fourth and so on, as on coarser grids. */
function multigrid(sizes: readonly number[]): Traffic {
  const ranks = sizes.reduce((product, size) => product * size, 1);
  const arcs = new ArcList();
  for (let stride = 1, bytes = 4096; stride < Math.max(...sizes) && bytes >= 1; stride *= 2, bytes /= 4) {
    for (let rank = 0; rank < ranks; rank++) {
      let step = 1;
      let rest = rank;
      const at: number[] = [];
      for (const size of sizes.toReversed()) {
        at.unshift(rest % size);
        rest = Math.floor(rest / size);
      }
      if (at.some((coordinate) => coordinate % stride !== 0)) continue;
      for (let d = sizes.length - 1; d >= 0; d--) {
        if (at[d]! + stride < sizes[d]!) arcs.add(rank, rank + stride * step, bytes);
        step *= sizes[d]!;
      }
    }
  }
  return trafficOfArcs(ranks, arcs, false);
}

/** Points in a unit square, those nearer than a radius joined; cells of that size make it linear. */
function geometric(ranks: number, random: Random): Traffic {
  const radius = Math.sqrt(8 / (Math.PI * Math.max(1, ranks)));
  const side = Math.max(1, Math.floor(1 / radius));
  const [x, y] = [new Float64Array(ranks), new Float64Array(ranks)];
  const cells = new Map<number, number[]>();
  const cellOf = (rank: number): number =>
    Math.min(side - 1, Math.floor(x[rank]! * side)) * side + Math.min(side - 1, Math.floor(y[rank]! * side));
  const arcs = new ArcList();
  for (let rank = 0; rank < ranks; rank++) {
    [x[rank], y[rank]] = [random.fraction(), random.fraction()];
    const cell = cellOf(rank);
    const [row, column] = [Math.floor(cell / side), cell % side];
    for (let r = Math.max(0, row - 1); r <= Math.min(side - 1, row + 1); r++) {
      for (let c = Math.max(0, column - 1); c <= Math.min(side - 1, column + 1); c++) {
        for (const other of cells.get(r * side + c) ?? []) {
          if ((x[rank]! - x[other]!) ** 2 + (y[rank]! - y[other]!) ** 2 < radius ** 2)
            arcs.add(rank, other, 100);
        }
      }
    }
    cells.set(cell, [...(cells.get(cell) ?? []), rank]);
  }
  return trafficOfArcs(ranks, arcs, false);
}

/** Preferential attachment: each rank joins 4 that are there, in proportion to their neighbours. Barabási and Albert, 1999. */
function powerLaw(ranks: number, random: Random): Traffic {
  const arcs = new ArcList();
  const ends: number[] = [];
  for (let rank = 1; rank < ranks; rank++) {
    const chosen = new Set<number>();
    for (let i = 0; i < Math.min(4, rank); i++) {
      const other = ends.length === 0 ? 0 : ends[random.below(ends.length)]!;
      if (other !== rank) chosen.add(other);
    }
    for (const other of chosen) {
      arcs.add(rank, other, 100);
      ends.push(rank, other);
    }
  }
  return trafficOfArcs(ranks, arcs, false);
}

function butterfly(ranks: number): Traffic {
  const arcs = new ArcList();
  for (let rank = 0; rank < ranks; rank++) {
    for (let bit = 1; bit < ranks; bit *= 2) {
      const other = rank ^ bit;
      if (other > rank && other < ranks) arcs.add(rank, other, 100);
    }
  }
  return trafficOfArcs(ranks, arcs, false);
}

function groups(ranks: number, size: number): Traffic | undefined {
  if (ranks < 1 || ranks > mostRanks || size < 1) return undefined;
  const arcs = new ArcList();
  for (let rank = 0; rank < ranks; rank++) {
    const group = Math.floor(rank / size);
    for (let other = rank + 1; other < Math.min(ranks, (group + 1) * size); other++)
      arcs.add(rank, other, 100);
    // Each also speaks with its like in the next group.
    if (ranks > size) arcs.add(rank, (rank + size) % ranks, 10);
  }
  return trafficOfArcs(ranks, arcs, false);
}

/** Rows and columns of a grid of ranks that is as square as a power of two allows, or as divisors do. */
function squareOf(ranks: number): [rows: number, columns: number] {
  let rows = Math.floor(Math.sqrt(ranks));
  while (ranks % rows !== 0) rows--;
  return [rows, ranks / rows];
}

function conjugateGradient(ranks: number): Traffic {
  const [rows, columns] = squareOf(ranks);
  const arcs = new ArcList();
  for (let rank = 0; rank < ranks; rank++) {
    const [row, column] = [Math.floor(rank / columns), rank % columns];
    for (let bit = 1; bit < columns; bit *= 2) {
      const other = column ^ bit;
      if (other > column && other < columns) arcs.add(rank, row * columns + other, 100);
    }
    const mirrored = Math.floor((column * rows) / columns) * columns + Math.floor((row * columns) / rows);
    if (mirrored > rank && mirrored < ranks) arcs.add(rank, mirrored, 100);
  }
  return trafficOfArcs(ranks, arcs, false);
}

function transposes(ranks: number): Traffic {
  const [rows, columns] = squareOf(ranks);
  const arcs = new ArcList();
  for (let rank = 0; rank < ranks; rank++) {
    const [row, column] = [Math.floor(rank / columns), rank % columns];
    for (let other = column + 1; other < columns; other++) arcs.add(rank, row * columns + other, 100);
    for (let other = row + 1; other < rows; other++) arcs.add(rank, other * columns + column, 100);
  }
  return trafficOfArcs(ranks, arcs, false);
}

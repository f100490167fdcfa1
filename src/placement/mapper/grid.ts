/**
 * Grids in graphs whose vertices are in any order: products of paths and rings, hypercubes among them. A vertex with all
 * its neighbours gives the directions; squares carry them over to the next vertex, until all have coordinates. What
 * comes out is checked edge by edge, so a graph that is no grid is never taken for one.
 *
 * Halos over edges and corners are products of another kind (strong ones); their faces are found as the edges that no
 * third vertex is between. Source: R. Hammack and W. Imrich, "On Cartesian skeletons of graphs", Ars Mathematica
 * Contemporanea 2, 2009.
 */

import type { Deadline } from './deadline.ts';

export interface Grid {
  sizes: number[];
  /** Of each dimension, whether its ends are joined. */
  wraps: boolean[];
  /** Coordinate d of vertex v at `v * sizes.length + d`. */
  coordinates: Int32Array;
  /** Whether all that differ in one coordinate alone are joined, rather than those one step apart. */
  isComplete?: boolean;
}

/** A graph without weights, each edge in both rows. */
export interface Rows {
  count: number;
  offsets: Int32Array;
  neighbours: Int32Array;
}

/** More neighbours than in a hypercube of a million vertices. */
const mostNeighbours = 24;

/** @returns undefined when it is no grid, or not connected */
export function recogniseGrid(graph: Rows, deadline: Deadline): Grid | undefined {
  const { count, offsets, neighbours } = graph;
  const degree = (vertex: number): number => offsets[vertex + 1]! - offsets[vertex]!;
  if (count < 4) return undefined;
  let start = 0;
  for (let vertex = 1; vertex < count; vertex++) {
    if (degree(vertex) > degree(start)) start = vertex;
    if (degree(vertex) === 0) return undefined;
  }
  if (degree(start) > mostNeighbours) return undefined;
  const dimensions = dimensionsAt(graph, start);
  if (dimensions === undefined) return undefined;
  const slots = 2 * dimensions.length;
  // Neighbour of each vertex in each direction: 2d up and 2d + 1 down dimension d.
  const beside = new Int32Array(count * slots).fill(-1);
  const steps = new Int32Array(count * dimensions.length);
  dimensions.forEach((pair, d) => {
    pair.forEach((neighbour, i) => {
      beside[start * slots + 2 * d + i] = neighbour;
    });
  });
  const isReached = new Uint8Array(count);
  const queue = new Int32Array(count);
  queue[0] = start;
  isReached[start] = 1;
  let reached = 1;
  for (let head = 0; head < reached; head++) {
    if (head % 1024 === 0) deadline.check();
    const from = queue[head]!;
    for (let slot = 0; slot < slots; slot++) {
      const to = beside[from * slots + slot]!;
      if (to < 0 || isReached[to] !== 0) continue;
      if (!carryOver(graph, beside, slots, from, to, slot)) return undefined;
      for (let d = 0; d < dimensions.length; d++) {
        steps[to * dimensions.length + d] = steps[from * dimensions.length + d]!;
      }
      steps[to * dimensions.length + (slot >> 1)]! += slot % 2 === 0 ? 1 : -1;
      isReached[to] = 1;
      queue[reached++] = to;
    }
  }
  if (reached < count) return undefined;
  const sides = dimensions.map((_, d) => sideAlong(beside, slots, start, d, count));
  const sizes = sides.map(({ size }) => size);
  if (sizes.reduce((product, size) => product * size, 1) !== count) return undefined;
  for (let vertex = 0; vertex < count; vertex++) {
    sides.forEach(({ size, below, wraps }, d) => {
      const at = vertex * sides.length + d;
      steps[at] = wraps ? ((steps[at]! % size) + size) % size : steps[at]! + below;
    });
  }
  const grid = { sizes, wraps: sides.map(({ wraps }) => wraps), coordinates: steps };
  return neighbours.length > 0 && isGrid(graph, grid) ? grid : undefined;
}

/** Neighbours of a vertex in pairs: those that have no square with each other lie opposite. */
function dimensionsAt({ offsets, neighbours }: Rows, vertex: number): number[][] | undefined {
  const around = neighbours.subarray(offsets[vertex]!, offsets[vertex + 1]!);
  const dimensions: number[][] = [];
  for (const neighbour of around) {
    const opposite = dimensions.filter(([first]) => {
      const [a, b] = [first!, neighbour];
      if (isIn(neighbours, offsets, a, b)) return true;
      for (let at = offsets[a]!; at < offsets[a + 1]!; at++) {
        if (neighbours[at] !== vertex && isIn(neighbours, offsets, neighbours[at]!, b)) return false;
      }
      return true;
    });
    if (opposite.length > 1 || opposite[0]?.length === 2) return undefined;
    if (opposite[0] === undefined) dimensions.push([neighbour]);
    else opposite[0].push(neighbour);
  }
  return dimensions;
}

function isIn(neighbours: Int32Array, offsets: Int32Array, vertex: number, wanted: number): boolean {
  for (let at = offsets[vertex]!; at < offsets[vertex + 1]!; at++) if (neighbours[at] === wanted) return true;
  return false;
}

/** Gives the neighbours of `to`, which lies at `slot` of `from`, their directions. @returns false where it is no grid */
function carryOver(
  { offsets, neighbours }: Rows,
  beside: Int32Array,
  slots: number,
  from: number,
  to: number,
  slot: number,
): boolean {
  const back = slot ^ 1;
  const base = to * slots;
  beside[base + back] = from;
  let known = 1;
  for (let other = 0; other < slots; other++) {
    if (other === slot || other === back) continue;
    const corner = beside[from * slots + other]!;
    if (corner < 0) continue;
    let found = -1;
    for (let at = offsets[to]!; at < offsets[to + 1]!; at++) {
      const neighbour = neighbours[at]!;
      if (neighbour !== from && isIn(neighbours, offsets, neighbour, corner)) {
        if (found >= 0) return false;
        found = neighbour;
      }
    }
    if (found < 0) return false;
    beside[base + other] = found;
    known++;
  }
  const degree = offsets[to + 1]! - offsets[to]!;
  if (degree > known + 1) return false;
  if (degree <= known) return true;
  for (let at = offsets[to]!; at < offsets[to + 1]!; at++) {
    const neighbour = neighbours[at]!;
    let isKnown = false;
    for (let other = 0; other < slots; other++) if (beside[base + other] === neighbour) isKnown = true;
    if (!isKnown) beside[base + slot] = neighbour;
  }
  return true;
}

/** Size of a dimension, and how far the start is from its lower end. */
function sideAlong(
  beside: Int32Array,
  slots: number,
  start: number,
  d: number,
  count: number,
): { size: number; below: number; wraps: boolean } {
  const walk = (slot: number): number => {
    let steps = 0;
    for (let at = beside[start * slots + slot]!; at >= 0 && steps <= count; at = beside[at * slots + slot]!) {
      steps++;
      if (at === start) return -steps;
    }
    return steps;
  };
  const up = walk(2 * d);
  if (up < 0) return { size: -up, below: 0, wraps: true };
  const below = walk(2 * d + 1);
  return { size: up + below + 1, below, wraps: false };
}

/** Whether every coordinate is taken once, and every edge goes one step along one dimension. */
function isGrid({ count, offsets, neighbours }: Rows, { sizes, wraps, coordinates }: Grid): boolean {
  const dimensions = sizes.length;
  const isTaken = new Uint8Array(count);
  for (let vertex = 0; vertex < count; vertex++) {
    let number = 0;
    for (let d = 0; d < dimensions; d++) {
      const at = coordinates[vertex * dimensions + d]!;
      if (at < 0 || at >= sizes[d]!) return false;
      number = number * sizes[d]! + at;
    }
    if (isTaken[number] !== 0) return false;
    isTaken[number] = 1;
  }
  for (let vertex = 0; vertex < count; vertex++) {
    for (let at = offsets[vertex]!; at < offsets[vertex + 1]!; at++) {
      let steps = 0;
      for (let d = 0; d < dimensions; d++) {
        const by = Math.abs(
          coordinates[vertex * dimensions + d]! - coordinates[neighbours[at]! * dimensions + d]!,
        );
        steps += wraps[d] && by === sizes[d]! - 1 ? 1 : by;
      }
      if (steps !== 1) return false;
    }
  }
  return true;
}

/** More common neighbours than this would take too long to count. */
const mostForSkeleton = 30;

/**
 * The edges of a strong product that are edges of its factors.
 * @returns undefined where vertices have too many neighbours for it to be one
 */
export function skeleton(graph: Rows, deadline: Deadline): Rows | undefined {
  const { count, offsets, neighbours } = graph;
  for (let vertex = 0; vertex < count; vertex++) {
    if (offsets[vertex + 1]! - offsets[vertex]! > mostForSkeleton) return undefined;
  }
  // Of each edge, how many vertices are in the neighbourhoods of both ends, the ends among them.
  const shared = new Int8Array(neighbours.length);
  const mark = new Int32Array(count).fill(-1);
  for (let vertex = 0; vertex < count; vertex++) {
    if (vertex % 256 === 0) deadline.check();
    mark[vertex] = vertex;
    for (let at = offsets[vertex]!; at < offsets[vertex + 1]!; at++) mark[neighbours[at]!] = vertex;
    for (let at = offsets[vertex]!; at < offsets[vertex + 1]!; at++) {
      const other = neighbours[at]!;
      let common = 1;
      for (let next = offsets[other]!; next < offsets[other + 1]!; next++) {
        if (mark[neighbours[next]!] === vertex) common++;
      }
      shared[at] = common;
    }
  }
  const entryOf = new Int32Array(count);
  const keptStarts = new Int32Array(count + 1);
  const kept = new Int32Array(neighbours.length);
  let filled = 0;
  const whole = (vertex: number): number => offsets[vertex + 1]! - offsets[vertex]! + 1;
  mark.fill(-1);
  for (let x = 0; x < count; x++) {
    if (x % 256 === 0) deadline.check();
    for (let at = offsets[x]!; at < offsets[x + 1]!; at++) {
      mark[neighbours[at]!] = x;
      entryOf[neighbours[at]!] = at;
    }
    for (let at = offsets[x]!; at < offsets[x + 1]!; at++) {
      const y = neighbours[at]!;
      let isBetween = false;
      for (let next = offsets[y]!; next < offsets[y + 1]! && !isBetween; next++) {
        const z = neighbours[next]!;
        if (mark[z] !== x) continue;
        const xz = shared[entryOf[z]!]!;
        const yz = shared[next]!;
        const xy = shared[at]!;
        // The neighbourhoods of x and z have more in common than those of x and y, or one lies between the others.
        const fromX =
          xz > xy || (xz === whole(x) && whole(z) > whole(x) && yz === whole(z) && whole(y) > whole(z));
        const fromY =
          yz > xy || (yz === whole(y) && whole(z) > whole(y) && xz === whole(z) && whole(x) > whole(z));
        isBetween = fromX && fromY;
      }
      if (!isBetween) kept[filled++] = y;
    }
    keptStarts[x + 1] = filled;
  }
  return { count, offsets: keptStarts, neighbours: kept.slice(0, filled) };
}

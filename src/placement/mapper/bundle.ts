/**
 * Many small graphs of one kind that talk much within and little with each other: complete graphs, or hypercubes as in
 * the rows of conjugate gradients. Each is laid into a box of places of its own, as compact as there is one.
 */

import type { Deadline } from './deadline.ts';
import type { Target } from './embed.ts';
import { type Rows, recogniseGrid } from './grid.ts';

/** Ranks of each of the graphs; in hypercubes those that talk are at indices that differ in one bit. */
export type Bundle = Int32Array[];

const mostNeighbours = 24;
/** What is within a hypercube of 8 or a complete graph of 4 is in so many squares at least. */
const fewestSquares = 2;

/**
 * @param graph where the small graphs are looked for
 * @param whole in which those that talk are put one after the other
 * @returns undefined when it is none
 */
export function recogniseBundle(graph: Rows, whole: Rows, deadline: Deadline): Bundle | undefined {
  const { count, offsets } = graph;
  if (!isPowerOfTwo(count)) return undefined;
  let [least, most] = [mostNeighbours, 0];
  for (let vertex = 0; vertex < count; vertex++) {
    const degree = offsets[vertex + 1]! - offsets[vertex]!;
    least = Math.min(least, degree);
    most = Math.max(most, degree);
  }
  // What lies between them is little.
  if (least < 3 || most > Math.min(mostNeighbours, least + 2)) return undefined;
  const within = inSquares(graph, deadline);
  const parts = componentsOf(within, whole);
  const size = parts[0]!.length;
  if (size < 4 || parts.length < 2) return undefined;
  if (parts.some((part) => part.length !== size)) return undefined;
  if (parts.every((part) => isComplete(within, part))) {
    for (let i = 1; i < parts.length; i++) align(parts[i]!, parts[i - 1]!, whole);
    return parts;
  }
  const local = new Int32Array(count);
  for (const part of parts) if (!sortByBits(within, part, local, deadline)) return undefined;
  return parts;
}

function isPowerOfTwo(number: number): boolean {
  return number > 0 && Number.isInteger(Math.log2(number));
}

/** The edges that are sides of some squares. */
function inSquares({ count, offsets, neighbours }: Rows, deadline: Deadline): Rows {
  const starts = new Int32Array(count + 1);
  const ends = new Int32Array(neighbours.length);
  const mark = new Int32Array(count).fill(-1);
  let filled = 0;
  for (let vertex = 0; vertex < count; vertex++) {
    if (vertex % 256 === 0) deadline.check();
    for (let at = offsets[vertex]!; at < offsets[vertex + 1]!; at++) mark[neighbours[at]!] = vertex;
    for (let at = offsets[vertex]!; at < offsets[vertex + 1]!; at++) {
      if (squaresAt({ count, offsets, neighbours }, mark, vertex, neighbours[at]!) < fewestSquares) continue;
      ends[filled++] = neighbours[at]!;
    }
    starts[vertex + 1] = filled;
  }
  return { count, offsets: starts, neighbours: ends };
}

/** Squares with the edge between two vertices, as far as they count. @param mark whether one is beside `vertex` */
function squaresAt({ offsets, neighbours }: Rows, mark: Int32Array, vertex: number, beside: number): number {
  let squares = 0;
  for (let at = offsets[beside]!; at < offsets[beside + 1]!; at++) {
    const corner = neighbours[at]!;
    if (corner === vertex) continue;
    for (let next = offsets[corner]!; next < offsets[corner + 1]!; next++) {
      const last = neighbours[next]!;
      if (last !== beside && last !== vertex && mark[last] === vertex) squares++;
      if (squares === fewestSquares) return squares;
    }
  }
  return squares;
}

/** What hangs together; each part after one that it talks with, if there is one. */
function componentsOf(within: Rows, { count, offsets, neighbours }: Rows): Int32Array[] {
  const parts: Int32Array[] = [];
  const isTaken = new Uint8Array(count);
  const queue = new Int32Array(count);
  let next = 0;
  let unseen = 0;
  for (;;) {
    const begin = next;
    while (unseen < count && isTaken[unseen] !== 0) unseen++;
    if (unseen === count) return parts;
    let start = unseen;
    for (const rank of parts.at(-1) ?? []) {
      for (let at = offsets[rank]!; at < offsets[rank + 1]!; at++) {
        if (isTaken[neighbours[at]!] === 0) start = neighbours[at]!;
      }
    }
    queue[next++] = start;
    isTaken[start] = 1;
    for (let head = begin; head < next; head++) {
      const vertex = queue[head]!;
      for (let at = within.offsets[vertex]!; at < within.offsets[vertex + 1]!; at++) {
        const other = within.neighbours[at]!;
        if (isTaken[other] !== 0) continue;
        isTaken[other] = 1;
        queue[next++] = other;
      }
    }
    parts.push(queue.subarray(begin, next));
  }
}

function isComplete({ offsets }: Rows, part: Int32Array): boolean {
  return part.every((rank) => offsets[rank + 1]! - offsets[rank]! === part.length - 1);
}

/** In place: who talks with one of the part before comes to where that one is in it. */
function align(part: Int32Array, before: Int32Array, { offsets, neighbours }: Rows): void {
  const rest = new Set(part);
  const found = Array.from(before, (rank) => {
    const like = neighbours.subarray(offsets[rank]!, offsets[rank + 1]!).find((other) => rest.delete(other));
    return like ?? -1;
  });
  const others = rest.values();
  found.forEach((rank, i) => {
    part[i] = rank < 0 ? others.next().value! : rank;
  });
}

/** In place. @returns false where the part is no hypercube */
function sortByBits(within: Rows, part: Int32Array, local: Int32Array, deadline: Deadline): boolean {
  const { offsets, neighbours } = within;
  const size = part.length;
  for (let i = 0; i < size; i++) local[part[i]!] = i;
  const starts = new Int32Array(size + 1);
  const ends: number[] = [];
  for (let i = 0; i < size; i++) {
    for (let at = offsets[part[i]!]!; at < offsets[part[i]! + 1]!; at++) ends.push(local[neighbours[at]!]!);
    starts[i + 1] = ends.length;
  }
  const graph = { count: size, offsets: starts, neighbours: Int32Array.from(ends) };
  const grid = recogniseGrid(graph, deadline);
  if (grid === undefined || grid.sizes.some((side) => side !== 2)) return false;
  const bits = grid.sizes.length;
  const ranks = part.slice();
  for (let i = 0; i < size; i++) {
    let word = 0;
    for (let bit = 0; bit < bits; bit++) word |= grid.coordinates[i * bits + bit]! << bit;
    part[word] = ranks[i]!;
  }
  return true;
}

/**
 * Each graph into a box: its ranks' bits go to the shortest steps along the axes. Boxes are filled there and back, so
 * that one is beside that of the graph before it.
 * @returns undefined where an axis has no power of two places
 */
export function layBundle(parts: Bundle, targets: readonly Target[], origin: number): Int32Array | undefined {
  if (targets.some(({ size }) => !isPowerOfTwo(size))) return undefined;
  const size = parts[0]!.length;
  const axes = targets.map(
    ({ size: places, kind, cost, stride }): Way => ({ places, kind, cost, step: stride }),
  );
  const within = new Int32Array(size);
  for (let bit = 1; bit < size; bit *= 2) {
    const axis = axes
      .filter(({ places }) => places > 1)
      .reduce((best, one) => (one.cost < best.cost ? one : best));
    for (let i = 0; i < size; i++) if ((i & bit) !== 0) within[i]! += axis.step;
    axis.places /= 2;
    axis.step *= 2;
    if (axis.kind !== 'flat') axis.cost *= 2;
  }
  axes.sort((a, b) => a.cost - b.cost);
  const placement = new Int32Array(size * parts.length);
  parts.forEach((part, number) => {
    let rest = number;
    let place = origin;
    for (const { places, step } of axes) {
      const at = rest % places;
      rest = Math.floor(rest / places);
      place += step * (rest % 2 === 1 ? places - 1 - at : at);
    }
    part.forEach((rank, i) => {
      placement[rank] = place + within[i]!;
    });
  });
  return placement;
}

/** What is left of an axis: places a step apart, and what a step costs. */
interface Way {
  places: number;
  kind: Target['kind'];
  cost: number;
  step: number;
}

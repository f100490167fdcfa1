/**
 * A graph in two halves of given sizes with little between them: coarsened by heavy edges, halved where it is small,
 * refined on the way back.
 *
 * Source: G. Karypis and V. Kumar, "A fast and high quality multilevel scheme for partitioning irregular graphs", SIAM
 * J. Sci. Comput. 20, 1998.
 */

import type { Random } from '../../random.ts';
import type { Deadline } from './deadline.ts';
import { type Bench, type HalvingGraph, type Level, levelAt } from './halving-bench.ts';
import type { GainHeap } from './heap.ts';
import { firstOf, largestSize, refine } from './refine.ts';

/** Graphs of fewer vertices are not coarsened further. */
const smallEnough = 80;
const starts = 8;
/** Looks at the clock once in so many vertices. */
const checkEvery = 4096;

/**
 * Halves the graph of the bench's first level.
 * @param firstSize what the first half is to have, as near as the last bit of refinement left it
 * @returns 0 or 1 for each vertex, and more beyond: the bench's own, until the next graph is halved
 */
export function halve(
  bench: Bench,
  firstSize: number,
  random: Random,
  deadline: Deadline,
  depth = 0,
): Uint8Array {
  deadline.check();
  const level = bench.levels[depth]!;
  const { graph, sides, of } = level;
  const { count } = graph;
  const coarser = count > smallEnough ? coarsen(level, depth, bench, random, deadline) : graph;
  // A graph that hardly shrinks, as that of a star, is better cut as it is.
  if (coarser.count > 0.95 * count) {
    halveSmall(level, firstSize, bench, random);
    return sides;
  }
  const coarse = halve(bench, firstSize, random, deadline, depth + 1);
  for (let vertex = 0; vertex < count; vertex++) sides[vertex] = coarse[of[vertex]!]!;
  refine(graph, sides, firstSize, bench, random, deadline);
  return sides;
}

/** Grows the first half from several vertices, and keeps the best result. */
function halveSmall({ graph, sides: best }: Level, firstSize: number, bench: Bench, random: Random): void {
  const { tried } = bench;
  const { count } = graph;
  let bestCost = Number.POSITIVE_INFINITY;
  const tries = count <= 8 ? 2 : count <= 40 ? 4 : starts;
  for (let attempt = 0; attempt < tries; attempt++) {
    grow(graph, tried, firstSize, bench, random, attempt === 0);
    refine(graph, tried, firstSize, bench, random);
    const off = Math.abs(firstOf(graph, tried) - firstSize);
    const cost = cutOf(graph, tried) + 1e6 * Math.max(0, off - largestSize(graph));
    if (cost < bestCost) {
      bestCost = cost;
      for (let vertex = 0; vertex < count; vertex++) best[vertex] = tried[vertex]!;
    }
  }
}

function cutOf({ count, starts: from, ends, weights, lean }: HalvingGraph, sides: Uint8Array): number {
  let cut = 0;
  let leaning = 0;
  for (let vertex = 0; vertex < count; vertex++) {
    if (sides[vertex] === 1) leaning += lean[vertex]!;
    for (let at = from[vertex]!; at < from[vertex + 1]!; at++) {
      if (sides[ends[at]!] !== sides[vertex]) cut += weights[at]!;
    }
  }
  return cut / 2 + leaning;
}

/** All in the second half but what is next to those already in the first, the most drawn one next. */
function grow(
  graph: HalvingGraph,
  sides: Uint8Array,
  firstSize: number,
  bench: Bench,
  random: Random,
  byLean: boolean,
): void {
  const { count, sizes, lean } = graph;
  const heap = bench.heaps[0];
  sides.fill(1, 0, count);
  heap.clear();
  let left = firstSize;
  let next = random.below(count);
  if (byLean) for (let vertex = 0; vertex < count; vertex++) if (lean[vertex]! > lean[next]!) next = vertex;
  let unvisited = 0;
  while (left > 0) {
    if (heap.size > 0) next = heap.pop();
    else if (sides[next] === 0) {
      while (unvisited < count && sides[unvisited] === 0) unvisited++;
      if (unvisited === count) break;
      next = unvisited;
    }
    if (sizes[next]! > left && sizes[next]! - left > left) break;
    sides[next] = 0;
    left -= sizes[next]!;
    drawn(graph, sides, next, bench.gains, heap);
  }
}

/** Brings up to date what those beside a vertex gain by following it into the first half. */
function drawn(
  { starts: from, ends, weights, lean }: HalvingGraph,
  sides: Uint8Array,
  vertex: number,
  gains: Float64Array,
  heap: GainHeap,
): void {
  const end = from[vertex + 1]!;
  for (let at = from[vertex]!; at < end; at++) {
    const other = ends[at]!;
    if (sides[other] === 0) continue;
    if (heap.has(other)) gains[other]! += 2 * weights[at]!;
    else {
      // What it draws in, less what it holds on to.
      let sum = lean[other]!;
      const last = from[other + 1]!;
      for (let back = from[other]!; back < last; back++) {
        sum += sides[ends[back]!] === 0 ? weights[back]! : -weights[back]!;
      }
      gains[other] = sum;
    }
    heap.put(other);
  }
}

/** Joins pairs of vertices over their heaviest edges, into the graph of the next level. */
function coarsen(
  { graph, of }: Level,
  depth: number,
  bench: Bench,
  random: Random,
  deadline: Deadline,
): HalvingGraph {
  const { count } = graph;
  of.fill(-1, 0, count);
  const coarse = paired(graph, of, bench, random, deadline);
  const made = levelAt(bench, depth + 1, count, graph.starts[count]!).graph;
  join(graph, of, bench, made, coarse, deadline);
  return made;
}

/** @returns how many pairs, and single vertices, there are */
function paired(
  { count, starts: from, ends, weights, sizes }: HalvingGraph,
  of: Int32Array,
  { order, pairs }: Bench,
  random: Random,
  deadline: Deadline,
): number {
  for (let i = 0; i < count; i++) order[i] = i;
  for (let last = count - 1; last > 0; last--) {
    const other = random.below(last + 1);
    const kept = order[last]!;
    order[last] = order[other]!;
    order[other] = kept;
  }
  let total = 0;
  for (let vertex = 0; vertex < count; vertex++) total += sizes[vertex]!;
  const largest = Math.max(2, Math.ceil((1.5 * total) / (smallEnough / 2)));
  let coarse = 0;
  for (let i = 0; i < count; i++) {
    if (i % checkEvery === checkEvery - 1) deadline.check();
    const vertex = order[i]!;
    if (of[vertex] !== -1) continue;
    let partner = vertex;
    let heaviest = 0;
    const end = from[vertex + 1]!;
    for (let at = from[vertex]!; at < end; at++) {
      const other = ends[at]!;
      if (of[other] !== -1 || sizes[vertex]! + sizes[other]! > largest) continue;
      // Of two that are as heavy, the smaller: sizes stay alike.
      const weight = weights[at]! / (sizes[vertex]! * sizes[other]!);
      if (weight > heaviest) {
        heaviest = weight;
        partner = other;
      }
    }
    pairs[2 * coarse] = vertex;
    pairs[2 * coarse + 1] = partner;
    of[vertex] = coarse;
    of[partner] = coarse++;
  }
  return coarse;
}

/** Makes the graph of the pairs. */
function join(
  graph: HalvingGraph,
  of: Int32Array,
  { pairs, slot }: Bench,
  made: HalvingGraph,
  coarse: number,
  deadline: Deadline,
): void {
  made.count = coarse;
  made.sizes.fill(0, 0, coarse);
  made.lean.fill(0, 0, coarse);
  slot.fill(-1, 0, coarse);
  let filled = 0;
  for (let vertex = 0; vertex < coarse; vertex++) {
    if (vertex % checkEvery === checkEvery - 1) deadline.check();
    const begin = filled;
    const first = pairs[2 * vertex]!;
    const second = pairs[2 * vertex + 1]!;
    filled = addRow(graph, first, of, made, vertex, slot, begin, filled);
    if (first !== second) filled = addRow(graph, second, of, made, vertex, slot, begin, filled);
    made.starts[vertex + 1] = filled;
  }
}

/** Adds what one of a pair has to that of the pair, whose row begins at `begin`. @returns where the row ends */
function addRow(
  { starts: from, ends, weights, sizes, lean }: HalvingGraph,
  member: number,
  of: Int32Array,
  made: HalvingGraph,
  vertex: number,
  slot: Int32Array,
  begin: number,
  filled: number,
): number {
  const { ends: ends2, weights: weights2 } = made;
  made.sizes[vertex]! += sizes[member]!;
  made.lean[vertex]! += lean[member]!;
  let next = filled;
  const end = from[member + 1]!;
  for (let at = from[member]!; at < end; at++) {
    const other = of[ends[at]!]!;
    if (other === vertex) continue;
    const known = slot[other]!;
    if (known >= begin) weights2[known]! += weights[at]!;
    else {
      slot[other] = next;
      ends2[next] = other;
      weights2[next++] = weights[at]!;
    }
  }
  return next;
}

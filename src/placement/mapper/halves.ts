/**
 * A graph in two halves of given sizes with little between them: coarsened by heavy edges, halved where it is small,
 * refined on the way back.
 *
 * Sources: B. Kernighan and S. Lin, Bell System Technical Journal 49, 1970; C. Fiduccia and R. Mattheyses, DAC 1982;
 * G. Karypis and V. Kumar, "A fast and high quality multilevel scheme for partitioning irregular graphs", SIAM J. Sci.
 * Comput. 20, 1998.
 */

import type { Random } from '../../random.ts';
import type { Deadline } from './deadline.ts';
import { GainHeap } from './heap.ts';

/** Vertices with weights; `lean` is what it costs to be in the second half rather than in the first. */
export interface HalvingGraph {
  count: number;
  starts: Int32Array;
  ends: Int32Array;
  weights: Float64Array;
  sizes: Int32Array;
  lean: Float64Array;
}

/** What refinement works with, used again for each graph: to make it anew for each small one takes as long as the rest. */
export interface Bench {
  gains: Float64Array;
  heaps: readonly [GainHeap, GainHeap];
  isLocked: Uint8Array;
  moved: Int32Array;
}

/** @param count vertices of the largest graph */
export function benchFor(count: number): Bench {
  const gains = new Float64Array(count);
  const heaps = [new GainHeap(gains), new GainHeap(gains)] as const;
  return { gains, heaps, isLocked: new Uint8Array(count), moved: new Int32Array(count) };
}

/** Graphs of fewer vertices are not coarsened further. */
const smallEnough = 80;
const starts = 8;
/** Looks at the clock once in so many vertices. */
const checkEvery = 4096;

/**
 * @param firstSize what the first half is to have
 * @param exact that much precisely; else as near as the last bit of refinement left it
 * @returns 0 or 1 for each vertex
 */
export function halve(
  graph: HalvingGraph,
  firstSize: number,
  bench: Bench,
  random: Random,
  deadline: Deadline,
): Uint8Array {
  deadline.check();
  const coarser = graph.count > smallEnough ? coarsen(graph, random, deadline) : undefined;
  // A graph that hardly shrinks, as that of a star, is better cut as it is.
  if (coarser === undefined || coarser.graph.count > 0.95 * graph.count)
    return halveSmall(graph, firstSize, bench, random);
  const coarseSides = halve(coarser.graph, firstSize, bench, random, deadline);
  const sides = new Uint8Array(graph.count);
  for (let vertex = 0; vertex < graph.count; vertex++) sides[vertex] = coarseSides[coarser.of[vertex]!]!;
  refine(graph, sides, firstSize, bench, random, deadline);
  return sides;
}

/** Grows the first half from several vertices, and keeps the best result. */
function halveSmall(graph: HalvingGraph, firstSize: number, bench: Bench, random: Random): Uint8Array {
  let best: Uint8Array | undefined;
  let bestCost = Number.POSITIVE_INFINITY;
  const tries = graph.count <= 8 ? 2 : graph.count <= 40 ? 4 : starts;
  for (let attempt = 0; attempt < tries; attempt++) {
    const sides = grow(graph, firstSize, bench, random, attempt === 0);
    refine(graph, sides, firstSize, bench, random);
    const cost =
      cutOf(graph, sides) + 1e6 * Math.max(0, offBalance(graph, sides, firstSize) - largestSize(graph));
    if (cost < bestCost) [best, bestCost] = [sides, cost];
  }
  return best!;
}

function largestSize({ sizes, count }: HalvingGraph): number {
  let largest = 0;
  for (let vertex = 0; vertex < count; vertex++) largest = Math.max(largest, sizes[vertex]!);
  return largest;
}

function offBalance({ sizes, count }: HalvingGraph, sides: Uint8Array, firstSize: number): number {
  let first = 0;
  for (let vertex = 0; vertex < count; vertex++) if (sides[vertex] === 0) first += sizes[vertex]!;
  return Math.abs(first - firstSize);
}

export function cutOf({ count, starts: from, ends, weights, lean }: HalvingGraph, sides: Uint8Array): number {
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
  firstSize: number,
  { gains, heaps: [heap] }: Bench,
  random: Random,
  byLean: boolean,
): Uint8Array {
  const { count, starts: from, ends, weights, sizes, lean } = graph;
  const sides = new Uint8Array(count).fill(1);
  heap.clear();
  let left = firstSize;
  let next = random.below(count);
  if (byLean) for (let vertex = 0; vertex < count; vertex++) if (lean[vertex]! > lean[next]!) next = vertex;
  let unvisited = 0;
  while (left > 0) {
    if (heap.size > 0) {
      next = heap.top();
      heap.remove(next);
    } else if (sides[next] === 0) {
      while (unvisited < count && sides[unvisited] === 0) unvisited++;
      if (unvisited === count) break;
      next = unvisited;
    }
    if (sizes[next]! > left && sizes[next]! - left > left) break;
    sides[next] = 0;
    left -= sizes[next]!;
    for (let at = from[next]!; at < from[next + 1]!; at++) {
      const other = ends[at]!;
      if (sides[other] === 0) continue;
      if (heap.has(other)) {
        gains[other]! += 2 * weights[at]!;
        heap.update(other);
        continue;
      }
      // What it draws in, less what it holds on to.
      let sum = lean[other]!;
      for (let back = from[other]!; back < from[other + 1]!; back++) {
        sum += sides[ends[back]!] === 0 ? weights[back]! : -weights[back]!;
      }
      gains[other] = sum;
      heap.add(other);
    }
  }
  return sides;
}

interface Coarser {
  graph: HalvingGraph;
  /** Coarse vertex of each vertex. */
  of: Int32Array;
}

/** Joins pairs of vertices over their heaviest edges. */
function coarsen(graph: HalvingGraph, random: Random, deadline: Deadline): Coarser {
  const { count, starts: from, ends, weights, sizes, lean } = graph;
  const order = new Int32Array(count);
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
  const of = new Int32Array(count).fill(-1);
  const members = new Int32Array(2 * count);
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
      if (weight > heaviest) [heaviest, partner] = [weight, other];
    }
    members[2 * coarse] = vertex;
    members[2 * coarse + 1] = partner;
    of[vertex] = coarse;
    of[partner] = coarse++;
  }
  const starts2 = new Int32Array(coarse + 1);
  const ends2 = new Int32Array(from[count]!);
  const weights2 = new Float64Array(from[count]!);
  const sizes2 = new Int32Array(coarse);
  const lean2 = new Float64Array(coarse);
  const slot = new Int32Array(coarse).fill(-1);
  let filled = 0;
  for (let vertex = 0; vertex < coarse; vertex++) {
    if (vertex % checkEvery === checkEvery - 1) deadline.check();
    const [a, b] = [members[2 * vertex]!, members[2 * vertex + 1]!];
    const begin = filled;
    for (let half = 0; half < (a === b ? 1 : 2); half++) {
      const member = half === 0 ? a : b;
      sizes2[vertex]! += sizes[member]!;
      lean2[vertex]! += lean[member]!;
      const end = from[member + 1]!;
      for (let at = from[member]!; at < end; at++) {
        const other = of[ends[at]!]!;
        if (other === vertex) continue;
        const known = slot[other]!;
        if (known >= begin) weights2[known]! += weights[at]!;
        else {
          slot[other] = filled;
          ends2[filled] = other;
          weights2[filled++] = weights[at]!;
        }
      }
    }
    starts2[vertex + 1] = filled;
  }
  return {
    graph: { count: coarse, starts: starts2, ends: ends2, weights: weights2, sizes: sizes2, lean: lean2 },
    of,
  };
}

const mostPasses = 6;

/**
 * Moves vertices across while it helps, and a while longer, then back to the best state seen. What is within the size
 * of the largest vertex of the wanted sizes counts as balanced; with vertices of size 1, exactly.
 */
export function refine(
  graph: HalvingGraph,
  sides: Uint8Array,
  firstSize: number,
  { gains, heaps, isLocked, moved }: Bench,
  random: Random,
  deadline?: Deadline,
): void {
  const { count, starts: from, ends, weights, sizes, lean } = graph;
  const largest = largestSize(graph);
  const slack = largest === 1 ? 0 : largest;
  let first = 0;
  for (let vertex = 0; vertex < count; vertex++) if (sides[vertex] === 0) first += sizes[vertex]!;
  const patience = Math.max(25, Math.min(300, count >> 3));
  const offset = random.below(Math.max(1, count));
  for (let pass = 0; pass < mostPasses; pass++) {
    deadline?.check();
    heaps[0].clear();
    heaps[1].clear();
    isLocked.fill(0, 0, count);
    const isOff = Math.abs(first - firstSize) > slack;
    for (let i = 0, vertex = offset; i < count; i++) {
      const side = sides[vertex]!;
      let sum = side === 0 ? -lean[vertex]! : lean[vertex]!;
      let isAtEdge = false;
      const end = from[vertex + 1]!;
      for (let at = from[vertex]!; at < end; at++) {
        if (sides[ends[at]!] === side) sum -= weights[at]!;
        else {
          sum += weights[at]!;
          isAtEdge = true;
        }
      }
      gains[vertex] = sum;
      if (isAtEdge || sum > 0 || isOff || count <= 64) heaps[side]!.add(vertex);
      vertex = vertex + 1 === count ? 0 : vertex + 1;
    }
    let gained = 0;
    let best = 0;
    let bestOff = Math.max(0, Math.abs(first - firstSize) - slack);
    let bestMoves = 0;
    let moves = 0;
    const startOff = bestOff;
    while (moves - bestMoves < patience) {
      const side = chooseSide(heaps, gains, sizes, first - firstSize, slack, largest);
      if (side < 0) break;
      const vertex = heaps[side]!.top();
      heaps[side]!.remove(vertex);
      isLocked[vertex] = 1;
      gained += gains[vertex]!;
      first += side === 0 ? -sizes[vertex]! : sizes[vertex]!;
      sides[vertex] = 1 - side;
      moved[moves++] = vertex;
      const end = from[vertex + 1]!;
      for (let at = from[vertex]!; at < end; at++) {
        const other = ends[at]!;
        if (isLocked[other] !== 0) continue;
        const otherSide = sides[other]!;
        gains[other]! += otherSide === side ? 2 * weights[at]! : -2 * weights[at]!;
        const heap = heaps[otherSide]!;
        if (heap.has(other)) heap.update(other);
        else heap.add(other);
      }
      const off = Math.max(0, Math.abs(first - firstSize) - slack);
      if (off < bestOff || (off === bestOff && gained > best + 1e-9)) {
        [best, bestOff, bestMoves] = [gained, off, moves];
      }
    }
    for (let i = moves - 1; i >= bestMoves; i--) {
      const vertex = moved[i]!;
      const side = sides[vertex]!;
      first += side === 0 ? -sizes[vertex]! : sizes[vertex]!;
      sides[vertex] = 1 - side;
    }
    if (bestMoves === 0 || (best <= 1e-9 && bestOff === startOff)) break;
  }
}

/** The side from which the next vertex moves: the one that has too much, else the one where it gains most. */
function chooseSide(
  heaps: readonly [GainHeap, GainHeap],
  gains: Float64Array,
  sizes: Int32Array,
  over: number,
  slack: number,
  largest: number,
): number {
  const [a, b] = [heaps[0].top(), heaps[1].top()];
  const widest = Math.max(slack, largest);
  // With a vertex from here, would it still be within reach of balance?
  const canA = a >= 0 && Math.abs(over - sizes[a]!) <= Math.max(widest, Math.abs(over) - 1);
  const canB = b >= 0 && Math.abs(over + sizes[b]!) <= Math.max(widest, Math.abs(over) - 1);
  if (canA && canB) return gains[a]! > gains[b]! || (gains[a] === gains[b] && over > 0) ? 0 : 1;
  if (canA) return 0;
  return canB ? 1 : -1;
}

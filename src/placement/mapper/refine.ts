/**
 * Two halves of a graph made better: vertices go across where that lowers what is between the halves.
 *
 * Sources: B. Kernighan and S. Lin, Bell System Technical Journal 49, 1970; C. Fiduccia and R. Mattheyses, DAC 1982.
 */

import type { Random } from '../../random.ts';
import type { Deadline } from './deadline.ts';
import type { Bench, HalvingGraph } from './halving-bench.ts';
import type { GainHeap } from './heap.ts';

/** Of the largest vertex. */
export function largestSize({ sizes, count }: HalvingGraph): number {
  let largest = 0;
  for (let vertex = 0; vertex < count; vertex++) largest = Math.max(largest, sizes[vertex]!);
  return largest;
}

/** What the first half has. */
export function firstOf({ sizes, count }: HalvingGraph, sides: Uint8Array): number {
  let first = 0;
  for (let vertex = 0; vertex < count; vertex++) if (sides[vertex] === 0) first += sizes[vertex]!;
  return first;
}

const mostPasses = 6;

/**
 * Moves vertices across while it helps, and a while longer, then back to the best state seen. What is within the size
 * of the largest vertex of the wanted sizes counts as balanced; with vertices of size 1, exactly.
 *
 * In small functions without loops around loops: V8 compiles these once and soon, where one large one takes it longer
 * than all the work in it.
 */
export function refine(
  graph: HalvingGraph,
  sides: Uint8Array,
  firstSize: number,
  bench: Bench,
  random: Random,
  deadline?: Deadline,
): void {
  const { count } = graph;
  const largest = largestSize(graph);
  const slack = largest === 1 ? 0 : largest;
  const offset = random.below(Math.max(1, count));
  for (let pass = 0; pass < mostPasses; pass++) {
    deadline?.check();
    const over = firstOf(graph, sides) - firstSize;
    bench.heaps[0].clear();
    bench.heaps[1].clear();
    bench.isLocked.fill(0, 0, count);
    const takesAll = Math.abs(over) > slack || count <= 64;
    for (let i = 0, vertex = offset; i < count; i++) {
      consider(graph, sides, vertex, bench, takesAll);
      vertex = vertex + 1 === count ? 0 : vertex + 1;
    }
    if (!moveAcross(graph, sides, over, slack, largest, bench)) break;
  }
}

/** Finds what a vertex gains by going across, and adds it to those that may, if it is at the edge. */
function consider(
  { starts: from, ends, weights, lean }: HalvingGraph,
  sides: Uint8Array,
  vertex: number,
  { gains, heaps }: Bench,
  isTaken: boolean,
): void {
  const side = sides[vertex]!;
  let sum = side === 0 ? -lean[vertex]! : lean[vertex]!;
  let isAtEdge = isTaken;
  const end = from[vertex + 1]!;
  for (let at = from[vertex]!; at < end; at++) {
    if (sides[ends[at]!] === side) sum -= weights[at]!;
    else {
      sum += weights[at]!;
      isAtEdge = true;
    }
  }
  gains[vertex] = sum;
  if (isAtEdge || sum > 0) heaps[side]!.put(vertex);
}

/**
 * One pass, of which the best state stays.
 * @param over what the first half has too much
 * @returns whether it was of use
 */
function moveAcross(
  graph: HalvingGraph,
  sides: Uint8Array,
  over: number,
  slack: number,
  largest: number,
  bench: Bench,
): boolean {
  const { sizes } = graph;
  const { gains, heaps, moved } = bench;
  const patience = Math.max(25, Math.min(300, graph.count >> 3));
  const startOff = Math.max(0, Math.abs(over) - slack);
  let now = over;
  let gained = 0;
  let best = 0;
  let bestOff = startOff;
  let bestMoves = 0;
  let moves = 0;
  while (moves - bestMoves < patience) {
    const side = chooseSide(heaps, gains, sizes, now, slack, largest);
    if (side < 0) break;
    const vertex = heaps[side]!.pop();
    gained += gains[vertex]!;
    now += side === 0 ? -sizes[vertex]! : sizes[vertex]!;
    cross(graph, sides, vertex, bench);
    moved[moves++] = vertex;
    const off = Math.max(0, Math.abs(now) - slack);
    if (off < bestOff || (off === bestOff && gained > best + 1e-9)) {
      best = gained;
      bestOff = off;
      bestMoves = moves;
    }
  }
  for (let i = bestMoves; i < moves; i++) sides[moved[i]!]! ^= 1;
  return bestMoves > 0 && (best > 1e-9 || bestOff !== startOff);
}

/** Moves a vertex across for good, and brings up to date what those beside it gain. */
function cross(
  { starts: from, ends, weights }: HalvingGraph,
  sides: Uint8Array,
  vertex: number,
  { gains, heaps, isLocked }: Bench,
): void {
  const side = sides[vertex]!;
  sides[vertex] = 1 - side;
  isLocked[vertex] = 1;
  const end = from[vertex + 1]!;
  for (let at = from[vertex]!; at < end; at++) {
    const other = ends[at]!;
    if (isLocked[other] !== 0) continue;
    const otherSide = sides[other]!;
    gains[other]! += otherSide === side ? 2 * weights[at]! : -2 * weights[at]!;
    heaps[otherSide]!.put(other);
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
  const a = heaps[0].top();
  const b = heaps[1].top();
  const widest = Math.max(slack, largest);
  // With a vertex from here, would it still be within reach of balance?
  const canA = a >= 0 && Math.abs(over - sizes[a]!) <= Math.max(widest, Math.abs(over) - 1);
  const canB = b >= 0 && Math.abs(over + sizes[b]!) <= Math.max(widest, Math.abs(over) - 1);
  if (canA && canB) return gains[a]! > gains[b]! || (gains[a] === gains[b] && over > 0) ? 0 : 1;
  if (canA) return 0;
  return canB ? 1 : -1;
}

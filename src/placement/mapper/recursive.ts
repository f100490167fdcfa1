/**
 * Dual recursive bisection: the places in halves, the ranks in as large halves with little traffic between them, drawn
 * to where those are that they talk with; level by level, so that every rank knows about how far all others have come.
 *
 * Source of the method: F. Pellegrini, "Static mapping by dual recursive bipartitioning of process and architecture
 * graphs", SHPCC 1994.
 */

import type { Random } from '../../random.ts';
import { type Deadline, TimeIsUp } from './deadline.ts';
import { halve } from './halves.ts';
import { type Bench, benchFor, type HalvingGraph, levelAt } from './halving-bench.ts';
import type { Placement, Problem } from './problem.ts';
import { firstOf, refine } from './refine.ts';

/** A placement by halving. Where the time does not suffice, ranks are shared out by their order below some level. */
export function recursivePlacement(
  problem: Problem,
  random: Random,
  deadline: Deadline,
): { placement: Placement; isCut: boolean } {
  const { ranks, hierarchy } = problem;
  const at = new Int32Array(ranks).fill(hierarchy.centre[0]!);
  const all = Int32Array.from({ length: ranks }, (_, rank) => rank);
  const isCut = descend(halvingOf(problem, at, ranks, random), 0, all, deadline);
  return { placement: at, isCut };
}

interface Halving {
  problem: Problem;
  /** The place by which each rank's distance to others is measured. */
  at: Int32Array;
  /** Room in the places of the hierarchy before each. */
  sums: Float64Array;
  /** Index of each rank in the part that is being halved, else -1. */
  local: Int32Array;
  bench: Bench;
  random: Random;
}

/** @param largest ranks of the largest part that is halved */
function halvingOf(problem: Problem, at: Int32Array, largest: number, random: Random): Halving {
  const { ranks, hierarchy, room } = problem;
  const { order } = hierarchy;
  const sums = new Float64Array(order.length + 1);
  for (let i = 0; i < order.length; i++) sums[i + 1] = sums[i]! + room[order[i]!]!;
  return { problem, at, sums, local: new Int32Array(ranks).fill(-1), bench: benchFor(largest), random };
}

/** Halves a part down to its places. @returns whether the time did not suffice */
function descend(halving: Halving, top: number, all: Int32Array, deadline: Deadline): boolean {
  const { left, right } = halving.problem.hierarchy;
  let open: Part[] = [{ part: top, members: all }];
  let isCut = false;
  while (open.length > 0) {
    const next: Part[] = [];
    for (const each of open) {
      if (left[each.part]! < 0 || each.members.length === 0) continue;
      try {
        if (!isCut) {
          const sides = splitPart(halving, each, deadline);
          takeHalf(halving, each, sides, 0, left[each.part]!, next);
          takeHalf(halving, each, sides, 1, right[each.part]!, next);
        }
      } catch (thrown) {
        isCut = noted(thrown);
      }
      if (isCut) fillInOrder(halving.problem, each.part, each.members, halving.at);
    }
    open = next;
  }
  return isCut;
}

interface Part {
  part: number;
  members: Int32Array;
}

function splitPart(halving: Halving, { part, members }: Part, deadline: Deadline): Uint8Array {
  const { problem, sums } = halving;
  const { low, high, left, right, centre } = problem.hierarchy;
  const one = left[part]!;
  const other = right[part]!;
  const firstSize = firstShare(
    members.length,
    sums[high[one]!]! - sums[low[one]!]!,
    sums[high[other]!]! - sums[low[other]!]!,
  );
  return splitMembers(halving, { members, firstSize, one: centre[one]!, other: centre[other]! }, deadline);
}

/** Puts those on one side into the middle of its part, which is halved next. */
function takeHalf(
  { problem, at }: Halving,
  { members }: Part,
  sides: Uint8Array,
  side: number,
  part: number,
  next: Part[],
): void {
  const place = problem.hierarchy.centre[part]!;
  const chosen = new Int32Array(members.length);
  let count = 0;
  for (let i = 0; i < members.length; i++) {
    if (sides[i] !== side) continue;
    at[members[i]!] = place;
    chosen[count++] = members[i]!;
  }
  if (count > 0) next.push({ part, members: chosen.subarray(0, count) });
}

/** Parts of more ranks are not halved anew: it takes longer, and of what is large the first halving is good. */
const mostAnew = 256;

/**
 * Small parts halved anew, one after the other: in the first halving it was known of all others only about where they
 * would be, now it is known in which place. What comes out worse is taken back.
 * @param placement changed in place, better at every moment
 * @returns what the cost has fallen by
 * @throws TimeIsUp
 */
export function halveAgain(
  problem: Problem,
  placement: Placement,
  random: Random,
  deadline: Deadline,
): number {
  const { order, low, high, left, right, centre } = problem.hierarchy;
  const halving = halvingOf(problem, placement, mostAnew, random);
  const positions = new Int32Array(order.length);
  for (let i = 0; i < order.length; i++) positions[order[i]!] = i;
  let fallen = 0;
  const anew = (part: number, members: Int32Array): void => {
    const before = members.map((rank) => placement[rank]!);
    const costBefore = costOfMembers(halving, members);
    for (const rank of members) placement[rank] = centre[part]!;
    const isCut = descend(halving, part, members, deadline);
    const gain = costBefore - costOfMembers(halving, members);
    if (gain > 0) fallen += gain;
    else for (let i = 0; i < members.length; i++) placement[members[i]!] = before[i]!;
    if (isCut) throw new TimeIsUp();
  };
  // Larger parts before those that they consist of.
  const open: [part: number, members: Int32Array][] = [
    [0, Int32Array.from({ length: problem.ranks }, (_, rank) => rank)],
  ];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [part, members] = next;
    // Pairs are better off with swaps.
    if (left[part]! < 0 || members.length <= 2) continue;
    if (members.length <= mostAnew) anew(part, members);
    for (const half of [left[part]!, right[part]!]) {
      const inside = members.filter((rank) => {
        const position = positions[placement[rank]!]!;
        return position >= low[half]! && position < high[half]!;
      });
      open.push([half, inside]);
    }
  }
  return fallen;
}

/** What all connections of some ranks cost, each pair of them once. */
function costOfMembers({ problem, at, local }: Halving, members: Int32Array): number {
  const { offsets, neighbours, weights, metric, power } = problem;
  for (const rank of members) local[rank] = 0;
  let sum = 0;
  for (const rank of members) {
    for (let arc = offsets[rank]!; arc < offsets[rank + 1]!; arc++) {
      const other = neighbours[arc]!;
      const distance = metric.distance(at[rank]!, at[other]!);
      const cost = weights[arc]! * (power === 1 ? distance : distance ** 4);
      sum += local[other] === 0 ? cost / 2 : cost;
    }
  }
  for (const rank of members) local[rank] = -1;
  return sum;
}

/** Ranks into the places of a part as they come. */
function fillInOrder({ hierarchy, room }: Problem, part: number, members: Int32Array, at: Int32Array): void {
  const { order, low, high } = hierarchy;
  let next = 0;
  for (let i = low[part]!; i < high[part]! && next < members.length; i++) {
    const place = order[i]!;
    for (let slot = 0; slot < room[place]! && next < members.length; slot++) at[members[next++]!] = place;
  }
}

/** @returns true where the time was over */
function noted(thrown: unknown): true {
  if (thrown instanceof TimeIsUp) return true;
  throw thrown;
}

/** All in the first half, as far as there is room: what is together has shorter ways. */
function firstShare(count: number, roomOne: number, roomOther: number): number {
  if (count === roomOne + roomOther) return roomOne;
  if (count <= roomOne) return roomOther >= count && roomOther < roomOne ? 0 : count;
  return roomOne;
}

interface Cut {
  members: Int32Array;
  firstSize: number;
  /** Places that stand for both halves. */
  one: number;
  other: number;
}

function splitMembers(
  { problem, at, local, bench, random }: Halving,
  { members, firstSize, one, other }: Cut,
  deadline: Deadline,
): Uint8Array {
  const count = members.length;
  if (firstSize === count) return new Uint8Array(count);
  if (firstSize === 0) return new Uint8Array(count).fill(1);
  const { offsets, neighbours, weights, metric } = problem;
  // Half of all parts are pairs: these need no graph.
  if (count === 2) {
    deadline.check();
    const first = leanOf(problem, members, 0, one, other, at);
    const second = leanOf(problem, members, 1, one, other, at);
    return first > second ? Uint8Array.of(0, 1) : Uint8Array.of(1, 0);
  }
  const across = metric.distance(one, other);
  let entries = 0;
  for (let i = 0; i < count; i++) {
    local[members[i]!] = i;
    entries += offsets[members[i]! + 1]! - offsets[members[i]!]!;
  }
  const { graph } = levelAt(bench, 0, count, entries);
  graph.count = count;
  graph.sizes.fill(1, 0, count);
  let filled = 0;
  for (let i = 0; i < count; i++) {
    const rank = members[i]!;
    let lean = 0;
    const end = offsets[rank + 1]!;
    for (let arc = offsets[rank]!; arc < end; arc++) {
      const neighbour = neighbours[arc]!;
      const inside = local[neighbour]!;
      if (inside >= 0) {
        graph.ends[filled] = inside;
        graph.weights[filled++] = weights[arc]! * across;
      } else {
        const far = at[neighbour]!;
        lean += weights[arc]! * (metric.distance(other, far) - metric.distance(one, far));
      }
    }
    graph.lean[i] = lean;
    graph.starts[i + 1] = filled;
  }
  for (let i = 0; i < count; i++) local[members[i]!] = -1;
  const sides = halve(bench, firstSize, random, deadline);
  settle(graph, sides, firstSize, bench, random);
  return sides;
}

/** What it costs one of a pair to be in the second half rather than in the first; the other is in the other anyway. */
function leanOf(
  { offsets, neighbours, weights, metric }: Problem,
  members: Int32Array,
  index: number,
  one: number,
  other: number,
  at: Int32Array,
): number {
  const rank = members[index]!;
  let lean = 0;
  for (let arc = offsets[rank]!; arc < offsets[rank + 1]!; arc++) {
    const neighbour = neighbours[arc]!;
    if (neighbour === members[1 - index]) continue;
    lean += weights[arc]! * (metric.distance(other, at[neighbour]!) - metric.distance(one, at[neighbour]!));
  }
  return lean;
}

/** What refinement could not bring to the exact sizes. */
function settle(
  graph: HalvingGraph,
  sides: Uint8Array,
  firstSize: number,
  bench: Bench,
  random: Random,
): void {
  let first = firstOf(graph, sides);
  if (first === firstSize) return;
  refine(graph, sides, firstSize, bench, random);
  first = firstOf(graph, sides);
  for (let i = 0; first !== firstSize && i < graph.count; i++) {
    const wrong = first > firstSize ? 0 : 1;
    if (sides[i] !== wrong) continue;
    sides[i] = 1 - wrong;
    first += wrong === 0 ? -1 : 1;
  }
}

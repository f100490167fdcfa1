/**
 * Dual recursive bisection: the places in halves, the ranks in as large halves with little traffic between them, drawn
 * to where those are that they talk with; level by level, so that every rank knows about how far all others have come.
 *
 * Source of the method: F. Pellegrini, "Static mapping by dual recursive bipartitioning of process and architecture
 * graphs", SHPCC 1994.
 */

import type { Random } from '../../random.ts';
import { type Deadline, TimeIsUp } from './deadline.ts';
import { type HalvingGraph, halve, refine } from './halves.ts';
import type { Placement, Problem } from './problem.ts';

/** Memory for graphs of parts, used again and again. */
interface Scratch {
  local: Int32Array;
}

/** A placement by halving. Where the time does not suffice, ranks are shared out by their order below some level. */
export function recursivePlacement(
  problem: Problem,
  random: Random,
  deadline: Deadline,
): { placement: Placement; isCut: boolean } {
  const { ranks, hierarchy, room } = problem;
  const { order, low, high, left, right, centre } = hierarchy;
  const sums = new Float64Array(order.length + 1);
  for (let at = 0; at < order.length; at++) sums[at + 1] = sums[at]! + room[order[at]!]!;
  const roomOf = (part: number): number => sums[high[part]!]! - sums[low[part]!]!;
  /** The place by which each rank's distance to others is measured. */
  const at = new Int32Array(ranks).fill(centre[0]!);
  const scratch: Scratch = { local: new Int32Array(ranks).fill(-1) };
  let open = new Map<number, Int32Array>([[0, Int32Array.from({ length: ranks }, (_, rank) => rank)]]);
  let isCut = false;
  while (open.size > 0) {
    const next = new Map<number, Int32Array>();
    for (const [part, members] of open) {
      const [one, other] = [left[part]!, right[part]!];
      if (one < 0 || members.length === 0) continue;
      const firstSize = firstShare(members.length, roomOf(one), roomOf(other));
      if (isCut) {
        fillInOrder(problem, part, members, at);
        continue;
      }
      let sides: Uint8Array;
      try {
        const cut = { members, firstSize, one: centre[one]!, other: centre[other]! };
        sides = splitMembers(problem, cut, at, scratch, random, deadline);
      } catch (thrown) {
        isCut = noted(thrown);
        fillInOrder(problem, part, members, at);
        continue;
      }
      for (const [half, side] of [
        [one, 0],
        [other, 1],
      ] as const) {
        const chosen = members.filter((_, i) => sides[i] === side);
        for (const rank of chosen) at[rank] = centre[half]!;
        if (chosen.length > 0) next.set(half, chosen);
      }
    }
    open = next;
  }
  return { placement: at, isCut };
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
  problem: Problem,
  { members, firstSize, one, other }: Cut,
  at: Int32Array,
  { local }: Scratch,
  random: Random,
  deadline: Deadline,
): Uint8Array {
  const count = members.length;
  if (firstSize === count) return new Uint8Array(count);
  if (firstSize === 0) return new Uint8Array(count).fill(1);
  const { offsets, neighbours, weights, metric } = problem;
  // Half of all parts are pairs: these need no graph.
  if (count === 2) {
    deadline.check();
    const [first, second] = [
      leanOf(problem, members, 0, one, other, at),
      leanOf(problem, members, 1, one, other, at),
    ];
    return first > second ? Uint8Array.of(0, 1) : Uint8Array.of(1, 0);
  }
  const across = metric.distance(one, other);
  let entries = 0;
  for (let i = 0; i < count; i++) {
    local[members[i]!] = i;
    entries += offsets[members[i]! + 1]! - offsets[members[i]!]!;
  }
  const graph: HalvingGraph = {
    count,
    starts: new Int32Array(count + 1),
    ends: new Int32Array(entries),
    weights: new Float64Array(entries),
    sizes: new Int32Array(count).fill(1),
    lean: new Float64Array(count),
  };
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
  const sides = halve(graph, firstSize, random, deadline);
  settle(graph, sides, firstSize, random);
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
function settle(graph: HalvingGraph, sides: Uint8Array, firstSize: number, random: Random): void {
  let first = 0;
  for (const side of sides) if (side === 0) first++;
  if (first === firstSize) return;
  refine(graph, sides, firstSize, random);
  first = 0;
  for (const side of sides) if (side === 0) first++;
  for (let i = 0; first !== firstSize && i < sides.length; i++) {
    const wrong = first > firstSize ? 0 : 1;
    if (sides[i] !== wrong) continue;
    sides[i] = 1 - wrong;
    first += wrong === 0 ? -1 : 1;
  }
}

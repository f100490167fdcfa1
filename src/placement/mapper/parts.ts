/** Ranks exchanged between parts of the network while these are still large: what is wrong in the large is cheap to mend then. */

import type { Random } from '../../random.ts';
import type { Deadline } from './deadline.ts';
import type { Problem } from './problem.ts';
import { anneal, improve } from './search.ts';

/**
 * @param partOf part of each rank; changed in place, each part keeping its number of ranks
 * @param tries swaps tried for each rank, beside those that gain at once
 */
export function refineParts(
  problem: Problem,
  partOf: Int32Array,
  tries: number,
  random: Random,
  deadline: Deadline,
): void {
  const { hierarchy, near, nearStarts, room, ranks } = problem;
  const { centre, low, high, order } = hierarchy;
  const parts = new Set(partOf);
  if (parts.size < 4) return;
  /** Part of each place, and ranks in each part, kept at its centre. */
  const partAt = new Int32Array(room.length).fill(-1);
  for (const part of parts) for (let at = low[part]!; at < high[part]!; at++) partAt[order[at]!] = part;
  const held = new Int32Array(room.length);
  for (const part of partOf) held[centre[part]!]!++;
  const starts = new Int32Array(room.length + 1);
  const beside: number[] = [];
  const lists = new Map<number, Set<number>>();
  for (let place = 0; place < room.length; place++) {
    const own = partAt[place]!;
    if (own < 0) continue;
    let list = lists.get(own);
    for (let at = nearStarts[place]!; at < nearStarts[place + 1]!; at++) {
      const other = partAt[near[at]!]!;
      if (other < 0 || other === own) continue;
      if (list === undefined) {
        list = new Set();
        lists.set(own, list);
      }
      list.add(centre[other]!);
    }
  }
  for (let place = 0; place < room.length; place++) {
    const own = partAt[place]!;
    if (own >= 0 && centre[own] === place) beside.push(...(lists.get(own) ?? []));
    starts[place + 1] = beside.length;
  }
  const coarse: Problem = { ...problem, room: held, near: Int32Array.from(beside), nearStarts: starts };
  // Long rows cost more at each look.
  const rounds = problem.neighbours.length > 40 * ranks ? 2 : 6;
  const placement = partOf.map((part) => centre[part]!);
  improve(coarse, placement, random, deadline, rounds);
  if (tries > 0) {
    anneal(coarse, placement, { tries: tries * ranks, hot: 0.4, cold: 0.05 }, random, deadline);
    improve(coarse, placement, random, deadline, rounds);
  }
  for (let rank = 0; rank < ranks; rank++) partOf[rank] = partAt[placement[rank]!]!;
}

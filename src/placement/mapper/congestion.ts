/**
 * Less traffic over the fullest links: swaps that lower the sum of the loads' high powers, which the fullest rule. What
 * a swap changes is found by taking the ways of its two ranks out and laying them anew.
 */

import type { Links, Routing } from '../../machine/network/links.ts';
import type { Random } from '../../random.ts';
import type { Traffic } from '../traffic/graph.ts';
import type { Deadline } from './deadline.ts';
import { exchange, occupancyOf } from './occupancy.ts';
import type { Placement, Problem } from './problem.ts';

const power = 6;

export interface Unloading {
  links: Links;
  /** The host of each place of the problem. */
  hostOf(place: number): number;
  routing: Routing;
  /** Swaps tried. */
  tries: number;
}

/** @param placement changed in place, better by the fullest link at every moment, or as good */
export function unload(
  traffic: Traffic,
  problem: Problem,
  placement: Placement,
  { links, hostOf, routing, tries }: Unloading,
  random: Random,
  deadline: Deadline,
): void {
  const { ranks, offsets, neighbours, weights, outgoing } = traffic;
  const { nearStarts, near } = problem;
  const occupancy = occupancyOf(problem, placement);
  const { slotStarts, occupants } = occupancy;
  const loads = new Float64Array(links.count);
  const touched: number[] = [];
  const before: number[] = [];
  const isTouched = new Uint8Array(links.count);
  let sign = 1;
  const add = (link: number, amount: number): void => {
    if (isTouched[link] === 0) {
      isTouched[link] = 1;
      touched.push(link);
      before.push(loads[link]!);
    }
    loads[link]! += sign * amount;
  };
  /** Lays or takes up all ways of a rank but those to `except`. */
  const ways = (rank: number, except: number): void => {
    const from = hostOf(placement[rank]!);
    for (let at = offsets[rank]!; at < offsets[rank + 1]!; at++) {
      const other = neighbours[at]!;
      if (other === except) continue;
      const to = hostOf(placement[other]!);
      if (from === to) continue;
      const out = outgoing === undefined ? weights[at]! / 2 : outgoing[at]!;
      if (out > 0) links.route(from, to, out, routing, add);
      if (weights[at]! > out) links.route(to, from, weights[at]! - out, routing, add);
    }
  };
  const settle = (): void => {
    for (const link of touched) isTouched[link] = 0;
    touched.length = 0;
    before.length = 0;
  };
  // Of large networks, few links are used.
  const used: number[] = [];
  for (let rank = 0; rank < ranks; rank++) {
    if (rank % 256 === 0) deadline.check();
    // Each pair is in two rows: half of it from each.
    ways(rank, -1);
    for (let i = 0; i < touched.length; i++) if (before[i] === 0) used.push(touched[i]!);
    settle();
  }
  let scale = 0;
  for (const link of used) {
    loads[link]! /= 2;
    scale = Math.max(scale, loads[link]! / links.width(link));
  }
  if (scale === 0) return;
  const cost = (load: number, link: number): number => (load / (scale * links.width(link))) ** power;
  for (let attempt = 0; attempt < tries; attempt++) {
    if (attempt % 16 === 0) deadline.check();
    const rank = random.below(ranks);
    const degree = offsets[rank + 1]! - offsets[rank]!;
    if (degree === 0) continue;
    const anchor = placement[neighbours[offsets[rank]! + random.below(degree)]!]!;
    const nearby = nearStarts[anchor + 1]! - nearStarts[anchor]!;
    const pick = random.below(nearby + 1);
    const to = pick === nearby ? anchor : near[nearStarts[anchor]! + pick]!;
    const from = placement[rank]!;
    const slots = slotStarts[to + 1]! - slotStarts[to]!;
    if (to === from || slots === 0) continue;
    const slot = slotStarts[to]! + random.below(slots);
    const oldSlot = occupancy.slotOf[rank]!;
    const partner = occupants[slot]!;
    sign = -1;
    ways(rank, -1);
    if (partner >= 0) ways(partner, rank);
    exchange(occupancy, rank, to, slot);
    sign = 1;
    ways(rank, -1);
    if (partner >= 0) ways(partner, rank);
    let change = 0;
    for (let i = 0; i < touched.length; i++)
      change += cost(loads[touched[i]!]!, touched[i]!) - cost(before[i]!, touched[i]!);
    if (change >= -1e-12) {
      exchange(occupancy, rank, from, oldSlot);
      for (let i = 0; i < touched.length; i++) loads[touched[i]!] = before[i]!;
    }
    settle();
  }
}

/**
 * Local search by swaps: what a swap gains is found from the rows of its two ranks alone. A free slot is swapped with
 * as if somebody who talks to nobody were in it, so that moves are swaps too.
 *
 * Annealing follows S. Kirkpatrick and others, "Optimization by simulated annealing", Science 220, 1983, with moves
 * that bring a rank next to one of those it talks with.
 */

import type { Random } from '../../random.ts';
import type { Deadline } from './deadline.ts';
import { exchange, type Occupancy, occupancyOf } from './occupancy.ts';
import type { Placement, Problem } from './problem.ts';

/** What the cost grows by when `rank` alone goes from one place to another. */
function changeOf(problem: Problem, placement: Placement, rank: number, from: number, to: number): number {
  const { offsets, neighbours, weights, metric } = problem;
  const end = offsets[rank + 1]!;
  let sum = 0;
  if (problem.power === 1) {
    for (let at = offsets[rank]!; at < end; at++) {
      const other = placement[neighbours[at]!]!;
      sum += weights[at]! * (metric.distance(to, other) - metric.distance(from, other));
    }
    return sum;
  }
  for (let at = offsets[rank]!; at < end; at++) {
    const other = placement[neighbours[at]!]!;
    sum += weights[at]! * (metric.distance(to, other) ** 4 - metric.distance(from, other) ** 4);
  }
  return sum;
}

/**
 * As {@link changeOf} for the partner of a swap, put right for what both say to each other: it is as far as before, and
 * each of both changes counts it as come together.
 */
function partnerChange(
  problem: Problem,
  placement: Placement,
  rank: number,
  partner: number,
  from: number,
  to: number,
): number {
  const { offsets, neighbours, weights, metric, power } = problem;
  const end = offsets[partner + 1]!;
  let sum = 0;
  for (let at = offsets[partner]!; at < end; at++) {
    const neighbour = neighbours[at]!;
    if (neighbour === rank) {
      const distance = metric.distance(from, to);
      sum += weights[at]! * (power === 1 ? distance : distance ** 4);
      continue;
    }
    const other = placement[neighbour]!;
    const after = metric.distance(to, other);
    const before = metric.distance(from, other);
    sum += weights[at]! * (power === 1 ? after - before : after ** 4 - before ** 4);
  }
  return sum;
}

/** Neighbours of a rank that are looked at for a better place, and ranks of a place that are tried. */
const mostLookedAt = 8;
const mostPartners = 8;
/** Looks at the clock once in so many ranks. */
const checkEvery = 64;

/**
 * Swaps as long as one gains, each rank looked at again when something near it changed.
 * @param placement changed in place, better at every moment
 * @param rounds at most so many looks at each rank on average
 * @returns what the cost has fallen by
 */
export function improve(
  problem: Problem,
  placement: Placement,
  random: Random,
  deadline: Deadline,
  rounds = 30,
): number {
  const { ranks, offsets, neighbours, nearStarts, near } = problem;
  const occupancy = occupancyOf(problem, placement);
  const { slotStarts, occupants } = occupancy;
  const smallest = smallestGain(problem);
  // A ring of ranks to look at.
  const queue = new Int32Array(ranks);
  const isQueued = new Uint8Array(ranks).fill(1);
  for (let rank = 0; rank < ranks; rank++) queue[rank] = rank;
  for (let last = ranks - 1; last > 0; last--) {
    const other = random.below(last + 1);
    const kept = queue[last]!;
    queue[last] = queue[other]!;
    queue[other] = kept;
  }
  let head = 0;
  let waiting = ranks;
  let fallen = 0;
  const seen = new Int32Array(problem.room.length).fill(-1);
  const enqueue = (rank: number): void => {
    if (isQueued[rank] !== 0) return;
    isQueued[rank] = 1;
    let tail = head + waiting;
    if (tail >= ranks) tail -= ranks;
    queue[tail] = rank;
    waiting++;
  };
  const wake = (rank: number): void => {
    enqueue(rank);
    const end = Math.min(offsets[rank + 1]!, offsets[rank]! + 64);
    for (let at = offsets[rank]!; at < end; at++) enqueue(neighbours[at]!);
  };
  for (let looks = 0; waiting > 0 && looks < rounds * ranks; looks++) {
    if (looks % checkEvery === 0) deadline.check();
    const rank = queue[head]!;
    head = head + 1 === ranks ? 0 : head + 1;
    waiting--;
    isQueued[rank] = 0;
    const start = offsets[rank]!;
    const degree = offsets[rank + 1]! - start;
    if (degree === 0) continue;
    const from = placement[rank]!;
    // Who is where all are that it talks with is best off there.
    let apart = start;
    while (apart < start + degree && placement[neighbours[apart]!] === from) apart++;
    if (apart === start + degree) continue;
    seen[from] = looks;
    let best = -smallest;
    let bestSlot = -1;
    let bestPlace = -1;
    // Where rows are long, each look costs more.
    const lookedAt = Math.min(degree, degree > 64 ? 2 : mostLookedAt);
    let row = degree > lookedAt ? random.below(degree) : 0;
    for (let i = 0; i < lookedAt; i++) {
      const anchor = placement[neighbours[start + row]!]!;
      row = row + 1 === degree ? 0 : row + 1;
      const nearEnd = nearStarts[anchor + 1]!;
      // The place of the neighbour itself, then those next to it.
      for (let at = nearStarts[anchor]! - 1; at < nearEnd; at++) {
        const to = at < nearStarts[anchor]! ? anchor : near[at]!;
        if (seen[to] === looks) continue;
        seen[to] = looks;
        const own = changeOf(problem, placement, rank, from, to);
        if (own >= 0) continue;
        const first = slotStarts[to]!;
        const slots = slotStarts[to + 1]! - first;
        let slot = slots > mostPartners ? random.below(slots) : 0;
        for (let j = 0; j < Math.min(slots, mostPartners); j++) {
          const partner = occupants[first + slot]!;
          const change = partner < 0 ? own : own + partnerChange(problem, placement, rank, partner, to, from);
          if (change < best) [best, bestSlot, bestPlace] = [change, first + slot, to];
          slot = slot + 1 === slots ? 0 : slot + 1;
        }
      }
    }
    if (bestSlot < 0) continue;
    const partner = occupants[bestSlot]!;
    exchange(occupancy, rank, bestPlace, bestSlot);
    fallen -= best;
    wake(rank);
    if (partner >= 0) wake(partner);
  }
  return fallen;
}

/** Gains below this are rounding. */
function smallestGain({ weights, metric }: Problem): number {
  let largest = 0;
  for (const weight of weights) largest = Math.max(largest, weight);
  return largest === 0 ? 1 : largest * 1e-9 * Math.max(1, metric.places > 1 ? 1 : 0);
}

export interface Annealing {
  /** Swaps tried. */
  tries: number;
  /** Temperatures at the beginning and at the end, in mean weights times hops. */
  hot: number;
  cold: number;
}

/**
 * Swaps at random, worse ones too, ever fewer of them.
 * @param placement changed in place; it may end worse than it was
 * @returns whether all was tried; false when the time would not have sufficed
 */
export function anneal(
  problem: Problem,
  placement: Placement,
  { tries, hot, cold }: Annealing,
  random: Random,
  deadline: Deadline,
): boolean {
  const { ranks, offsets, neighbours, nearStarts, near, weights } = problem;
  const occupancy: Occupancy = occupancyOf(problem, placement);
  const { slotStarts, occupants } = occupancy;
  let sum = 0;
  for (const weight of weights) sum += weight;
  const mean = weights.length === 0 ? 1 : sum / weights.length;
  const cooling = (cold / hot) ** (1 / Math.max(1, tries / triesPerStep));
  let temperature = hot * mean;
  const budgetMs = deadline.leftMs() * shareOfTime;
  let isWhole = true;
  for (let attempt = 0, step = 0; attempt < tries; attempt++) {
    if (attempt === step) {
      deadline.check();
      // Where the time does not suffice, temperatures are left out: what counts is that it gets cold.
      const passed = 1 - deadline.leftMs() / (budgetMs / shareOfTime);
      if (passed > 0.1 && passed > (shareOfTime * attempt) / tries) {
        isWhole = false;
        attempt = Math.min(tries - 1, Math.ceil((passed / shareOfTime) * tries));
      }
      temperature = hot * mean * cooling ** (attempt / triesPerStep);
      step = attempt + triesPerStep;
    }
    const rank = scaled(random.uint32(), ranks);
    const start = offsets[rank]!;
    const degree = offsets[rank + 1]! - start;
    if (degree === 0) continue;
    const anchor = placement[neighbours[start + scaled(random.uint32(), degree)]!]!;
    const first = nearStarts[anchor]!;
    const count = nearStarts[anchor + 1]! - first;
    const pick = scaled(
      random.uint32(),
      count + (occupants.length > ranks || slotStarts[anchor + 1]! - slotStarts[anchor]! > 1 ? 1 : 0),
    );
    const to = pick === count ? anchor : near[first + pick]!;
    const from = placement[rank]!;
    if (to === from || count + pick === 0) continue;
    const slotStart = slotStarts[to]!;
    const slots = slotStarts[to + 1]! - slotStart;
    const slot = slotStart + (slots === 1 ? 0 : scaled(random.uint32(), slots));
    const partner = occupants[slot]!;
    const own = changeOf(problem, placement, rank, from, to);
    const change = partner < 0 ? own : own + partnerChange(problem, placement, rank, partner, to, from);
    if (change > 0 && random.uint32() >= twoTo32 * Math.exp(-change / temperature)) continue;
    exchange(occupancy, rank, to, slot);
  }
  return isWhole;
}

/** What annealing takes of the time that is left; the rest is for what comes after it. */
const shareOfTime = 0.85;
/** Tries at one temperature. */
const triesPerStep = 256;
const twoTo32 = 2 ** 32;

/** From 32 random bits a number below `limit`; the bias, of one in millions, does not matter in a search. */
function scaled(bits: number, limit: number): number {
  return Math.floor((bits * limit) / twoTo32);
}

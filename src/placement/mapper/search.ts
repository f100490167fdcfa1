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
import { type Placement, type Problem, shortestStep } from './problem.ts';

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
  /** At the beginning it gets warmer until the cost has grown by this share: what was good must not melt. */
  growth: number;
}

/** Temperatures in mean weights times hops: where warming begins, what it goes by and up to, and where cooling ends. */
const [coolest, warming, hottest, coldest] = [0.3, 1.25, 8, 0.2];
/** Tries for each rank at each step of warming. */
const triesPerWarming = 10;

/**
 * Swaps at random, worse ones too, ever fewer of them.
 * @param placement changed in place; it may end worse than it was
 * @returns whether all was tried; false when the time would not have sufficed
 */
export function anneal(
  problem: Problem,
  placement: Placement,
  { tries, growth }: Annealing,
  random: Random,
  deadline: Deadline,
): boolean {
  const { ranks, weights } = problem;
  const state = stateOf(problem, placement);
  let cost = state.own.reduce((sum, one) => sum + one, 0) / 2;
  const most = cost * (1 + growth);
  const mean = weights.reduce((sum, weight) => sum + weight, 0) / Math.max(1, weights.length);
  const startMs = deadline.leftMs();
  let left = tries;
  let hot = coolest;
  for (; hot < hottest && cost < most && left > tries / 2; hot *= warming) {
    for (let rest = Math.min(triesPerWarming * ranks, tries >> 6); rest > 0; rest -= triesPerStep) {
      deadline.check();
      cost += swapsAt(state, hot * mean, triesPerStep, random);
      left -= triesPerStep;
    }
  }
  let isWhole = true;
  const budgetMs = deadline.leftMs() - (1 - shareOfTime) * startMs;
  const endMs = deadline.leftMs() - budgetMs;
  for (let rest = left; rest > 0; rest -= triesPerStep) {
    deadline.check();
    // Where the time does not suffice, temperatures are left out: what counts is that it gets cold.
    const share = (deadline.leftMs() - endMs) / budgetMs;
    if (share < 0.9 && share < rest / left) {
      isWhole = false;
      rest = Math.max(triesPerStep, Math.floor(share * left));
    }
    swapsAt(state, mean * coldest * (hot / coldest) ** (rest / left), triesPerStep, random);
  }
  return isWhole;
}

/** Who is where, with what each rank's own connections cost, and what they cost at least. */
interface State {
  problem: Problem;
  occupancy: Occupancy;
  own: Float64Array;
  least: Float64Array;
  /** Whether there may be room beside those one talks with. */
  isShared: boolean;
}

function stateOf(problem: Problem, placement: Placement): State {
  const { room, ranks } = problem;
  return {
    problem,
    occupancy: occupancyOf(problem, placement),
    own: ownCosts(problem, placement),
    least: leastOwnCosts(problem),
    isShared: room.some((slots) => slots > 1) || room.reduce((sum, slots) => sum + slots, 0) > ranks,
  };
}

/**
 * What a swap may cost is drawn before it is looked at: most are seen to cost more after a few of the connections.
 * @returns what the cost has grown by
 */
function swapsAt(
  { problem, occupancy, own, least, isShared }: State,
  temperature: number,
  tries: number,
  random: Random,
): number {
  const { ranks, offsets, neighbours, nearStarts, near, weights, metric, power } = problem;
  const { placement, slotStarts, occupants } = occupancy;
  let grown = 0;
  for (let attempt = 0; attempt < tries; attempt++) {
    const rank = scaled(random.uint32(), ranks);
    const start = offsets[rank]!;
    const end = offsets[rank + 1]!;
    if (end === start) continue;
    const anchor = placement[neighbours[start + scaled(random.uint32(), end - start)]!]!;
    const first = nearStarts[anchor]!;
    const count = nearStarts[anchor + 1]! - first;
    const bits = random.uint32();
    const pick = scaled(bits, isShared ? count + 1 : count);
    const to = pick === count ? anchor : near[first + pick]!;
    const from = placement[rank]!;
    if (to === from) continue;
    const slotStart = slotStarts[to]!;
    const slots = slotStarts[to + 1]! - slotStart;
    const slot = slotStart + (slots === 1 ? 0 : scaled(random.uint32(), slots));
    const partner = occupants[slot]!;
    const before = partner < 0 ? own[rank]! : own[rank]! + own[partner]!;
    const limit = before + temperature * minusLog[bits & logMask]!;
    const bound = partner < 0 ? limit : limit - least[partner]!;
    let after = 0;
    for (let at = start; at < end && after <= bound; at++) {
      const distance = metric.distance(to, placement[neighbours[at]!]!);
      after += weights[at]! * (power === 1 ? distance : distance ** 4);
    }
    if (after > bound) continue;
    if (partner >= 0) {
      const partnerEnd = offsets[partner + 1]!;
      for (let at = offsets[partner]!; at < partnerEnd && after <= limit; at++) {
        const neighbour = neighbours[at]!;
        // What both say to each other goes as far as before; the rank's own row had it at no distance.
        const distance = metric.distance(from, neighbour === rank ? to : placement[neighbour]!);
        after += (neighbour === rank ? 2 : 1) * weights[at]! * (power === 1 ? distance : distance ** 4);
      }
      if (after > limit) continue;
    }
    grown += after - before;
    exchange(occupancy, rank, to, slot);
    renew(problem, placement, own, rank, partner, from, to);
    if (partner >= 0) renew(problem, placement, own, partner, rank, to, from);
  }
  return grown;
}

/** What each rank's own connections cost. */
function ownCosts(problem: Problem, placement: Placement): Float64Array {
  const { ranks, offsets, neighbours, weights, metric, power } = problem;
  const own = new Float64Array(ranks);
  for (let rank = 0; rank < ranks; rank++) {
    let sum = 0;
    for (let at = offsets[rank]!; at < offsets[rank + 1]!; at++) {
      const distance = metric.distance(placement[rank]!, placement[neighbours[at]!]!);
      sum += weights[at]! * (power === 1 ? distance : distance ** 4);
    }
    own[rank] = sum;
  }
  return own;
}

/** What each rank's connections cost at least, wherever it is. */
function leastOwnCosts(problem: Problem): Float64Array {
  const { ranks, offsets, weights, power } = problem;
  const step = shortestStep(problem) ** power;
  const least = new Float64Array(ranks);
  for (let rank = 0; rank < ranks; rank++) {
    for (let at = offsets[rank]!; at < offsets[rank + 1]!; at++) least[rank]! += step * weights[at]!;
  }
  return least;
}

/** After a rank went from one place to another: its own cost, and those of all that it talks with but `partner`. */
function renew(
  { offsets, neighbours, weights, metric, power }: Problem,
  placement: Placement,
  own: Float64Array,
  rank: number,
  partner: number,
  from: number,
  to: number,
): void {
  let sum = 0;
  const end = offsets[rank + 1]!;
  for (let at = offsets[rank]!; at < end; at++) {
    const neighbour = neighbours[at]!;
    const other = placement[neighbour]!;
    const after = metric.distance(to, other);
    const before = metric.distance(from, other);
    const weight = weights[at]!;
    const now = weight * (power === 1 ? after : after ** 4);
    sum += now;
    if (neighbour === partner) continue;
    own[neighbour]! += now - weight * (power === 1 ? before : before ** 4);
  }
  own[rank] = sum;
}

/** What annealing takes of the time that is left; the rest is for what comes after it. */
const shareOfTime = 0.85;
/** Tries at one temperature. */
const triesPerStep = 1024;
const twoTo32 = 2 ** 32;
/** Of numbers spread evenly from 0 to 1. */
const minusLog = Float64Array.from({ length: 1024 }, (_, i) => -Math.log((i + 0.5) / 1024));
const logMask = 1023;

/** From 32 random bits a number below `limit`; the bias, of one in millions, does not matter in a search. */
function scaled(bits: number, limit: number): number {
  return Math.floor((bits * limit) / twoTo32);
}

/**
 * Which moves pay: from a placement as it is, one after the other, each keeping all capacities, the one that gains most
 * over its cost first. Pure.
 *
 * Gains and costs are in seconds of a link: bytes times hops, by the bandwidth. A move uses as many links as it is far,
 * for as long as it takes. Two guests are exchanged through free room, as three moves, where any place has some; else as
 * a swap, for which both stand still while they are sent.
 */

import { LodgeError } from '../errors.ts';
import type { HostNetwork } from '../machine/network/network.ts';
import { type Deadline, TimeIsUp } from './mapper/deadline.ts';
import { GainHeap } from './mapper/heap.ts';
import { nearOf } from './mapper/near.ts';
import type { Placement } from './mapper/problem.ts';
import { type MoveCost, moveSeconds } from './move-cost.ts';
import { rankName, type Traffic } from './traffic/graph.ts';

export interface Step {
  kind: 'move' | 'swap';
  rank: number;
  from: number;
  to: number;
  /** Of a swap: who goes the other way. */
  with?: number;
  /** Seconds of a link that this step saves over the horizon; less than 0 where only the next ones make it pay. */
  gain: number;
  /** Seconds of a link that it takes. */
  cost: number;
  /** How long it takes. */
  seconds: number;
  /** Steps of one number pay only together. */
  group: number;
}

export interface MoveOptions {
  cost: MoveCost;
  horizonSeconds: number;
  /** Time in which the bytes of the traffic were counted. */
  windowSeconds: number;
  mostMoves: number;
  mostSeconds: number;
  deadline: Deadline;
}

export interface Moves {
  steps: Step[];
  placement: Placement;
  gain: number;
  cost: number;
  seconds: number;
  /** Why there are not more: nothing that pays is left, or a limit is reached. */
  end: 'nothing pays' | 'budget' | 'time limit';
  /** Whether any place had room at the beginning. */
  hasFreeRoom: boolean;
}

interface Candidate {
  to: number;
  partner: number;
  /** Place with room that an exchange goes through; -1 for none. */
  via: number;
  net: number;
}

/** Places with room that are all looked at; of more, those near to whom a rank talks with. */
const fewFree = 64;
const mostFreeKept = 65_536;
/** Places whose numbers are near are mostly near; so far they are looked at for room, where there is much. */
const farthestByNumber = 256;
const mostNeighbours = 16;

/** @throws LodgeError `mapping` for a placement that breaks a capacity */
export function findMoves(
  traffic: Traffic,
  network: HostNetwork,
  current: Placement,
  options: MoveOptions,
): Moves {
  const { ranks, offsets, neighbours, weights, demand } = traffic;
  const { metric, capacity, places } = network;
  const { cost, horizonSeconds, windowSeconds, deadline } = options;
  const placement = current.slice();
  const room = roomKept(traffic, network, placement);
  const eachNear = nearOf(network);
  const perHopByte = horizonSeconds / windowSeconds / cost.bandwidthBytesPerSecond;
  const memoryOf = (rank: number): number => demand?.memoryBytes?.[rank] || cost.memoryBytes;

  const changeOf = (rank: number, to: number, partner: number): number => {
    const from = placement[rank]!;
    let sum = 0;
    for (let at = offsets[rank]!; at < offsets[rank + 1]!; at++) {
      const other = neighbours[at]!;
      if (other === partner) continue;
      sum +=
        weights[at]! * (metric.distance(to, placement[other]!) - metric.distance(from, placement[other]!));
    }
    return sum;
  };
  const gainOf = (rank: number, to: number, partner: number): number => {
    const own = changeOf(rank, to, partner);
    return -(partner < 0 ? own : own + changeOf(partner, placement[rank]!, rank)) * perHopByte;
  };
  const costOfMove = (rank: number, from: number, to: number): number =>
    moveSeconds(cost, memoryOf(rank)) * metric.distance(from, to) + cost.pauseSeconds;
  /** Both are stopped, sent and started: twice the way, and twice the standing still. */
  const swapSeconds = (a: number, b: number): number =>
    (memoryOf(a) + memoryOf(b)) / cost.bandwidthBytesPerSecond;
  const costOfSwap = (a: number, b: number): number =>
    swapSeconds(a, b) * (metric.distance(placement[a]!, placement[b]!) + 2);

  // Of places that somebody is in.
  const occupants = new Map<number, number[]>();
  const occupantsOf = (place: number): number[] => {
    const found = occupants.get(place) ?? [];
    if (found.length === 0) occupants.set(place, found);
    return found;
  };
  for (let rank = 0; rank < ranks; rank++) occupantsOf(placement[rank]!).push(rank);
  // Those of a network with millions of free places are not all kept: near to each place there is one.
  const free = new Set<number>();
  for (let place = 0; place < places && free.size < mostFreeKept; place++) {
    if (room.hasAny(place)) free.add(place);
  }
  const isAllFree = free.size < mostFreeKept;
  const hasFreeRoom = free.size > 0;

  /** A free place that can take a rank, with the shortest way by it from where the rank is to another place. */
  const viaFor = (rank: number, to: number): number => {
    const from = placement[rank]!;
    let best = -1;
    let shortest = Number.POSITIVE_INFINITY;
    const consider = (place: number): void => {
      if (place === from || place === to || !room.fits(rank, place)) return;
      const way = metric.distance(from, place) + metric.distance(place, to);
      if (way < shortest) [shortest, best] = [way, place];
    };
    eachNear(from, consider);
    eachNear(to, consider);
    if (free.size > fewFree) {
      for (let by = 1; by <= farthestByNumber; by++) {
        if (from >= by) consider(from - by);
        if (from + by < places) consider(from + by);
      }
    }
    if (best >= 0 && free.size > fewFree) return best;
    let looked = 0;
    for (const place of free) {
      if (++looked > fewFree) break;
      consider(place);
    }
    return best;
  };

  const result: Moves = {
    steps: [],
    placement,
    gain: 0,
    cost: 0,
    seconds: 0,
    end: 'nothing pays',
    hasFreeRoom,
  };
  /** What would pay, but for the budget, is passed over: something smaller may still fit. */
  const fitsBudget = (steps: number, seconds: number): boolean => {
    const fits =
      result.steps.length + steps <= options.mostMoves && result.seconds + seconds <= options.mostSeconds;
    if (!fits) result.end = 'budget';
    return fits;
  };
  const secondsOfMove = (rank: number): number => moveSeconds(cost, memoryOf(rank)) + cost.pauseSeconds;

  const bestFor = (rank: number): Candidate | undefined => {
    let best: Candidate | undefined;
    const from = placement[rank]!;
    const seen = new Set<number>([from]);
    const consider = (to: number): void => {
      if (seen.has(to) || capacity.guests[to] === 0) return;
      seen.add(to);
      if (room.fits(rank, to)) {
        const net = gainOf(rank, to, -1) - costOfMove(rank, from, to);
        if (net > (best?.net ?? 0) && fitsBudget(1, secondsOfMove(rank)))
          best = { to, partner: -1, via: -1, net };
      }
      for (const partner of occupants.get(to)?.slice(0, 8) ?? []) {
        const gain = gainOf(rank, to, partner);
        if (gain <= (best?.net ?? 0) || !room.fitsSwap(rank, partner)) continue;
        const via = hasFreeRoom ? viaFor(rank, to) : -1;
        const price =
          via >= 0
            ? costOfMove(rank, from, via) + costOfMove(partner, to, from) + costOfMove(rank, via, to)
            : costOfSwap(rank, partner);
        if (gain - price <= (best?.net ?? 0)) continue;
        const fits =
          via >= 0
            ? fitsBudget(3, 2 * secondsOfMove(rank) + secondsOfMove(partner))
            : fitsBudget(1, swapSeconds(rank, partner));
        if (fits) best = { to, partner, via, net: gain - price };
      }
    };
    const end = Math.min(offsets[rank + 1]!, offsets[rank]! + mostNeighbours);
    for (let at = offsets[rank]!; at < end; at++) {
      const anchor = placement[neighbours[at]!]!;
      consider(anchor);
      eachNear(anchor, consider);
    }
    if (isAllFree && free.size <= fewFree) for (const place of free) consider(place);
    return best;
  };

  const nets = new Float64Array(ranks);
  const heap = new GainHeap(nets);
  const candidates: (Candidate | undefined)[] = [];
  const renew = (rank: number): void => {
    deadline.check();
    const candidate = bestFor(rank);
    candidates[rank] = candidate;
    nets[rank] = candidate?.net ?? 0;
    if (candidate === undefined) heap.remove(rank);
    else heap.put(rank);
  };

  const relocate = (rank: number, to: number): void => {
    const from = placement[rank]!;
    room.take(rank, from, -1);
    room.take(rank, to, 1);
    placement[rank] = to;
    const left = occupantsOf(from);
    left.splice(left.indexOf(rank), 1);
    occupantsOf(to).push(rank);
    for (const place of [from, to]) {
      if (room.hasAny(place)) free.add(place);
      else free.delete(place);
    }
  };
  const stepsFor = (rank: number, { to, partner, via }: Candidate): Step[] => {
    const from = placement[rank]!;
    const group = (result.steps.at(-1)?.group ?? 0) + 1;
    const move = (who: number, start: number, end: number): Step => ({
      kind: 'move',
      rank: who,
      from: start,
      to: end,
      gain: 0,
      cost: costOfMove(who, start, end),
      seconds: secondsOfMove(who),
      group,
    });
    if (partner < 0) return [move(rank, from, to)];
    if (via >= 0) return [move(rank, from, via), move(partner, to, from), move(rank, via, to)];
    const swap = {
      rank,
      from,
      to,
      with: partner,
      gain: 0,
      cost: costOfSwap(rank, partner),
      seconds: swapSeconds(rank, partner),
    };
    return [{ kind: 'swap', ...swap, group }];
  };

  try {
    for (let rank = 0; rank < ranks; rank++) renew(rank);
    while (heap.size > 0) {
      const rank = heap.top();
      const known = candidates[rank]!;
      renew(rank);
      const now = candidates[rank];
      // What has changed since then is put back in its place.
      if (now === undefined || now.net < known.net - 1e-12) continue;
      const steps = stepsFor(rank, now);
      for (const step of steps) {
        step.gain = gainOf(step.rank, step.to, step.with ?? -1);
        relocate(step.rank, step.to);
        if (step.with !== undefined) relocate(step.with, step.from);
        result.steps.push(step);
        result.gain += step.gain;
        result.cost += step.cost;
        result.seconds += step.seconds;
      }
      const woken = new Set([rank, ...(now.partner < 0 ? [] : [now.partner])]);
      for (const moved of [...woken]) {
        for (let at = offsets[moved]!; at < Math.min(offsets[moved + 1]!, offsets[moved]! + 256); at++)
          woken.add(neighbours[at]!);
      }
      for (const other of woken) renew(other);
    }
  } catch (thrown) {
    if (!(thrown instanceof TimeIsUp)) throw thrown;
    result.end = 'time limit';
  }
  return result;
}

/** What is left of each place, kept as ranks come and go. */
interface Room {
  /** Whether there is room for one more guest, whatever it takes. */
  hasAny(place: number): boolean;
  fits(rank: number, place: number): boolean;
  /** Whether two ranks can be exchanged. */
  fitsSwap(a: number, b: number): boolean;
  /** @param sign 1 to come, -1 to go */
  take(rank: number, place: number, sign: number): void;
}

function roomKept(traffic: Traffic, network: HostNetwork, placement: Placement): Room {
  const { capacity } = network;
  const guests = capacity.guests.slice();
  const limits = [
    { left: capacity.cpus?.slice(), takes: (rank: number) => traffic.demand?.cpus?.[rank] ?? 1 },
    {
      left: capacity.memoryBytes?.slice(),
      takes: (rank: number) => traffic.demand?.memoryBytes?.[rank] ?? 0,
    },
  ];
  const take = (rank: number, place: number, sign: number): void => {
    guests[place]! -= sign;
    for (const { left, takes } of limits) if (left !== undefined) left[place]! -= sign * takes(rank);
  };
  for (let rank = 0; rank < traffic.ranks; rank++) {
    const place = placement[rank]!;
    take(rank, place, 1);
    if (guests[place]! >= 0 && limits.every(({ left }) => left === undefined || left[place]! >= 0)) continue;
    throw new LodgeError(
      'mapping',
      `the current placement puts more in place ${network.name(place)} than it can hold`,
      {
        where: '--current',
        fix: `with rank ${rankName(traffic, rank)} it is too full; correct the placement or the capacities`,
      },
    );
  }
  const isEnough = (place: number, more: (takes: (rank: number) => number) => number): boolean =>
    limits.every(({ left, takes }) => left === undefined || left[place]! >= more(takes));
  return {
    hasAny: (place) => guests[place]! > 0,
    fits: (rank, place) => guests[place]! > 0 && isEnough(place, (takes) => takes(rank)),
    fitsSwap: (a, b) =>
      isEnough(placement[a]!, (takes) => takes(b) - takes(a)) &&
      isEnough(placement[b]!, (takes) => takes(a) - takes(b)),
    take,
  };
}

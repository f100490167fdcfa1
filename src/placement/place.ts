/** From traffic and a network to a placement with its metrics: what `lodge place` does, less reading and printing. */

import { LodgeError } from '../errors.ts';
import type { Routing } from '../machine/network/links.ts';
import { type HostNetwork, totalGuests } from '../machine/network/network.ts';
import { seededRandom, shuffle } from '../random.ts';
import { unload } from './mapper/congestion.ts';
import { type Deadline, earlier, firstHalfOf, TimeIsUp } from './mapper/deadline.ts';
import { type Effort, type Mapped, mapRanks } from './mapper/mapper.ts';
import { costOf, inNetwork, type Placement, type Problem, problemOf } from './mapper/problem.ts';
import { congestionOf, type Metrics, measure } from './metrics.ts';
import type { Traffic } from './traffic/graph.ts';

export const objectives = ['hop-bytes', 'dilation', 'congestion'] as const;
export type Objective = (typeof objectives)[number];

export interface PlaceOptions {
  objective: Objective;
  seed: number;
  effort: Effort;
  routing: Routing;
  /** Of the search. */
  deadline: Deadline;
  /** By when all is to be done: congestion is not told where there is no time left for it. */
  end?: Deadline;
  /** Workers, each searching in its own way; the best result counts. */
  threads: number;
  onProgress?: (doing: string) => void;
}

export interface Placed {
  placement: Placement;
  way: string;
  isComplete: boolean;
  metrics: Metrics;
  /** Hop-bytes of ranks in their order, and of ranks at random, in the same places. */
  linearHopBytes: number;
  randomHopBytes: number;
}

/** Routes of more connections take long to lay; congestion is then told only where it was asked for. */
export const mostForCongestion = 2e7;

/**
 * @throws LodgeError `no-room`, `topology` where the objective needs routes and there are none
 */
export async function place(traffic: Traffic, network: HostNetwork, options: PlaceOptions): Promise<Placed> {
  const { objective, deadline } = options;
  if (objective === 'congestion' && network.links === undefined) {
    throw new LodgeError('topology', 'a matrix of distances does not say which links traffic takes', {
      fix: '--objective hop-bytes or dilation',
    });
  }
  const room = roomFor(traffic, network);
  const problem = problemOf(traffic, network, room, objective === 'dilation' ? 4 : 1);
  const plain =
    objective === 'dilation' ? { ...problem, weights: traffic.weights, power: 1 as const } : problem;
  const atFirstMs = deadline.leftMs();
  const linearHopBytes = costOf(plain, inOrder(traffic.ranks, problem.room));
  const randomHopBytes = costOf(plain, atRandom(traffic.ranks, problem.room, options.seed));
  // Measuring what was found takes about as long again, and must be over by the end.
  const inTime = earlier(deadline, 2 * (atFirstMs - deadline.leftMs()));
  // Links are unloaded in the second half of the time.
  const search = { ...options, deadline: objective === 'congestion' ? firstHalfOf(inTime) : inTime };
  const mapped = await searched(problem, search);
  const { placement } = mapped;
  if (objective === 'congestion') {
    const better = placement.slice();
    const tries = Math.min(5_000_000, { fast: 20, normal: 150, best: 1500 }[options.effort] * traffic.ranks);
    options.onProgress?.('unloading links');
    try {
      const random = seededRandom(options.seed, 'congestion');
      const { placesOf } = problem;
      const hostOf = (at: number): number => Math.floor((placesOf?.[at] ?? at) / network.inside);
      const unloading = { links: network.links!, hostOf, routing: options.routing, tries };
      unload(traffic, problem, better, unloading, random, inTime);
    } catch (thrown) {
      if (!(thrown instanceof TimeIsUp)) throw thrown;
      mapped.isComplete = false;
    }
    const load = (one: Placement): number =>
      congestionOf(traffic, network, inNetwork(problem, one), options.routing, options.end)!.maximum;
    try {
      if (load(better) < load(placement)) {
        placement.set(better);
        mapped.way += ', links unloaded';
      }
    } catch (thrown) {
      // Without time to see which is better, the one that was searched for longest stays.
      if (!(thrown instanceof TimeIsUp)) throw thrown;
      mapped.isComplete = false;
    }
  }
  const inAll = inNetwork(problem, placement);
  return {
    placement: inAll,
    way: mapped.way,
    isComplete: mapped.isComplete,
    metrics: measured(traffic, network, inAll, options),
    linearHopBytes,
    randomHopBytes,
  };
}

function measured(
  traffic: Traffic,
  network: HostNetwork,
  placement: Placement,
  options: PlaceOptions,
): Metrics {
  const { objective, routing, end } = options;
  if (objective !== 'congestion' && traffic.neighbours.length > mostForCongestion) {
    return measure(traffic, network, placement, undefined);
  }
  try {
    return measure(traffic, network, placement, routing, end);
  } catch (thrown) {
    if (!(thrown instanceof TimeIsUp)) throw thrown;
    return measure(traffic, network, placement, undefined);
  }
}

async function searched(problem: Problem, options: PlaceOptions): Promise<Mapped> {
  if (options.threads === 1) return mapRanks(problem, options);
  const { mapWithThreads } = await import('./mapper/threads.ts');
  return mapWithThreads(problem, options);
}

/**
 * Ranks that each place can take, by its guests, CPUs and memory.
 * @throws LodgeError `no-room`
 */
export function roomFor({ demand, ranks }: Traffic, { capacity, places }: HostNetwork): Int32Array {
  const room = capacity.guests.slice();
  const limits = [
    [capacity.cpus, demand?.cpus ?? new Float64Array(ranks).fill(1), 'CPUs'],
    [capacity.memoryBytes, demand?.memoryBytes, 'bytes of memory'],
  ] as const;
  for (const [each, taken, what] of limits) {
    if (each === undefined || taken === undefined) continue;
    // Where ranks differ, a place has room for so many of the largest: no choice of ranks can break it.
    const largest = taken.reduce((most, one) => Math.max(most, one), 0);
    if (largest === 0) continue;
    for (let place = 0; place < places; place++)
      room[place] = Math.min(room[place]!, Math.floor(each[place]! / largest));
    const total = room.reduce((sum, one) => sum + one, 0);
    if (total < ranks) {
      throw new LodgeError(
        'no-room',
        `there are ${ranks} ranks, and room for ${total} of up to ${largest} ${what}`,
        {
          fix: 'more or larger places; each rank counts as the one that takes most',
        },
      );
    }
  }
  return room;
}

/** Ranks in their order, each place filled before the next. */
export function inOrder(ranks: number, room: Int32Array): Placement {
  const placement = new Int32Array(ranks);
  let rank = 0;
  for (let place = 0; place < room.length && rank < ranks; place++) {
    for (let i = 0; i < room[place]! && rank < ranks; i++) placement[rank++] = place;
  }
  return placement;
}

function atRandom(ranks: number, room: Int32Array, seed: number): Placement {
  return Int32Array.from(shuffle(Array.from(inOrder(ranks, room)), seededRandom(seed, 'random placement')));
}

export interface Overfull {
  place: number;
  ranks: number;
  room: number;
}

/** Places in which a placement puts more than they can hold, by guests, CPUs or memory. */
export function overfullPlaces(
  traffic: Traffic,
  { capacity, places }: HostNetwork,
  placement: Placement,
): Overfull[] {
  const counts = new Int32Array(places);
  const cpus = new Float64Array(places);
  const memoryBytes = new Float64Array(places);
  for (let rank = 0; rank < placement.length; rank++) {
    const place = placement[rank]!;
    counts[place]!++;
    cpus[place]! += traffic.demand?.cpus?.[rank] ?? 1;
    memoryBytes[place]! += traffic.demand?.memoryBytes?.[rank] ?? 0;
  }
  const overfull: Overfull[] = [];
  for (let place = 0; place < places; place++) {
    const isOver =
      counts[place]! > capacity.guests[place]! ||
      (counts[place]! > 0 && cpus[place]! > (capacity.cpus?.[place] ?? Number.POSITIVE_INFINITY)) ||
      memoryBytes[place]! > (capacity.memoryBytes?.[place] ?? Number.POSITIVE_INFINITY);
    if (isOver) overfull.push({ place, ranks: counts[place]!, room: capacity.guests[place]! });
  }
  return overfull;
}

/** @throws LodgeError `no-room` before long work is begun */
export function requireRoom(traffic: Traffic, network: HostNetwork): void {
  const room = totalGuests(network);
  if (room >= traffic.ranks) return;
  throw new LodgeError('no-room', `there are ${traffic.ranks} ranks, and room for ${room}`, {
    fix: 'name a larger network, or more slots in each place: torus:8x8x8/slots:8',
  });
}

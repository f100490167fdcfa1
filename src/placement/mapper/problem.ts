/** What the mapper works on: ranks that talk, places with room, distances. Pure. */

import type { HostNetwork } from '../../machine/network/network.ts';
import type { Traffic } from '../traffic/graph.ts';
import { nearPlaces } from './near.ts';
import { type NetworkPart, partFor } from './part.ts';

/** Places are those of the part of the network that is used, and numbered as {@link NetworkPart} says. */
export interface Problem extends NetworkPart {
  ranks: number;
  offsets: Int32Array;
  neighbours: Int32Array;
  weights: Float64Array;
  /** Places next to each place, as compressed rows: where a swap is worth looking for. */
  nearStarts: Int32Array;
  near: Int32Array;
  /**
   * 1 counts bytes times hops. 4 counts each pair as one and the fourth power of its hops, which the longest ways
   * rule: for dilation.
   */
  power: 1 | 4;
}

/** A place for each rank. */
export type Placement = Int32Array;

/**
 * @param room ranks that each place can take
 * @throws LodgeError `no-room`
 */
export function problemOf(
  traffic: Traffic,
  network: HostNetwork,
  room: Int32Array,
  power: 1 | 4 = 1,
): Problem {
  const { ranks } = traffic;
  const part = partFor(network, room, ranks);
  const { axes, hierarchy } = part;
  return {
    ranks,
    offsets: traffic.offsets,
    neighbours: traffic.neighbours,
    weights: power === 1 ? traffic.weights : new Float64Array(traffic.weights.length).fill(1),
    ...part,
    ...nearPlaces({ places: part.room.length, ...(axes && { axes }), hierarchy: () => hierarchy }, part.room),
    power,
  };
}

/** The places in the network of a placement in the places of a problem. */
export function inNetwork({ placesOf }: Pick<Problem, 'placesOf'>, placement: Placement): Placement {
  return placesOf === undefined ? placement : placement.map((place) => placesOf[place]!);
}

/** The shortest way from one rank to another: 0 where a place has room for two. */
export function shortestStep({ room, near, nearStarts, metric }: Problem): number {
  let step = Number.POSITIVE_INFINITY;
  for (let place = 0; place < room.length; place++) {
    if (room[place]! > 1) return 0;
    for (let at = nearStarts[place]!; at < nearStarts[place + 1]!; at++) {
      step = Math.min(step, metric.distance(place, near[at]!));
    }
  }
  return Number.isFinite(step) ? step : 0;
}

/** Cost of a placement, as {@link Problem.power} has it. */
export function costOf(problem: Problem, placement: Placement): number {
  const { ranks, offsets, neighbours, weights, metric, power } = problem;
  let sum = 0;
  for (let rank = 0; rank < ranks; rank++) {
    const place = placement[rank]!;
    for (let at = offsets[rank]!; at < offsets[rank + 1]!; at++) {
      const other = neighbours[at]!;
      if (other < rank) continue;
      const distance = metric.distance(place, placement[other]!);
      sum += weights[at]! * (power === 1 ? distance : distance ** 4);
    }
  }
  return sum;
}

/** Ranks in their order into the places of the hierarchy, each filled before the next. */
export function linearPlacement(problem: Pick<Problem, 'ranks' | 'room'>, order?: Int32Array): Placement {
  const placement = new Int32Array(problem.ranks);
  let rank = 0;
  for (let at = 0; at < problem.room.length && rank < problem.ranks; at++) {
    const place = order === undefined ? at : order[at]!;
    for (let i = 0; i < problem.room[place]! && rank < problem.ranks; i++) placement[rank++] = place;
  }
  return placement;
}

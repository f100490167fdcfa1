/** What the mapper works on: ranks that talk, places with room, distances. Pure. */

import type { HostNetwork } from '../../machine/network/network.ts';
import type { Traffic } from '../traffic/graph.ts';
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

/** Places that count as next to one on flat axes, from the innermost out. */
const nearOnFlat = [6, 6];

/** Places with room that are next to each place. */
export function nearPlaces(
  { axes, places, hierarchy }: Pick<HostNetwork, 'axes' | 'places' | 'hierarchy'>,
  room: Int32Array,
): Pick<Problem, 'near' | 'nearStarts'> {
  const nearStarts = new Int32Array(places + 1);
  let near = new Int32Array(8 * places);
  let count = 0;
  const add = (place: number): void => {
    if (room[place] === 0) return;
    if (count === near.length) {
      const larger = new Int32Array(2 * count);
      larger.set(near);
      near = larger;
    }
    near[count++] = place;
  };
  // Where all are as near, most are looked at in the innermost group, and fewer the further out.
  const inward = axes?.map((_, d) => axes.slice(d + 1).filter(({ kind }) => kind === 'flat').length);
  const strides = axes?.map((_, d) => axes.slice(d + 1).reduce((product, { size }) => product * size, 1));
  const order = axes === undefined ? hierarchy().order : new Int32Array(0);
  const position = new Int32Array(order.length);
  for (let at = 0; at < order.length; at++) position[order[at]!] = at;
  for (let place = 0; place < places; place++) {
    if (room[place] !== 0) {
      if (axes === undefined) {
        const at = position[place]!;
        for (const by of [1, -1, 2, -2, 3, -3, 5, -5]) {
          const other = order[at + by];
          if (other !== undefined) add(other);
        }
      } else {
        for (let d = 0; d < axes.length; d++) {
          const { size, kind } = axes[d]!;
          const stride = strides![d]!;
          const at = Math.floor(place / stride) % size;
          const steps = Math.min(size - 1, kind === 'flat' ? (nearOnFlat[inward![d]!] ?? 1) : 2);
          for (let i = 0; i < steps; i++) {
            const by = kind === 'flat' || size === 2 ? i + 1 : i === 0 ? 1 : size - 1;
            const to = (at + by) % size;
            if (kind === 'line' && Math.abs(to - at) !== 1) continue;
            add(place + (to - at) * stride);
          }
        }
      }
    }
    nearStarts[place + 1] = count;
  }
  return { nearStarts, near: near.slice(0, count) };
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

/** What the mapper works on: ranks that talk, places with room, distances. Pure. */

import { LodgeError } from '../../errors.ts';
import type { Hierarchy } from '../../machine/network/hierarchy.ts';
import type { Metric } from '../../machine/network/metric.ts';
import type { Axis, HostNetwork } from '../../machine/network/network.ts';
import type { Traffic } from '../traffic/graph.ts';

export interface Problem {
  ranks: number;
  offsets: Int32Array;
  neighbours: Int32Array;
  weights: Float64Array;
  metric: Metric;
  axes?: readonly Axis[];
  hierarchy: Hierarchy;
  /** Ranks that each place can take. 0 outside of the part of the network that is used. */
  room: Int32Array;
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
  const used = compactRoom(network.hierarchy, room, ranks);
  return {
    ranks,
    offsets: traffic.offsets,
    neighbours: traffic.neighbours,
    weights: power === 1 ? traffic.weights : new Float64Array(traffic.weights.length).fill(1),
    metric: network.metric,
    ...(network.axes === undefined ? {} : { axes: network.axes }),
    hierarchy: network.hierarchy,
    room: used,
    ...nearPlaces(network, used),
    power,
  };
}

/**
 * The room in the smallest part of the network that holds all ranks: what is spread out has longer ways.
 * @throws LodgeError `no-room`
 */
function compactRoom(hierarchy: Hierarchy, room: Int32Array, ranks: number): Int32Array {
  const { order, low, high, left, right } = hierarchy;
  const sums = new Float64Array(order.length + 1);
  for (let at = 0; at < order.length; at++) sums[at + 1] = sums[at]! + room[order[at]!]!;
  const roomOf = (part: number): number => sums[high[part]!]! - sums[low[part]!]!;
  if (roomOf(0) < ranks) {
    throw new LodgeError('no-room', `there are ${ranks} ranks, and room for ${roomOf(0)}`, {
      fix: 'name a larger network, or more slots in each place: torus:8x8x8/slots:8',
    });
  }
  let part = 0;
  for (;;) {
    const halves = [left[part]!, right[part]!].filter((half) => half >= 0 && roomOf(half) >= ranks);
    if (halves.length === 0) break;
    // The fuller one leaves the emptier for what comes later.
    part = halves.reduce((best, half) => (roomOf(half) < roomOf(best) ? half : best));
  }
  const used = new Int32Array(room.length);
  for (let at = low[part]!; at < high[part]!; at++) {
    const place = order[at]!;
    used[place] = Math.min(room[place]!, ranks);
  }
  return used;
}

/** Places that count as next to one on flat axes, from the innermost out. */
const nearOnFlat = [6, 6];

/** Places with room that are next to each place. */
export function nearPlaces(network: HostNetwork, room: Int32Array): Pick<Problem, 'near' | 'nearStarts'> {
  const { axes, places, hierarchy } = network;
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
  const position = new Int32Array(axes === undefined ? places : 0);
  if (axes === undefined) for (let at = 0; at < places; at++) position[hierarchy.order[at]!] = at;
  for (let place = 0; place < places; place++) {
    if (room[place] !== 0) {
      if (axes === undefined) {
        const at = position[place]!;
        for (const by of [1, -1, 2, -2, 3, -3, 5, -5]) {
          const other = hierarchy.order[at + by];
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

/** What a placement is worth: hop-bytes, dilation, congestion, balance. Pure. */

import type { Routing } from '../machine/network/links.ts';
import { type HostNetwork, usablePlaces } from '../machine/network/network.ts';
import type { Deadline } from './mapper/deadline.ts';
import type { Placement } from './mapper/problem.ts';
import type { Traffic } from './traffic/graph.ts';

export interface Metrics {
  /** Bytes times weighted hops, over all pairs. */
  hopBytes: number;
  /** Hops that a byte takes on average. */
  hopsPerByte: number;
  /** Hops that a pair is apart, on average and at most; each pair counts alike. */
  averageDilation: number;
  maximumDilation: number;
  balance: Balance;
  /** Undefined where routes are not known. */
  congestion?: Congestion;
}

export interface Balance {
  /** Places with somebody in them. */
  usedPlaces: number;
  most: number;
  /** Ranks in the fullest place, over the average of all places that can hold any. */
  maximumOverAverage: number;
}

export interface Congestion {
  routing: Routing;
  /** Bytes over the link that has most for its width. */
  maximum: number;
  link: string;
  /** Over all links that carry any, and all there are. */
  average: number;
  usedLinks: number;
  links: number;
}

/** @throws TimeIsUp where the links take longer than there is time */
export function measure(
  traffic: Traffic,
  network: HostNetwork,
  placement: Placement,
  routing: Routing | undefined,
  deadline?: Deadline,
): Metrics {
  const { ranks, offsets, neighbours, weights } = traffic;
  const { metric } = network;
  let [hopBytes, bytes, hops, most] = [0, 0, 0, 0];
  for (let rank = 0; rank < ranks; rank++) {
    const place = placement[rank]!;
    for (let at = offsets[rank]!; at < offsets[rank + 1]!; at++) {
      const other = neighbours[at]!;
      if (other < rank) continue;
      const distance = metric.distance(place, placement[other]!);
      hopBytes += weights[at]! * distance;
      bytes += weights[at]!;
      hops += distance;
      if (distance > most) most = distance;
    }
  }
  const pairs = neighbours.length / 2;
  const congestion =
    routing === undefined ? undefined : congestionOf(traffic, network, placement, routing, deadline);
  return {
    hopBytes,
    hopsPerByte: bytes === 0 ? 0 : hopBytes / bytes,
    averageDilation: pairs === 0 ? 0 : hops / pairs,
    maximumDilation: most,
    balance: balanceOf(network, placement),
    ...(congestion === undefined ? {} : { congestion }),
  };
}

/** Pairs by their hops, rounded to whole ones: how many there are at 0, 1, 2, … */
export function dilationHistogram(traffic: Traffic, { metric }: HostNetwork, placement: Placement): number[] {
  const counts: number[] = [];
  const { ranks, offsets, neighbours } = traffic;
  for (let rank = 0; rank < ranks; rank++) {
    for (let at = offsets[rank]!; at < offsets[rank + 1]!; at++) {
      if (neighbours[at]! < rank) continue;
      const hops = Math.round(metric.distance(placement[rank]!, placement[neighbours[at]!]!));
      while (counts.length <= hops) counts.push(0);
      counts[hops]!++;
    }
  }
  return counts;
}

export function balanceOf(network: HostNetwork, placement: Placement): Balance {
  const counts = new Int32Array(network.places);
  let [used, most] = [0, 0];
  for (const place of placement) {
    const count = ++counts[place]!;
    if (count === 1) used++;
    if (count > most) most = count;
  }
  const usable = usablePlaces(network);
  return {
    usedPlaces: used,
    most,
    maximumOverAverage: placement.length === 0 ? 0 : (most * usable) / placement.length,
  };
}

/**
 * Bytes over each link.
 * @param onFirst called with each link that has any, once: of large networks that are few
 * @returns undefined where routes are not known
 * @throws TimeIsUp
 */
export function linkLoads(
  traffic: Traffic,
  { links, inside }: HostNetwork,
  placement: Placement,
  routing: Routing,
  deadline?: Deadline,
  onFirst?: (link: number) => void,
): Float64Array | undefined {
  if (links === undefined) return undefined;
  const { ranks, offsets, neighbours, weights, outgoing } = traffic;
  const loads = new Float64Array(links.count);
  const add = (link: number, amount: number): void => {
    if (loads[link] === 0) onFirst?.(link);
    loads[link]! += amount;
  };
  for (let rank = 0; rank < ranks; rank++) {
    if (rank % 256 === 0) deadline?.check();
    const from = Math.floor(placement[rank]! / inside);
    for (let at = offsets[rank]!; at < offsets[rank + 1]!; at++) {
      const to = Math.floor(placement[neighbours[at]!]! / inside);
      const amount = outgoing === undefined ? weights[at]! / 2 : outgoing[at]!;
      if (from !== to && amount > 0) links.route(from, to, amount, routing, add);
    }
  }
  return loads;
}

export function congestionOf(
  traffic: Traffic,
  network: HostNetwork,
  placement: Placement,
  routing: Routing,
  deadline?: Deadline,
): Congestion | undefined {
  const { links } = network;
  const used: number[] = [];
  const loads = linkLoads(traffic, network, placement, routing, deadline, (link) => used.push(link));
  if (loads === undefined || links === undefined) return undefined;
  let [maximum, fullest, sum] = [0, -1, 0];
  for (const link of used) {
    const load = loads[link]! / links.width(link);
    sum += load;
    // Of equally full ones the first, whatever order traffic came in.
    if (load > maximum || (load === maximum && link < fullest)) [maximum, fullest] = [load, link];
  }
  return {
    routing,
    maximum,
    link: fullest < 0 ? '-' : links.name(fullest),
    average: used.length === 0 ? 0 : sum / used.length,
    usedLinks: used.length,
    links: links.present,
  };
}

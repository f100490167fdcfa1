/**
 * The smallest part of a network that holds all ranks: what is spread out has longer ways. A part of a network of axes
 * is a box, and is numbered by itself: what the mapper does then takes as long as the part is large, however large the
 * network around it is. Pure.
 */

import { LodgeError } from '../../errors.ts';
import { cutAcross, type Hierarchy, hierarchyOfAxes } from '../../machine/network/hierarchy.ts';
import type { Metric } from '../../machine/network/metric.ts';
import type { Axis, HostNetwork } from '../../machine/network/network.ts';

export interface NetworkPart {
  /** Place in the network of each place of the part, ascending; undefined where the part is numbered as the network is. */
  placesOf?: Int32Array;
  /** Of the places of the part. */
  metric: Metric;
  axes?: readonly Axis[];
  hierarchy: Hierarchy;
  /** Ranks that each place is to take at most, 0 where none is to go. */
  room: Int32Array;
}

/**
 * @param room ranks that each place of the network can take
 * @throws LodgeError `no-room`
 */
export function partFor(network: HostNetwork, room: Int32Array, ranks: number): NetworkPart {
  return boxFor(network, room, ranks) ?? subtreeFor(network, room, ranks);
}

function noRoom(ranks: number, room: number): LodgeError {
  return new LodgeError('no-room', `there are ${ranks} ranks, and room for ${room}`, {
    fix: 'name a larger network, or more slots in each place: torus:8x8x8/slots:8',
  });
}

interface Box {
  low: number[];
  size: number[];
}

/** Undefined where the box would be the whole network, or its distances cannot be had of a part. */
function boxFor(network: HostNetwork, room: Int32Array, ranks: number): NetworkPart | undefined {
  const { axes, inside } = network;
  if (axes === undefined) return undefined;
  const sizes = axes.map(({ size }) => size);
  const roomOf = roomIn(sizes, room);
  let box: Box = { low: sizes.map(() => 0), size: sizes };
  if (roomOf(box) < ranks) throw noRoom(ranks, roomOf(box));
  // Distances are kept of whole hosts.
  let ofHosts = box;
  for (;;) {
    const halves = halvesOf(axes, box).filter((half) => roomOf(half) >= ranks);
    if (halves.length === 0) break;
    // The fuller one leaves the emptier for what comes later.
    box = halves.reduce((best, half) => (roomOf(half) < roomOf(best) ? half : best));
    if (isOfWholeHosts(axes, box, inside)) ofHosts = box;
  }
  const places = countOf(ofHosts);
  if (places === network.places) return undefined;
  const placesOf = new Int32Array(places);
  let next = 0;
  eachRow(sizes, ofHosts, (first, count) => {
    for (let i = 0; i < count; i++) placesOf[next++] = first + i;
  });
  const hosts = Int32Array.from({ length: places / inside }, (_, host) => placesOf[host * inside]! / inside);
  const metric = network.metric.restrictedTo(hosts);
  if (metric === undefined) return undefined;
  const used = new Int32Array(places);
  const low = box.low.map((at, d) => at - ofHosts.low[d]!);
  eachRow(ofHosts.size, { low, size: box.size }, (first, count) => {
    for (let place = first; place < first + count; place++)
      used[place] = Math.min(room[placesOf[place]!]!, ranks);
  });
  const axesOfPart = axes.map((axis, d): Axis => {
    const size = ofHosts.size[d]!;
    return { ...axis, size, kind: axis.kind === 'ring' && size < axis.size ? 'line' : axis.kind };
  });
  return { placesOf, metric, axes: axesOfPart, hierarchy: hierarchyOfAxes(axesOfPart, places), room: used };
}

function countOf({ size }: Box): number {
  return size.reduce((product, one) => product * one, 1);
}

/** Both halves of a box, as a hierarchy has them; none of one place. */
function halvesOf(axes: readonly Axis[], { low, size }: Box): Box[] {
  if (size.every((one) => one === 1)) return [];
  const { across, half } = cutAcross(axes, size);
  return [
    { low, size: size.with(across, half) },
    { low: low.with(across, low[across]! + half), size: size.with(across, size[across]! - half) },
  ];
}

/** Whether the innermost axes, which are those of the places of one host, are all in it. */
function isOfWholeHosts(axes: readonly Axis[], { size }: Box, inside: number): boolean {
  for (let d = axes.length - 1, places = 1; places < inside; d--) {
    if (size[d] !== axes[d]!.size) return false;
    places *= size[d]!;
  }
  return true;
}

/** Calls with the first place, and the number of places, of each row along the last axis. @param sizes of all around the box */
function eachRow(
  sizes: readonly number[],
  { low, size }: Box,
  visit: (first: number, count: number) => void,
): void {
  const last = sizes.length - 1;
  const go = (d: number, before: number): void => {
    const at = before * sizes[d]! + low[d]!;
    if (d === last) visit(at, size[d]!);
    else for (let i = 0; i < size[d]!; i++) go(d + 1, at + i);
  };
  go(0, 0);
}

/** How much room a box has; where all places have as much, without looking at each. */
function roomIn(sizes: readonly number[], room: Int32Array): (box: Box) => number {
  const each = room[0] ?? 0;
  let alike = 0;
  while (alike < room.length && room[alike] === each) alike++;
  if (alike === room.length) return (box) => each * countOf(box);
  return (box) => {
    let sum = 0;
    eachRow(sizes, box, (first, count) => {
      for (let place = first; place < first + count; place++) sum += room[place]!;
    });
    return sum;
  };
}

/** As a part of the hierarchy, with places numbered as in the network. */
function subtreeFor(network: HostNetwork, room: Int32Array, ranks: number): NetworkPart {
  const { axes, metric } = network;
  const hierarchy = network.hierarchy();
  const { order, low, high, left, right } = hierarchy;
  const sums = new Float64Array(order.length + 1);
  for (let at = 0; at < order.length; at++) sums[at + 1] = sums[at]! + room[order[at]!]!;
  const roomOf = (part: number): number => sums[high[part]!]! - sums[low[part]!]!;
  if (roomOf(0) < ranks) throw noRoom(ranks, roomOf(0));
  let part = 0;
  for (;;) {
    const halves = [left[part]!, right[part]!].filter((half) => half >= 0 && roomOf(half) >= ranks);
    if (halves.length === 0) break;
    part = halves.reduce((best, half) => (roomOf(half) < roomOf(best) ? half : best));
  }
  const used = new Int32Array(room.length);
  for (let at = low[part]!; at < high[part]!; at++) {
    const place = order[at]!;
    used[place] = Math.min(room[place]!, ranks);
  }
  return { metric, ...(axes === undefined ? {} : { axes }), hierarchy, room: used };
}

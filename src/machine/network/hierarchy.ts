/**
 * Places cut in two, again and again: an order in which each part is an interval, and the tree of its cuts. Parts are
 * compact: boxes of a torus, subtrees of a tree.
 */

import type { Metric } from './metric.ts';
import type { Axis } from './network.ts';

export interface Hierarchy {
  /** Places in an order in which each part is an interval. */
  order: Int32Array;
  /** Of each part: its interval, and its two halves, or -1 where it is one place. Part 0 is all. */
  low: Int32Array;
  high: Int32Array;
  left: Int32Array;
  right: Int32Array;
  /** A place in the middle of the part, to measure distances between parts by. */
  centre: Int32Array;
}

/** Grows as it is filled; there are twice as many parts as places, less one. */
class Parts {
  readonly low: Int32Array;
  readonly high: Int32Array;
  readonly left: Int32Array;
  readonly right: Int32Array;
  readonly centre: Int32Array;
  count = 0;

  constructor(places: number) {
    const most = Math.max(1, 2 * places - 1);
    [this.low, this.high] = [new Int32Array(most), new Int32Array(most)];
    this.left = new Int32Array(most).fill(-1);
    this.right = new Int32Array(most).fill(-1);
    this.centre = new Int32Array(most);
  }

  add(low: number, high: number, centre: number): number {
    const part = this.count++;
    this.low[part] = low;
    this.high[part] = high;
    this.centre[part] = centre;
    return part;
  }
}

/** Cuts boxes across the axis along which they are longest. */
export function hierarchyOfAxes(axes: readonly Axis[], places: number): Hierarchy {
  const order = new Int32Array(places);
  const parts = new Parts(places);
  const strides = axes.map((_, d) => axes.slice(d + 1).reduce((product, { size }) => product * size, 1));
  const size = axes.map((axis) => axis.size);
  let placed = 0;
  /** @param first lowest place of the box, and `middle` the way from there to the one in its middle */
  const cut = (count: number, first: number, middle: number): number => {
    const part = parts.add(placed, placed + count, first + middle);
    if (count === 1) {
      order[placed++] = first;
      return part;
    }
    const { across, half } = cutAcross(axes, size);
    const stride = strides[across]!;
    const whole = size[across]!;
    const [others, layer] = [middle - (whole >> 1) * stride, count / whole];
    size[across] = half;
    parts.left[part] = cut(layer * half, first, others + (half >> 1) * stride);
    size[across] = whole - half;
    parts.right[part] = cut(
      layer * (whole - half),
      first + half * stride,
      others + ((whole - half) >> 1) * stride,
    );
    size[across] = whole;
    return part;
  };
  cut(
    places,
    0,
    axes.reduce((sum, axis, d) => sum + (axis.size >> 1) * strides[d]!, 0),
  );
  return { ...parts, order };
}

/**
 * Where a box is cut in two: across the axis along which it is longest.
 * @param size of the box along each axis, with more than one place
 * @returns the axis, and how much of it is the first half
 */
export function cutAcross(axes: readonly Axis[], size: readonly number[]): { across: number; half: number } {
  const across = widestAxis(axes, size);
  return { across, half: (size[across]! + 1) >> 1 };
}

function widestAxis(axes: readonly Axis[], size: readonly number[]): number {
  let best = -1;
  let widest = -1;
  for (let d = 0; d < axes.length; d++) {
    if (size[d] === 1) continue;
    const { kind, cost, size: whole } = axes[d]!;
    // From one end to the other; the ends of a whole ring are neighbours.
    const length = kind === 'ring' && size[d] === whole ? whole / 2 : size[d]! - 1;
    const width = kind === 'flat' ? cost : cost * length * 0.999;
    if (width > widest) [widest, best] = [width, d];
  }
  return best;
}

/**
 * Cuts by a tree of groups.
 * @param groups of each leaf, its group at each depth, from the top down: leaves of one group at all depths so far lie
 * together. Negative where the leaf has no more groups.
 */
export function hierarchyOfTree(paths: readonly Int32Array[], inside: number): Hierarchy {
  const hosts = paths[0]?.length ?? 0;
  const places = hosts * inside;
  const parts = new Parts(places);
  const order = new Int32Array(places);
  const hostOrder = Array.from({ length: hosts }, (_, host) => host);
  hostOrder.sort((a, b) => {
    for (const children of paths) {
      const by = children[a]! - children[b]!;
      if (by !== 0) return by;
    }
    return a - b;
  });
  let placed = 0;
  for (const host of hostOrder) {
    for (let place = 0; place < inside; place++) order[placed++] = host * inside + place;
  }
  const groupEnds = (low: number, high: number, depth: number): number[] => {
    const children = paths[depth]!;
    const ends: number[] = [];
    for (let at = low + inside; at < high; at += inside) {
      const [a, b] = [(order[at - inside]! / inside) | 0, (order[at]! / inside) | 0];
      if (children[a] !== children[b]) ends.push(at);
    }
    return [...ends, high];
  };
  const centreOf = (low: number, high: number): number => order[low + ((high - low) >> 1)]!;
  /** Halves a list of groups, then goes into each. */
  const cutGroups = (low: number, ends: readonly number[], depth: number): number => {
    const high = ends.at(-1)!;
    if (ends.length === 1) return cut(low, high, depth + 1);
    const part = parts.add(low, high, centreOf(low, high));
    // The end of a group that is nearest to the middle.
    let best = 0;
    const middle = (low + high) / 2;
    for (let i = 1; i < ends.length - 1; i++) {
      if (Math.abs(ends[i]! - middle) < Math.abs(ends[best]! - middle)) best = i;
    }
    parts.left[part] = cutGroups(low, ends.slice(0, best + 1), depth);
    parts.right[part] = cutGroups(ends[best]!, ends.slice(best + 1), depth);
    return part;
  };
  const cut = (low: number, high: number, depth: number): number => {
    if (high - low > inside && depth < paths.length)
      return cutGroups(low, groupEnds(low, high, depth), depth);
    const part = parts.add(low, high, centreOf(low, high));
    if (high - low === 1) return part;
    // Hosts before the places in them.
    const hostsHere = (high - low) / inside;
    const half = hostsHere > 1 ? ((hostsHere + 1) >> 1) * inside : (high - low + 1) >> 1;
    parts.left[part] = cut(low, low + half, depth);
    parts.right[part] = cut(low + half, high, depth);
    return part;
  };
  cut(0, places, 0);
  return { ...parts, order };
}

/** Cuts by distances alone: two places far apart, and to each the nearer half of all. */
export function hierarchyOfDistances(metric: Metric): Hierarchy {
  const { places } = metric;
  const order = Int32Array.from({ length: places }, (_, place) => place);
  const parts = new Parts(places);
  const farthest = (from: number, low: number, high: number): number => {
    let best = order[low]!;
    let most = -1;
    for (let at = low; at < high; at++) {
      const distance = metric.distance(from, order[at]!);
      if (distance > most) [most, best] = [distance, order[at]!];
    }
    return best;
  };
  const cut = (low: number, high: number): number => {
    const part = parts.add(low, high, 0);
    if (high - low > 1) {
      const first = farthest(order[low]!, low, high);
      const second = farthest(first, low, high);
      const lean = (place: number): number => metric.distance(place, first) - metric.distance(place, second);
      order.subarray(low, high).sort((a, b) => lean(a) - lean(b) || a - b);
    }
    // What lies between both ends is nearest to the middle.
    parts.centre[part] = order[low + ((high - low) >> 1)]!;
    if (high - low > 1) {
      const middle = low + ((high - low + 1) >> 1);
      parts.left[part] = cut(low, middle);
      parts.right[part] = cut(middle, high);
    }
    return part;
  };
  cut(0, places);
  return { ...parts, order };
}

/**
 * Grids that do not fit a network by structure: ranks halved along the longest way across, as the places are, so that
 * what is together is compact. Source: M. Berger and S. Bokhari, "A partitioning strategy for nonuniform problems on
 * multiprocessors", IEEE Trans. Comput. 36, 1987.
 */

import type { Deadline } from './deadline.ts';
import type { Grid } from './grid.ts';
import type { Placement, Problem } from './problem.ts';

export function coordinatePlacement(
  problem: Problem,
  { sizes, coordinates }: Grid,
  deadline: Deadline,
): Placement {
  const { ranks, hierarchy, room } = problem;
  const { order, low, high, left, right, centre } = hierarchy;
  const dimensions = sizes.length;
  const sums = new Float64Array(order.length + 1);
  for (let at = 0; at < order.length; at++) sums[at + 1] = sums[at]! + room[order[at]!]!;
  const roomOf = (part: number): number => sums[high[part]!]! - sums[low[part]!]!;
  const placement = new Int32Array(ranks);
  const open: [part: number, members: Int32Array][] = [
    [0, Int32Array.from({ length: ranks }, (_, rank) => rank)],
  ];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [part, members] = next;
    deadline.check();
    if (left[part]! < 0) {
      for (const rank of members) placement[rank] = centre[part]!;
      continue;
    }
    const [one, other] = [left[part]!, right[part]!];
    const first = Math.min(members.length, roomOf(one));
    if (first > 0 && first < members.length) sortAlongLongest(members, coordinates, dimensions);
    if (first > 0) open.push([one, members.subarray(0, first)]);
    if (first < members.length) open.push([other, members.subarray(first)]);
  }
  return placement;
}

/** In place, by the coordinate in which they are spread most, then by the others: a cut within a row is clean. */
function sortAlongLongest(members: Int32Array, coordinates: Int32Array, dimensions: number): void {
  const extents: { d: number; extent: number }[] = [];
  for (let d = 0; d < dimensions; d++) {
    let [least, most] = [Number.POSITIVE_INFINITY, -1];
    for (const rank of members) {
      const at = coordinates[rank * dimensions + d]!;
      if (at < least) least = at;
      if (at > most) most = at;
    }
    extents.push({ d, extent: most - least });
  }
  extents.sort((a, b) => b.extent - a.extent || a.d - b.d);
  members.sort((a, b) => {
    for (const { d } of extents) {
      const by = coordinates[a * dimensions + d]! - coordinates[b * dimensions + d]!;
      if (by !== 0) return by;
    }
    return a - b;
  });
}

/** Looks for a grid in what is heaviest of the traffic: all of it, its heaviest edges, and their skeleton. */

import { type Bundle, layBundle, recogniseBundle } from './bundle.ts';
import { recogniseCliques } from './cliques.ts';
import type { Deadline } from './deadline.ts';
import { boxOf } from './embed.ts';
import { type Grid, type Rows, recogniseGrid, skeleton } from './grid.ts';
import type { Placement, Problem } from './problem.ts';

/** Weights that differ by less count as one. */
const sameWeight = 1e-9;
/** Graphs with more different weights have no classes of edges. */
const mostClasses = 8;

/** @returns undefined when there is none */
export function findGrid(problem: Problem, deadline: Deadline): Grid | undefined {
  const { ranks, offsets, neighbours } = problem;
  const whole: Rows = { count: ranks, offsets, neighbours };
  const grid = recogniseGrid(whole, deadline);
  if (grid !== undefined) return grid;
  const classes = weightClasses(problem);
  for (let taken = 1; taken < classes.length; taken++) {
    const heavy = edgesFrom(problem, classes[taken - 1]!);
    const found = recogniseGrid(heavy, deadline) ?? ofSkeleton(heavy, deadline);
    if (found !== undefined) return found;
  }
  return ofSkeleton(whole, deadline) ?? recogniseCliques(whole, deadline);
}

function ofSkeleton(graph: Rows, deadline: Deadline): Grid | undefined {
  // A Cartesian product has hardly any triangles, a strong one has many.
  if (!hasTriangles(graph)) return undefined;
  const bones = skeleton(graph, deadline);
  return bones === undefined ? undefined : recogniseGrid(bones, deadline);
}

function hasTriangles({ count, offsets, neighbours }: Rows): boolean {
  const middle = count >> 1;
  const around = neighbours.subarray(offsets[middle]!, offsets[middle + 1]!);
  for (const neighbour of around) {
    for (let at = offsets[neighbour]!; at < offsets[neighbour + 1]!; at++) {
      if (around.includes(neighbours[at]!)) return true;
    }
  }
  return false;
}

/** The different weights, heaviest first; none where there are many. */
function weightClasses({ weights }: Problem): number[] {
  const classes: number[] = [];
  for (const weight of weights) {
    if (classes.some((known) => Math.abs(known - weight) <= sameWeight * known)) continue;
    classes.push(weight);
    if (classes.length > mostClasses) return [];
  }
  return classes.sort((a, b) => b - a);
}

/**
 * Many small graphs in all of the traffic or in its heaviest part, laid out, and the share of all traffic that is
 * between them; undefined where there are none.
 */
export function placeBundle(
  problem: Problem,
  deadline: Deadline,
): { placement: Placement; between: number } | undefined {
  const { ranks, offsets, neighbours } = problem;
  const box = boxOf(problem);
  if (box === undefined || box.targets.reduce((product, { size }) => product * size, 1) !== ranks)
    return undefined;
  const whole: Rows = { count: ranks, offsets, neighbours };
  const classes = weightClasses(problem);
  const bundle =
    (classes.length > 1 ? recogniseBundle(edgesFrom(problem, classes[0]!), whole, deadline) : undefined) ??
    recogniseBundle(whole, whole, deadline);
  if (bundle === undefined) return undefined;
  const placement = layBundle(bundle, box.targets, box.origin);
  return placement === undefined ? undefined : { placement, between: betweenParts(problem, bundle) };
}

function betweenParts({ ranks, offsets, neighbours, weights }: Problem, bundle: Bundle): number {
  const partOf = new Int32Array(ranks);
  bundle.forEach((part, number) => {
    for (const rank of part) partOf[rank] = number;
  });
  let [all, between] = [0, 0];
  for (let rank = 0; rank < ranks; rank++) {
    for (let at = offsets[rank]!; at < offsets[rank + 1]!; at++) {
      all += weights[at]!;
      if (partOf[neighbours[at]!] !== partOf[rank]) between += weights[at]!;
    }
  }
  return between / all;
}

function edgesFrom({ ranks, offsets, neighbours, weights }: Problem, least: number): Rows {
  const starts = new Int32Array(ranks + 1);
  const ends = new Int32Array(neighbours.length);
  let filled = 0;
  for (let rank = 0; rank < ranks; rank++) {
    for (let at = offsets[rank]!; at < offsets[rank + 1]!; at++) {
      if (weights[at]! >= least * (1 - sameWeight)) ends[filled++] = neighbours[at]!;
    }
    starts[rank + 1] = filled;
  }
  return { count: ranks, offsets: starts, neighbours: ends.slice(0, filled) };
}

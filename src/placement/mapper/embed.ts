/**
 * Grids laid onto networks by structure. Each dimension of the grid is cut into digits, each digit given to an axis of
 * the network; digits count forwards and backwards in turn (reflected mixed-radix Gray code), so that a step along the
 * grid changes one digit by one. What a step costs follows from the stride of the digit on its axis.
 */

import type { Deadline } from './deadline.ts';
import type { Grid } from './grid.ts';
import { costOf, type Placement, type Problem } from './problem.ts';

/** An axis of the part of the network that is used, or the slots of a place. */
export interface Target {
  size: number;
  kind: 'line' | 'ring' | 'flat';
  cost: number;
  /** Of places; 0 for slots. */
  stride: number;
  /** First coordinate that is used. */
  low: number;
}

/** A digit: so many values of dimension `dimension` of the grid on axis `axis`. */
interface Digit {
  dimension: number;
  axis: number;
  size: number;
}

/** A whole layout: digits of each dimension, the lowest first, and of each axis, the one with stride 1 first. */
interface Layout {
  ofDimension: Digit[][];
  ofAxis: Digit[][];
  estimate: number;
}

/** Layouts that are estimated, and of these, how many are tried. */
const mostLayouts = 600;
const mostTried = 4;

/**
 * The best placement by structure that is found.
 * @returns undefined where sizes do not fit
 */
export function embed(problem: Problem, grid: Grid, deadline: Deadline): Placement | undefined {
  const box = boxOf(problem);
  if (box === undefined) return undefined;
  const { targets } = box;
  const room = targets.reduce((product, { size }) => product * size, 1);
  if (room !== problem.ranks) return undefined;
  const shares = sharesOf(problem, grid);
  const layouts = findLayouts(grid, targets, shares, deadline).slice(0, mostTried);
  let best: Placement | undefined;
  let bestCost = Number.POSITIVE_INFINITY;
  for (const layout of layouts) {
    deadline.check();
    for (const isFolded of foldings(grid, targets)) {
      const placement = placementOf(problem, grid, box, layout, isFolded);
      const cost = costOf(problem, placement);
      if (cost < bestCost) [best, bestCost] = [placement, cost];
    }
  }
  return best;
}

/** Closed dimensions on open axes are laid there and back; whether that pays is tried. */
function foldings({ wraps }: Grid, targets: readonly Target[]): boolean[] {
  return wraps.includes(true) && targets.some(({ kind, size }) => kind === 'line' && size > 2)
    ? [false, true]
    : [false];
}

/** The part of the network that is used. */
export interface Box {
  targets: Target[];
  /** Its first place. */
  origin: number;
}

/** Axes of the box of places that have room, all as much; undefined where these are no box. */
export function boxOf({ axes, room }: Problem): Box | undefined {
  if (axes === undefined) return undefined;
  let each = 0;
  let used = 0;
  const low = axes.map(() => Number.POSITIVE_INFINITY);
  const high = axes.map(() => -1);
  const strides = axes.map((_, d) => axes.slice(d + 1).reduce((product, { size }) => product * size, 1));
  for (let place = 0; place < room.length; place++) {
    if (room[place] === 0) continue;
    if (each !== 0 && room[place] !== each) return undefined;
    each = room[place]!;
    used++;
    for (let d = 0; d < axes.length; d++) {
      const at = Math.floor(place / strides[d]!) % axes[d]!.size;
      if (at < low[d]!) low[d] = at;
      if (at > high[d]!) high[d] = at;
    }
  }
  const targets = axes.map((axis, d): Target => {
    const size = high[d]! - low[d]! + 1;
    const kind = axis.kind === 'ring' && size < axis.size ? 'line' : axis.kind;
    return { size, kind, cost: axis.cost, stride: strides[d]!, low: low[d]! };
  });
  if (targets.reduce((product, { size }) => product * size, 1) !== used) return undefined;
  targets.push({ size: each, kind: 'flat', cost: 0, stride: 0, low: 0 });
  const origin = targets.reduce((sum, { low: first, stride }) => sum + first * stride, 0);
  return { targets: targets.filter(({ size }) => size > 1), origin };
}

/** Weight of all edges along each dimension. */
function sharesOf({ ranks, offsets, neighbours, weights }: Problem, { sizes, coordinates }: Grid): number[] {
  const dimensions = sizes.length;
  const sums = sizes.map(() => 0);
  for (let rank = 0; rank < ranks; rank++) {
    for (let at = offsets[rank]!; at < offsets[rank + 1]!; at++) {
      const other = neighbours[at]!;
      let along = -1;
      for (let d = 0; d < dimensions; d++) {
        if (coordinates[rank * dimensions + d] === coordinates[other * dimensions + d]) continue;
        along = along < 0 ? d : -2;
        if (along < 0) break;
      }
      if (along >= 0) sums[along]! += weights[at]!;
    }
  }
  return sums;
}

/** Ways to give digits to axes, the cheapest first by what is estimated. */
function findLayouts(
  grid: Grid,
  targets: readonly Target[],
  shares: readonly number[],
  deadline: Deadline,
): Layout[] {
  const layouts: Layout[] = [];
  const left = targets.map(({ size }) => size);
  const digits: Digit[] = [];
  // Cheap axes first: they take the digits that change most.
  const order = targets
    .map((_, axis) => axis)
    .sort((a, b) => targets[a]!.cost - targets[b]!.cost || targets[b]!.size - targets[a]!.size);
  let tried = 0;
  const assign = (dimension: number, index: number, rest: number): void => {
    if (tried >= mostLayouts) return;
    if (dimension === grid.sizes.length) {
      tried++;
      if (tried % 64 === 0) deadline.check();
      layouts.push(arrange(digits, targets, shares, grid));
      return;
    }
    if (rest === 1) {
      assign(dimension + 1, 0, grid.sizes[dimension + 1] ?? 1);
      return;
    }
    if (index === order.length) return;
    const axis = order[index]!;
    const most = greatestCommon(rest, left[axis]!);
    for (const size of divisors(most).reverse()) {
      if (size === 1) {
        assign(dimension, index + 1, rest);
        continue;
      }
      left[axis]! /= size;
      digits.push({ dimension, axis, size });
      assign(dimension, index + 1, rest / size);
      digits.pop();
      left[axis]! *= size;
    }
  };
  assign(0, 0, grid.sizes[0]!);
  return layouts.sort((a, b) => a.estimate - b.estimate);
}

function greatestCommon(a: number, b: number): number {
  return b === 0 ? a : greatestCommon(b, a % b);
}

function divisors(number: number): number[] {
  const found: number[] = [];
  for (let by = 1; by <= number; by++) if (number % by === 0) found.push(by);
  return found;
}

/** Orders digits on each dimension and axis, and estimates what the layout costs. */
function arrange(
  chosen: readonly Digit[],
  targets: readonly Target[],
  shares: readonly number[],
  { sizes, isComplete }: Grid,
): Layout {
  const digits = chosen.map((digit) => ({ ...digit }));
  const ofDimension = sizes.map((_, d) => digits.filter(({ dimension }) => dimension === d));
  const ofAxis = targets.map((_, a) => digits.filter(({ axis }) => axis === a));
  // Large digits first: what lies above changes less often.
  for (const list of ofAxis) {
    list.sort(
      (a, b) =>
        shares[b.dimension]! * b.size - shares[a.dimension]! * a.size ||
        b.size - a.size ||
        a.dimension - b.dimension,
    );
  }
  const strideOf = (digit: Digit): number => {
    let stride = 1;
    for (const other of ofAxis[digit.axis]!) {
      if (other === digit) break;
      stride *= other.size;
    }
    return stride;
  };
  const costOfStep = (digit: Digit): number => {
    const { kind, cost, size } = targets[digit.axis]!;
    if (kind === 'flat') return cost;
    const stride = strideOf(digit);
    return cost * (kind === 'ring' ? Math.min(stride, size - stride) : stride);
  };
  let estimate = 0;
  ofDimension.forEach((list, d) => {
    list.sort((a, b) => costOfStep(a) - costOfStep(b) || b.size - a.size);
    if (isComplete) {
      for (const digit of list)
        estimate += shares[d]! * meanCost(targets[digit.axis]!, digit.size, strideOf(digit));
      return;
    }
    let below = 1;
    for (const digit of list) {
      const often = (digit.size - 1) / (below * digit.size);
      estimate += shares[d]! * often * costOfStep(digit);
      below *= digit.size;
    }
  });
  return { ofDimension, ofAxis, estimate };
}

/** What it costs on average from one value of a digit to another. */
function meanCost({ kind, cost, size }: Target, values: number, stride: number): number {
  let sum = 0;
  for (let by = 1; by < values; by++) {
    const straight = by * stride;
    const hops = kind === 'flat' ? 1 : kind === 'ring' ? Math.min(straight, size - straight) : straight;
    sum += 2 * (values - by) * hops;
  }
  return (cost * sum) / values ** 2;
}

/** Lays out the whole grid. */
function placementOf(
  { ranks }: Problem,
  grid: Grid,
  { targets, origin }: Box,
  { ofDimension, ofAxis }: Layout,
  isFolded: boolean,
): Placement {
  const dimensions = grid.sizes.length;
  /** Of each dimension and coordinate, what it adds to the coordinate of each axis. */
  const adds = grid.sizes.map((size, d) => {
    const table = new Int32Array(size * targets.length);
    for (let at = 0; at < size; at++) {
      let rest = isFolded && grid.wraps[d] ? folded(at, size) : at;
      // Digits above decide whether one counts backwards.
      const values = ofDimension[d]!.map((digit) => {
        const value = rest % digit.size;
        rest = Math.floor(rest / digit.size);
        return rest % 2 === 1 ? digit.size - 1 - value : value;
      });
      ofDimension[d]!.forEach((digit, i) => {
        let stride = 1;
        for (const other of ofAxis[digit.axis]!) {
          if (other === digit) break;
          stride *= other.size;
        }
        table[at * targets.length + digit.axis]! += values[i]! * stride;
      });
    }
    return table;
  });
  // On a ring of bits, Gray code is shorter than counting. Source: S. Bezrukov and others, "Embedding of hypercubes into
  // grids", MFCS 1998.
  const order = targets.map(({ size, kind }, axis) => {
    const isBits =
      kind === 'ring' && ofAxis[axis]!.length > 1 && ofAxis[axis]!.every((digit) => digit.size === 2);
    return Int32Array.from({ length: size }, (_, at) => (isBits ? grayRank(at) : at));
  });
  const placement = new Int32Array(ranks);
  for (let rank = 0; rank < ranks; rank++) {
    let place = origin;
    for (let axis = 0; axis < targets.length; axis++) {
      let at = 0;
      for (let d = 0; d < dimensions; d++) {
        at += adds[d]![grid.coordinates[rank * dimensions + d]! * targets.length + axis]!;
      }
      place += order[axis]![at]! * targets[axis]!.stride;
    }
    placement[rank] = place;
  }
  return placement;
}

/** There on even places, back on odd ones: neighbours on a ring are at most two apart. */
function folded(at: number, size: number): number {
  return 2 * at < size ? 2 * at : 2 * (size - 1 - at) + 1;
}

/** The place of a code word in the order of Gray code. */
function grayRank(code: number): number {
  let rank = code;
  for (let shift = 1; shift < 32; shift *= 2) rank ^= rank >> shift;
  return rank;
}

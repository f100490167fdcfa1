/**
 * Who should sit where: several ways, the best of them, made better as long as there is time. Deterministic for a seed,
 * unless the time limit cut it short, which the result says.
 */

import { seededRandom, shuffle } from '../../random.ts';
import { coordinatePlacement } from './coordinates.ts';
import { type Deadline, TimeIsUp } from './deadline.ts';
import { embed } from './embed.ts';
import { findGrid, placeBundle } from './heavy-edges.ts';
import { costOf, linearPlacement, type Placement, type Problem, shortestStep } from './problem.ts';
import { halveAgain, recursivePlacement } from './recursive.ts';
import { anneal, improve } from './search.ts';

/** How much work is done; each about ten times as long as the one before. */
export const efforts = ['fast', 'normal', 'best'] as const;
export type Effort = (typeof efforts)[number];

export interface MapperOptions {
  seed: number;
  effort: Effort;
  deadline: Deadline;
  /** Called with what is being done and the lowest cost so far. */
  onProgress?: (doing: string, cost: number) => void;
  /** Which of several workers this is, and of how many: each goes a way of its own. */
  worker?: { index: number; count: number };
}

export interface Mapped {
  placement: Placement;
  cost: number;
  /** How the placement was found: `grid`, `halving`, `linear`, and what it was refined by. */
  way: string;
  /** Whether the work came to its end; else the time limit cut it short. */
  isComplete: boolean;
}

/** The best placement that is found. */
export function mapRanks(problem: Problem, options: MapperOptions): Mapped {
  const best: Mapped = { placement: linearPlacement(problem), cost: 0, way: 'linear', isComplete: true };
  best.cost = costOf(problem, best.placement);
  const keep = (placement: Placement, way: string): number => {
    const cost = costOf(problem, placement);
    options.onProgress?.(way, Math.min(cost, best.cost));
    if (cost < best.cost) Object.assign(best, { placement: placement.slice(), cost, way });
    return cost;
  };
  try {
    if (problem.neighbours.length > 0 && problem.ranks > 1) search(problem, options, best, keep);
  } catch (thrown) {
    if (!(thrown instanceof TimeIsUp)) throw thrown;
    best.isComplete = false;
  }
  return best;
}

/** No placement costs less: every pair that cannot share a place is one shortest step apart. */
function isOptimal(problem: Problem, cost: number): boolean {
  return cost <= leastCost(problem) * (1 + 1e-9);
}

function leastCost(problem: Problem): number {
  const { weights, power } = problem;
  return (weights.reduce((sum, weight) => sum + weight, 0) / 2) * shortestStep(problem) ** power;
}

/** Swaps tried for each rank, by how many ranks there are, where each talks with a few. */
function triesPerRank(ranks: number, isShared: boolean): number {
  if (ranks <= fewRanks) return 1000;
  // More would take longer than other mappers do, for little.
  if (ranks > manyRanks) return 80;
  // With several in a place there is more to find, and a try takes less.
  return isShared ? 1100 : 600;
}

/** Rows longer than this make each look at a rank longer. */
const fewNeighbours = 10;
/** Problems of so few ranks are searched from several beginnings. */
const smallProblem = 128;
/** Those of so few are halved several times: it takes less than starting lodge. */
const fewRanks = 1024;
/** Those of more are searched less for each. */
const manyRanks = 8192;
const mostRounds = 20;
/** Where rows are long, fewer are tried, but not fewer than so many for each rank. */
const leastTriesPerRank = 8;

interface Plan {
  halvings: number;
  /** Halvings that are tried beside where heat does no good. */
  otherHalvings: number;
  /** How often small parts are halved anew, at most. */
  timesAgain: number;
  annealings: number;
  /** Swaps tried in each annealing. */
  tries: number;
  /** And in each that shows how much heat does good. */
  trial: number;
  /** Looks at each rank for a swap that gains, at most. */
  rounds: number;
  /** Whether it goes on where little more is likely to be found. */
  isThorough: boolean;
}

function planFor(problem: Problem, effort: Effort): Plan {
  const { ranks, neighbours, room } = problem;
  const isShared = room.some((slots) => slots > 1);
  const factor = { fast: 0.1, normal: 1, best: 12 }[effort];
  const degree = neighbours.length / ranks;
  const full = Math.min(2e9, factor * triesPerRank(ranks, isShared) * ranks);
  const annealings = ranks <= smallProblem ? 4 : effort === 'best' ? 2 : 1;
  const share = Math.min(1, fewNeighbours / degree);
  const tries = Math.ceil(Math.max(full * share, factor * leastTriesPerRank * ranks) / annealings);
  const trial = Math.min(mostOfTrial * tries, (shareOfTrial * full) / annealings);
  const isThorough = effort === 'best' || ranks <= smallProblem;
  const halvings = isThorough ? 4 : 1;
  const otherHalvings = isThorough ? 2 : ranks <= fewRanks || ranks > manyRanks ? 1 : 0;
  // Of many ranks with long rows, swaps would take longer than all else.
  const rounds = mostRounds * (ranks > manyRanks && !isThorough ? share ** 2 : 1);
  const timesAgain = isThorough ? 8 : ranks <= manyRanks ? 4 : 0;
  return {
    halvings,
    timesAgain,
    annealings,
    tries,
    trial,
    otherHalvings,
    rounds,
    isThorough,
  };
}

function search(
  problem: Problem,
  options: MapperOptions,
  best: Mapped,
  keep: (placement: Placement, way: string) => number,
): void {
  const { deadline, seed, worker = { index: 0, count: 1 } } = options;
  const plan = planFor(problem, options.effort);
  const random = seededRandom(seed, `mapper ${worker.index}`);
  const grid = findGrid(problem, deadline);
  if (grid !== undefined) {
    const laid = embed(problem, grid, deadline);
    if (laid !== undefined) keep(laid, 'grid');
    if (isOptimal(problem, best.cost)) return;
    if (laid === undefined && grid.isComplete !== true)
      keep(coordinatePlacement(problem, grid, deadline), 'grid cut in halves');
  }
  const bundle = grid === undefined ? placeBundle(problem, deadline) : undefined;
  if (bundle !== undefined) keep(bundle.placement, 'bundle');
  const between = best.way === 'bundle' ? bundle!.between : 1;
  // What the structure gives is seldom found by halving, but costs as much time.
  const isLaid =
    (best.way === 'grid' && grid?.isComplete !== true) || (between <= littleBetween && !plan.isThorough);
  // Rows and columns that talk among themselves are many connections: to halve them takes as long as all else. Of few
  // ranks, what is between small graphs is worth the time.
  const isDear =
    (best.way === 'grid' && problem.ranks > smallProblem) ||
    (between <= someBetween && problem.ranks > manyRanks);
  const halvings = (isLaid || isDear) && options.effort !== 'best' ? 0 : plan.halvings;
  const halved = (): Placement => {
    const { placement, isCut } = recursivePlacement(problem, random, deadline);
    let cost = keep(placement, 'halving');
    if (isCut) throw new TimeIsUp();
    for (let again = 0; again < plan.timesAgain; again++) {
      try {
        const fallen = halveAgain(problem, placement, random, deadline);
        if (fallen < worthAgain * cost) break;
      } finally {
        cost = keep(placement, 'halving');
      }
    }
    return placement;
  };
  for (let i = 0; i < halvings; i++) halved();
  const way = best.way;
  /** What is better at every moment is kept also when it is cut short. */
  const swaps = (placement: Placement, name: string): void => {
    try {
      improve(problem, placement, random, deadline, plan.rounds);
    } finally {
      keep(placement, name);
    }
  };
  if (isLaid) {
    swaps(best.placement.slice(), `${way}, swaps`);
    // Heat would undo a structure, and without it nothing more is found.
    if (!plan.isThorough) return;
  }
  const annealed = (start: Placement, tries: number, growth: number): number => {
    const placement = start.slice();
    const isWhole = anneal(problem, placement, { tries, growth }, random, deadline);
    if (!isWhole) best.isComplete = false;
    return keep(placement, `${way}, annealing`);
  };
  for (let again = 0; again < plan.annealings; again++) {
    // Small problems are begun anew from chance now and then: from some placements no small change leads on.
    const isAnew = problem.ranks <= smallProblem && again % 2 === 1;
    const start = isAnew ? Int32Array.from(shuffle(Array.from(best.placement), random)) : best.placement;
    const [{ tries, trial }, before] = [plan, best.cost];
    const gentle = annealed(start, trial, 0);
    // Heat finds more, but some structures melt in it and do not come back.
    const hot = annealed(best.placement, trial, warm);
    if (best.cost > settledFrom * before && !plan.isThorough) break;
    if (hot <= meltedFrom * gentle) annealed(best.placement, tries - 2 * trial, warm);
    // What halving gave is hardly bettered then, but other halvings may be better.
    else for (let i = 0; i < plan.otherHalvings; i++) annealed(halved(), trial, 0);
  }
  swaps(best.placement.slice(), best.way);
}

/** Traffic between small graphs, as a share of all, up to which it hardly counts, and up to which it counts little. */
const [littleBetween, someBetween] = [0.05, 0.2];
/** Of each annealing, what is taken to see how much heat does good, twice. */
const shareOfTrial = 0.1;
/** Where rows are long, and tries few, up to so much: from fewer for each rank nothing would be learnt. */
const mostOfTrial = 0.3;
/** What halving small parts anew must save of the cost, to be done once more. */
const worthAgain = 0.002;
/** Growth of the cost up to which it is warmed where nothing melts. */
const warm = 0.05;
/** What both trials leave of the cost, where more of them is not worth the time. */
const settledFrom = 0.999;
/** What a trial may come out worse by, before it counts as melted. */
const meltedFrom = 1.1;

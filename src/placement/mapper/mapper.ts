/**
 * Who should sit where: several ways, the best of them, made better as long as there is time. Deterministic for a seed,
 * unless the time limit cut it short, which the result says.
 */

import { seededRandom, shuffle } from '../../random.ts';
import { coordinatePlacement } from './coordinates.ts';
import { type Deadline, TimeIsUp } from './deadline.ts';
import { embed } from './embed.ts';
import { findGrid } from './heavy-edges.ts';
import { refineParts } from './parts.ts';
import { costOf, linearPlacement, type Placement, type Problem } from './problem.ts';
import { recursivePlacement } from './recursive.ts';
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

interface Plan {
  halvings: number;
  /** Swaps tried for each rank after each halving. */
  triesInParts: number;
  /** Swaps tried in the end. */
  tries: number;
  annealings: number;
  rounds: number;
}

/** The best placement that is found. */
export function mapRanks(problem: Problem, options: MapperOptions): Mapped {
  const best: Mapped = { placement: linearPlacement(problem), cost: 0, way: 'linear', isComplete: true };
  best.cost = costOf(problem, best.placement);
  const keep = (placement: Placement, way: string): void => {
    const cost = costOf(problem, placement);
    options.onProgress?.(way, Math.min(cost, best.cost));
    if (cost < best.cost) Object.assign(best, { placement: placement.slice(), cost, way });
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

function leastCost({ room, weights, near, nearStarts, metric, power }: Problem): number {
  let step = Number.POSITIVE_INFINITY;
  for (let place = 0; place < room.length; place++) {
    if (room[place]! > 1) return 0;
    for (let at = nearStarts[place]!; at < nearStarts[place + 1]!; at++) {
      step = Math.min(step, metric.distance(place, near[at]!));
    }
  }
  let sum = 0;
  for (const weight of weights) sum += weight;
  return step === Number.POSITIVE_INFINITY ? 0 : (sum / 2) * step ** power;
}

/** About what one try of a swap takes, on the machines of these years; sizes the work, and is in no result. */
const secondsPerTry = (degree: number): number => (0.15 + 0.035 * degree) * 1e-6;

/** Problems of so few ranks are searched from several beginnings. */
const smallProblem = 128;

function planFor({ ranks, neighbours }: Problem, effort: Effort): Plan {
  const factor = { fast: 0.1, normal: 1, best: 12 }[effort];
  // Larger problems get less time for each rank.
  const seconds =
    factor * 0.06 * Math.min(1, ranks / 512) ** 0.8 * (ranks <= 1024 ? 1 : ranks <= 8192 ? 10 : 2);
  const degree = neighbours.length / ranks;
  const halvings = Math.max(1, Math.min(4, Math.round((factor * 6000) / (ranks + neighbours.length))));
  const tries = Math.min(2e9, Math.round(seconds / secondsPerTry(degree)));
  const annealings = ranks <= smallProblem ? 8 : effort === 'best' ? 4 : 1;
  const inParts = ranks <= 1024 ? 1 : ranks <= 8192 ? 4 : 0;
  const triesInParts = Math.round(factor * inParts * Math.min(1, 16 / Math.max(1, degree)));
  return { halvings, triesInParts, tries: Math.ceil(tries / annealings), annealings, rounds: 20 };
}

function search(
  problem: Problem,
  options: MapperOptions,
  best: Mapped,
  keep: (placement: Placement, way: string) => void,
): void {
  const { deadline, seed, worker = { index: 0, count: 1 } } = options;
  const plan = planFor(problem, options.effort);
  const random = seededRandom(seed, `mapper ${worker.index}`);
  const grid = findGrid(problem, deadline);
  if (grid !== undefined) {
    const laid = embed(problem, grid, deadline);
    if (laid !== undefined) keep(laid, 'grid');
    if (isOptimal(problem, best.cost)) return;
    if (laid === undefined) keep(coordinatePlacement(problem, grid, deadline), 'grid cut in halves');
  }
  // What the structure gives is seldom found by halving, but costs as much time.
  const isLaid = best.way === 'grid';
  const isLong = problem.neighbours.length > 40 * problem.ranks;
  const halvings = isLaid && options.effort !== 'best' ? 0 : plan.halvings;
  const fromGrid = best.placement.slice();
  for (let i = 0; i < halvings; i++) {
    const afterLevel = (parts: Int32Array, level: number): void => {
      // Long rows take long to look at: only every third time.
      if (isLong && level % 3 !== 2) return;
      refineParts(problem, parts, plan.triesInParts, random, deadline);
    };
    const { placement, isCut } = recursivePlacement(problem, random, deadline, { afterLevel });
    keep(placement, 'halving');
    if (isCut) throw new TimeIsUp();
  }
  /** What is better at every moment is kept also when it is cut short. */
  const refined = (placement: Placement, way: string, work: () => void): void => {
    try {
      work();
    } finally {
      keep(placement, way);
    }
  };
  const starts = [best.placement.slice()];
  if (grid !== undefined && best.way === 'halving') starts.push(fromGrid);
  for (const start of starts) {
    const way = best.way.split(',')[0]!;
    refined(start, `${way}, swaps`, () => improve(problem, start, random, deadline, plan.rounds));
  }
  // Heat would undo a structure, and without it nothing more is found.
  const isStill = isLaid && best.way.startsWith('grid');
  if (isStill && options.effort !== 'best' && problem.ranks > smallProblem) return;
  for (let again = 0; again < plan.annealings; again++) {
    // Small problems are begun anew from chance now and then: from some placements no small change leads on.
    const annealed =
      again % 2 === 0 ? best.placement.slice() : Int32Array.from(shuffle(Array.from(best.placement), random));
    const way = `${best.way.replace(', annealing', '')}, annealing`;
    refined(annealed, way, () => {
      const hot = again % 2 === 1 ? 4 : isStill ? 0.2 : problem.ranks <= 1024 ? 2 : 0.8;
      const isWhole = anneal(problem, annealed, { tries: plan.tries, hot, cold: 0.05 }, random, deadline);
      if (!isWhole) best.isComplete = false;
      improve(problem, annealed, random, deadline, plan.rounds);
    });
  }
}

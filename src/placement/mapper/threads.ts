/** Several threads that search, each in its own way; the best result counts, of equal ones that of the first thread. */

import { Worker } from 'node:worker_threads';
import { LodgeError } from '../../errors.ts';
import { builtWorker } from '../../installation.ts';
import type { Deadline } from './deadline.ts';
import type { Effort, Mapped } from './mapper.ts';
import { costOf, linearPlacement, type Problem } from './problem.ts';
import type { MapperMessage, MapperTask } from './worker.ts';

export interface ThreadOptions {
  threads: number;
  seed: number;
  effort: Effort;
  deadline: Deadline;
  onProgress?: (doing: string) => void;
}

/** What a thread may take over its limit to hand over what it has. */
const graceMs = 20;
/** Longer limits than a timer can have are none. */
const longestMs = 2 ** 31 - 1 - graceMs;

/**
 * As `mapRanks`, with threads. Deterministic for a seed and a number of threads, where the time limit cuts nothing short.
 * @param file what each thread runs
 * @throws LodgeError `missing-program` when lodge was not built; `internal` when every thread died
 */
export async function mapWithThreads(
  problem: Problem,
  options: ThreadOptions,
  file = builtWorker('mapper'),
): Promise<Mapped> {
  const { threads, seed, effort, deadline, onProgress } = options;
  const { metric, ...rest } = problem;
  const common = { problem: shared(rest), metric: shared(metric.parts), seed, effort, count: threads };
  const limitMs = Math.min(longestMs, deadline.leftMs());
  const deaths: unknown[] = [];
  const work = Array.from({ length: threads }, (_, index): Promise<Mapped | undefined> => {
    const workerData: MapperTask = { ...common, limitMs: deadline.leftMs(), index };
    const worker = new Worker(file, { workerData, name: `lodge mapper ${index}` });
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(undefined), limitMs + graceMs);
      worker.on('message', (message: MapperMessage) => {
        if ('doing' in message) onProgress?.(`${message.doing} (thread ${index + 1})`);
        else resolve(message.mapped);
      });
      worker.on('error', (cause) => {
        deaths.push(cause);
        resolve(undefined);
      });
      worker.on('exit', () => {
        clearTimeout(timer);
        resolve(undefined);
      });
    }).finally(() => worker.terminate()) as Promise<Mapped | undefined>;
  });
  const results = await Promise.all(work);
  if (deaths.length === threads) {
    throw new LodgeError('internal', `every thread of the mapper ended: ${String(deaths[0])}`, {
      cause: deaths[0],
    });
  }
  const found = results.filter((result) => result !== undefined);
  const placement = linearPlacement(problem);
  const linear: Mapped = { placement, cost: costOf(problem, placement), way: 'linear', isComplete: false };
  const best = found.reduce((least, one) => (one.cost < least.cost ? one : least), found[0] ?? linear);
  return { ...best, isComplete: found.length === threads && found.every(({ isComplete }) => isComplete) };
}

/** The same value with its arrays of numbers in memory that threads share. */
function shared<T extends object>(value: T): T {
  const copy: Record<string, unknown> = {};
  for (const [key, one] of Object.entries(value)) copy[key] = sharedValue(one);
  return copy as T;
}

function sharedValue(value: unknown): unknown {
  if (value instanceof Int32Array) return filled(new Int32Array(memory(value)), value);
  if (value instanceof Float64Array) return filled(new Float64Array(memory(value)), value);
  if (value instanceof Int16Array) return filled(new Int16Array(memory(value)), value);
  if (Array.isArray(value) || typeof value !== 'object' || value === null) return value;
  return shared(value);
}

const memory = ({ byteLength }: ArrayBufferView): SharedArrayBuffer => new SharedArrayBuffer(byteLength);

function filled<A extends Int32Array | Float64Array | Int16Array>(made: A, from: A): A {
  made.set(from);
  return made;
}

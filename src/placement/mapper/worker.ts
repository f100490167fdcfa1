/** A thread of the mapper: `dist/mapper.cjs`. It searches in its own way over memory that all threads share. */

import { parentPort, workerData } from 'node:worker_threads';
import { Metric, type MetricParts } from '../../machine/network/metric.ts';
import { deadlineIn } from './deadline.ts';
import { type Effort, type Mapped, mapRanks } from './mapper.ts';
import type { Problem } from './problem.ts';

export interface MapperTask {
  problem: Omit<Problem, 'metric'>;
  metric: MetricParts;
  seed: number;
  effort: Effort;
  /** Milliseconds that the search may take. */
  limitMs: number;
  index: number;
  count: number;
}

export type MapperMessage = { doing: string } | { mapped: Mapped };

if (parentPort !== null) {
  const port = parentPort;
  const { problem, metric, seed, effort, limitMs, index, count } = workerData as MapperTask;
  const mapped = mapRanks(
    { ...problem, metric: new Metric(metric) },
    {
      seed,
      effort,
      deadline: deadlineIn(limitMs, () => performance.now()),
      worker: { index, count },
      onProgress: (doing) => port.postMessage({ doing } satisfies MapperMessage),
    },
  );
  port.postMessage({ mapped } satisfies MapperMessage, [mapped.placement.buffer as ArrayBuffer]);
}

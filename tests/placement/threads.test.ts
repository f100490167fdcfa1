import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseNetworkText } from '../../src/machine/network/text.ts';
import { deadlineIn, noDeadline } from '../../src/placement/mapper/deadline.ts';
import { mapRanks } from '../../src/placement/mapper/mapper.ts';
import { costOf, problemOf } from '../../src/placement/mapper/problem.ts';
import { mapWithThreads } from '../../src/placement/mapper/threads.ts';
import { generateTraffic } from '../../src/placement/traffic/generate.ts';

let directory: string;
let worker: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'lodge-mapper-'));
  worker = join(directory, 'mapper.cjs');
  const entryPoints = [new URL('../../src/placement/mapper/worker.ts', import.meta.url).pathname];
  await build({ entryPoints, outfile: worker, bundle: true, platform: 'node', format: 'cjs' });
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const network = parseNetworkText('dragonfly:a=4,p=2,h=2/slots:2');
const problem = problemOf(generateTraffic('power-law:140', 3), network, network.capacity.guests);
const options = { seed: 5, effort: 'fast', deadline: noDeadline } as const;

test('threads search each in its own way, and the best counts', async () => {
  const [one, again] = await Promise.all([
    mapWithThreads(problem, { ...options, threads: 3 }, worker),
    mapWithThreads(problem, { ...options, threads: 3 }, worker),
  ]);
  expect(one).toEqual(again);
  expect(one.isComplete).toBe(true);
  expect(costOf(problem, one.placement)).toBeCloseTo(one.cost, 6);
  const alone = [0, 1, 2].map((index) => mapRanks(problem, { ...options, worker: { index, count: 3 } }).cost);
  expect(new Set(alone).size).toBeGreaterThan(1);
  expect(one.cost).toBe(Math.min(...alone));
});

test('threads that have no time hand over a placement, and it is said to be cut short', async () => {
  const { isComplete, placement } = await mapWithThreads(
    problem,
    { ...options, deadline: deadlineIn(0, () => 0), threads: 2 },
    worker,
  );
  expect(isComplete).toBe(false);
  expect(placement).toHaveLength(140);
});

test('one thread that dies is done without, all are an error', async () => {
  const file = join(directory, 'broken.cjs');
  const only = (condition: string): string =>
    `if (${condition}) throw new Error('broken'); else require('./mapper.cjs');`;
  writeFileSync(file, only("require('node:worker_threads').workerData.index === 0"));
  const { isComplete, cost } = await mapWithThreads(problem, { ...options, threads: 2 }, file);
  expect(isComplete).toBe(false);
  expect(cost).toBe(mapRanks(problem, { ...options, worker: { index: 1, count: 2 } }).cost);
  writeFileSync(file, only('true'));
  await expect(mapWithThreads(problem, { ...options, threads: 2 }, file)).rejects.toMatchObject({
    code: 'internal',
  });
});

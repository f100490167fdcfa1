import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import {
  discardJob,
  jobDir,
  listJobs,
  makeJobDir,
  noteSaving,
  readJobKey,
} from '../../../src/cluster/engine/rendezvous.ts';

let data: string;
let previous: string | undefined;

beforeEach(() => {
  data = mkdtempSync(join(tmpdir(), 'lodge-jobs-'));
  previous = process.env.LODGE_DATA_DIR;
  process.env.LODGE_DATA_DIR = data;
});

afterEach(() => {
  if (previous === undefined) delete process.env.LODGE_DATA_DIR;
  else process.env.LODGE_DATA_DIR = previous;
  rmSync(data, { recursive: true });
});

it('knows the jobs of one Slurm from those of another, also when a job is made again', () => {
  makeJobDir('7', 'east');
  makeJobDir('8', 'west');
  makeJobDir('9', undefined);
  const key = readJobKey(makeJobDir('7', 'west'));
  expect(readJobKey(jobDir('7'))).toEqual(key);
  expect(listJobs('east')).toEqual(['7']);
  expect(listJobs('west')).toEqual(['8']);
  expect(listJobs(undefined)).toEqual(['9']);
});

it('of a job that has gone meanwhile is an error, and no key', () => {
  expect(() => readJobKey(jobDir('7'))).toThrow(
    expect.objectContaining({ code: 'host-io', where: jobDir('7') }),
  );
});

it('finds what was never made whole, once nobody can be at it any more', () => {
  mkdirSync(jobDir('7'), { recursive: true, mode: 0o700 });
  expect(listJobs('east')).toEqual([]);
  const anHourAgo = Date.now() / 1000 - 3600;
  utimesSync(jobDir('7'), anHourAgo, anHourAgo);
  expect(listJobs('east')).toEqual(['7']);
  expect(listJobs('west')).toEqual(['7']);
});

it('makes directories of their user alone', () => {
  expect(statSync(makeJobDir('7', 'east')).mode & 0o777).toBe(0o700);
});

it('takes unfinished checkpoints with it, and nothing else that is named there', () => {
  const dir = makeJobDir('7', 'east');
  const [part, done, other] = ['.a.0123.part', '.b.4567.part', 'mine'].map((name) => join(data, name));
  for (const place of [part!, done!, other!]) mkdirSync(place);
  noteSaving(dir, 'one', part);
  noteSaving(dir, 'two', done);
  noteSaving(dir, 'two', undefined);
  noteSaving(dir, 'three', other);
  discardJob(dir);
  expect([dir, part!, done!, other!].map((place) => existsSync(place))).toEqual([false, false, true, true]);
});

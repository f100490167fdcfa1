/**
 * Where the agents of a job find one another, and commands find them: a directory for each job beside the user's images,
 * on the file system that all hosts share. Only its user can read it.
 *
 *     jobs/<job>/   key                what agents and commands prove to be of this job with (see trunk/secure.ts)
 *                   slurm.json         of which Slurm the job is: another one's jobs may have the same number
 *                   hosts/<name>.json  an agent that runs: AgentEntry
 *                   clusters/<name>.json  a cluster: its whole plan, and which guest is on which host
 *                   saving/<name>.json    a checkpoint of it that is being made
 *                   agents.log, srun.log  what the agents and srun said
 *
 * Files are replaced whole, by rename; there are no locks and nothing is mapped, so any shared file system will do.
 */

import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { hostIoError, LodgeError } from '../../errors.ts';
import { makeTrunkKey, readTrunkKey } from '../../fabric/trunk/secure.ts';
import { openStore } from '../../image/store.ts';
import type { ClusterPlan } from '../plan.ts';

/** What an agent tells of itself. */
export interface AgentEntry {
  version: 1;
  /** The name that Slurm has for its host. */
  host: string;
  /** Where it is reached by whoever has the job's key. */
  address: string;
  port: number;
  /** The directory of its guests on its host. */
  guestsDir: string;
  /** Of the agent, on its host. */
  pid: number;
  startedAtMs: number;
}

/** A cluster over the hosts of a job. */
export interface JobCluster {
  version: 1;
  /** The whole of it: names and keys come from it. */
  plan: ClusterPlan;
  /** Names of hosts, by the names of guests in the cluster. */
  hostOfGuest: Record<string, string>;
  /** From which its keys come; 32 bytes in hexadecimal. */
  secret: string;
  /** Where the fabrics of its hosts listen for one another, and the agent (a process id) that does. */
  trunks: Record<string, { port: number; pid: number }>;
  /** How long what is done at the end of the job may take, where anything is. */
  onEndWithinMs?: number;
}

const hostPattern = /^[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?$/;

function jobsDir(): string {
  return join(openStore().path, 'jobs');
}

/** The directory that a job has, or would have. */
export function jobDir(job: string): string {
  return join(jobsDir(), job);
}

/** Where the agents of a job keep what is of their host alone, before `.HOST`. Short: sockets are below. */
export function jobRuntimePrefix(job: string): string {
  return `/tmp/lodge-${process.getuid!()}-j${job}`;
}

export function keyFileOf(dir: string): string {
  return join(dir, 'key');
}

/**
 * Makes a job's directory and key where they are not there yet.
 * @param cluster the name of the Slurm, where that is known
 * @throws LodgeError `host-io`, `disk-full`
 */
export function makeJobDir(job: string, cluster: string | undefined): string {
  const dir = jobDir(job);
  try {
    mkdirSync(jobsDir(), { recursive: true });
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    for (const part of ['hosts', 'clusters']) mkdirSync(join(dir, part), { recursive: true, mode: 0o700 });
  } catch (error) {
    throw hostIoError("making the job's directory", dir, error);
  }
  requireOwn(dir);
  const record = join(dir, 'slurm.json');
  if (readJson(record) === undefined) {
    replaceFile(record, { version: 1, ...(cluster === undefined ? {} : { cluster }) } satisfies JobRecord);
  }
  makeTrunkKey(keyFileOf(dir));
  return dir;
}

function requireOwn(dir: string): void {
  const { uid, mode } = ownerOf(dir);
  if (uid === process.getuid!() && (mode & 0o077) === 0) return;
  throw new LodgeError('host-io', "the job's directory is not yours alone", {
    where: dir,
    fix: `chmod 700 ${dir}, or set LODGE_DATA_DIR to a directory of your own`,
  });
}

function ownerOf(dir: string): { uid: number; mode: number } {
  try {
    return statSync(dir);
  } catch (error) {
    throw hostIoError("reading the job's directory", dir, error);
  }
}

/** @throws LodgeError `host-io` */
export function readJobKey(dir: string): Buffer {
  requireOwn(dir);
  return readTrunkKey(keyFileOf(dir));
}

/** The agents that have told of themselves, by host; some may be dead. */
export function readAgents(dir: string): AgentEntry[] {
  return readAll<AgentEntry>(join(dir, 'hosts')).filter(({ host }) => hostPattern.test(host));
}

export function writeAgent(dir: string, entry: AgentEntry): void {
  replaceFile(join(dir, 'hosts', `${entry.host}.json`), entry);
}

/** Takes an agent's word back, unless another one has taken its place; the last one takes the whole directory. */
export function withdrawAgent(dir: string, { host, pid }: Pick<AgentEntry, 'host' | 'pid'>): void {
  const path = join(dir, 'hosts', `${host}.json`);
  const there = readJson<AgentEntry>(path);
  if (there !== undefined && there.pid !== pid) return;
  rmSync(path, { force: true });
  try {
    rmdirSync(join(dir, 'hosts'));
  } catch {
    // Others are still there.
    return;
  }
  discardJob(dir);
}

/**
 * Remembers which checkpoint is being made, for whoever cleans up after a job that was killed meanwhile.
 * @param part the unfinished checkpoint; undefined when it is whole or was given up
 */
export function noteSaving(dir: string, cluster: string, part: string | undefined): void {
  const path = join(dir, 'saving', `${cluster}.json`);
  if (part === undefined) {
    rmSync(path, { force: true });
    return;
  }
  mkdirSync(join(dir, 'saving'), { recursive: true, mode: 0o700 });
  replaceFile(path, { version: 1, part });
}

/** Removes all that a job has left. */
export function discardJob(dir: string): void {
  for (const { part } of readAll<{ version: 1; part: string }>(join(dir, 'saving'))) {
    if (/\/\.[^/]+\.part$/.test(part)) rmSync(part, { recursive: true, force: true, maxRetries: 5 });
  }
  rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
}

interface JobRecord {
  version: 1;
  cluster?: string;
}

/** The name of the Slurm that a job is of, where that is known. */
export function clusterOfJob(dir: string): string | undefined {
  return readJson<JobRecord>(join(dir, 'slurm.json'))?.cluster;
}

/** A directory whose making was cut short does not say whose it is; nobody is at it any more after so long. */
export const makingLimitMs = 60_000;

/** Jobs that have a directory here: those of this Slurm, and those that were never made whole. */
export function listJobs(cluster: string | undefined): string[] {
  return namesIn(jobsDir()).filter((name) => {
    if (!/^\d{1,15}$/.test(name)) return false;
    const record = readJson<JobRecord>(join(jobDir(name), 'slurm.json'));
    if (record !== undefined) return record.cluster === cluster;
    const madeMs = statSync(jobDir(name), { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
    return Date.now() - madeMs > makingLimitMs;
  });
}

export function writeJobCluster(dir: string, cluster: JobCluster): void {
  replaceFile(join(dir, 'clusters', `${cluster.plan.name}.json`), cluster);
}

export function removeJobCluster(dir: string, name: string): void {
  rmSync(join(dir, 'clusters', `${name}.json`), { force: true });
}

export function readJobClusters(dir: string): JobCluster[] {
  return readAll<JobCluster>(join(dir, 'clusters'));
}

function readAll<T extends { version: 1 }>(dir: string): T[] {
  return namesIn(dir)
    .filter((name) => name.endsWith('.json'))
    .map((name) => readJson<T>(join(dir, name)))
    .filter((value) => value !== undefined);
}

function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir).sort();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw hostIoError("reading the job's directory", dir, error);
  }
}

function readJson<T extends { version: 1 }>(path: string): T | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // ESTALE: on a shared file system, of a file that was replaced while it was opened.
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ESTALE') return undefined;
    throw hostIoError("reading the job's directory", path, error);
  }
  try {
    const value = JSON.parse(text) as T | null;
    return value?.version === 1 ? value : undefined;
  } catch {
    return undefined;
  }
}

function replaceFile(path: string, value: unknown): void {
  const part = `${path}.${process.pid}.part`;
  try {
    writeFileSync(part, JSON.stringify(value), { mode: 0o600 });
    renameSync(part, path);
  } catch (error) {
    rmSync(part, { force: true });
    throw hostIoError("writing in the job's directory", path, error);
  }
}

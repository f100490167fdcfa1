/**
 * A checkpoint on disk: a directory that appears whole.
 *
 *     checkpoint.json   the cluster's plan, and the plan and state file of each guest (CheckpointRecord)
 *     fabric.json       the fabric as it was, with what had been changed while it ran
 *     fabric.state      frames on their way and what was learnt, in the fabric's own form
 *     GUEST.state       the state of each guest, as QEMU saves it
 *     secret            from which the keys of the cluster's guests come
 *
 * Of a cluster over several hosts, each has its part of the fabric: `hosts/HOST/fabric.json` and `fabric.state`.
 *
 * Whoever can read it can read the guests' memory: it is made with mode 0700.
 */

import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { hostIoError, LodgeError } from '../../errors.ts';
import type { FabricPlan } from '../../fabric/plan.ts';
import type { GuestPlan } from '../../guest/plan.ts';
import type { ClusterPlan } from '../plan.ts';

export interface CheckpointRecord {
  /** 2 over several hosts. */
  version: 1 | 2;
  /** ISO 8601. */
  takenAt: string;
  cluster: ClusterPlan;
  /** By host name. */
  guests: Record<string, GuestPlan>;
  /** Over several hosts: the names of guests on each, by the host's name. */
  hosts?: Record<string, string[]>;
}

export interface Checkpoint extends CheckpointRecord {
  dir: string;
  /** Of the whole, or of one host's part. */
  fabric: FabricPlan;
}

const names = {
  record: 'checkpoint.json',
  fabricPlan: 'fabric.json',
  fabricState: 'fabric.state',
  secret: 'secret',
} as const;

export function stateFileOf(dir: string, guest: string): string {
  return join(dir, `${guest}.state`);
}

/** @param host whose part of the fabric, where the cluster goes over several */
export function fabricStateOf(dir: string, host?: string): string {
  return join(fabricDirOf(dir, host), names.fabricState);
}

function fabricDirOf(dir: string, host: string | undefined): string {
  return host === undefined ? dir : join(dir, 'hosts', host);
}

/** Refuses to write over anything. @throws LodgeError `checkpoint` */
export function requireFreePlace(dir: string): void {
  if (existsSync(dir)) {
    throw new LodgeError('checkpoint', 'there is something at this place already', {
      where: dir,
      fix: 'name a directory that is not there yet',
    });
  }
}

/**
 * As {@link requireFreePlace}, but a checkpoint of that cluster may be there, and there must be a directory to put the
 * new one in.
 * @throws LodgeError `checkpoint`
 */
export function requireReplaceable(dir: string, cluster: string): void {
  if (statSync(dirname(dir), { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new LodgeError('checkpoint', 'there is no such directory to save the cluster in', {
      where: dirname(dir),
      fix: 'make it',
    });
  }
  if (!existsSync(dir)) return;
  const record = existsSync(join(dir, names.record))
    ? readJson<CheckpointRecord>(dir, names.record)
    : undefined;
  if (record?.cluster?.name === cluster) return;
  throw new LodgeError(
    'checkpoint',
    `there is something at this place that is no checkpoint of '${cluster}'`,
    {
      where: dir,
      fix: 'name another directory, or remove what is there',
    },
  );
}

export interface BeginOptions {
  /** Over which the cluster goes, where it is on several. */
  hosts?: readonly string[];
  /** The cluster of which an older checkpoint may be there, to be replaced. */
  replaces?: string;
}

/** A directory beside the final one, to be filled. @throws LodgeError `checkpoint`, `host-io`, `disk-full` */
export function beginCheckpoint(dir: string, { hosts = [], replaces }: BeginOptions = {}): string {
  if (replaces === undefined) requireFreePlace(dir);
  else requireReplaceable(dir, replaces);
  const part = besideOf(dir, 'part');
  try {
    mkdirSync(part, { mode: 0o700 });
    for (const host of hosts) mkdirSync(fabricDirOf(part, host), { recursive: true, mode: 0o700 });
  } catch (error) {
    throw hostIoError('making the checkpoint', dir, error);
  }
  return part;
}

/** A place beside it that nobody else takes, on whatever host. */
function besideOf(dir: string, what: 'part' | 'old'): string {
  return join(dirname(dir), `.${basename(dir)}.${randomBytes(8).toString('hex')}.${what}`);
}

/**
 * Writes a part of the fabric into a checkpoint that is being made.
 * @throws LodgeError `host-io`, `disk-full`
 */
export function writeFabric(
  part: string,
  host: string | undefined,
  plan: FabricPlan,
  state: Uint8Array,
): void {
  try {
    const dir = fabricDirOf(part, host);
    writeFileSync(join(dir, names.fabricPlan), JSON.stringify(plan), { mode: 0o600, flush: true });
    writeFileSync(join(dir, names.fabricState), state, { mode: 0o600, flush: true });
  } catch (error) {
    throw hostIoError('writing the checkpoint', part, error);
  }
}

export interface CheckpointContent {
  record: CheckpointRecord;
  secret: Buffer;
  /** What is there already goes, as soon as this one is whole. */
  isReplacing?: boolean;
}

/** Writes what is of the whole cluster, and gives the directory its name. @throws LodgeError `host-io`, `disk-full` */
export async function finishCheckpoint(part: string, dir: string, content: CheckpointContent): Promise<void> {
  try {
    const write = (name: string, data: string): void =>
      writeFileSync(join(part, name), data, { mode: 0o600, flush: true });
    write(names.secret, `${content.secret.toString('hex')}\n`);
    write(names.record, JSON.stringify(content.record, null, 2));
    const old = content.isReplacing === true && existsSync(dir) ? besideOf(dir, 'old') : undefined;
    if (old !== undefined) renameSync(dir, old);
    try {
      renameSync(part, dir);
    } catch (error) {
      if (old !== undefined) renameSync(old, dir);
      throw error;
    }
    await syncDirectory(dirname(dir));
    if (old !== undefined) discardCheckpoint(old);
  } catch (error) {
    throw hostIoError('writing the checkpoint', dir, error);
  }
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export function discardCheckpoint(part: string): void {
  // Of one over several hosts, another may be at the same.
  rmSync(part, { recursive: true, force: true, maxRetries: 5 });
}

/**
 * What a checkpoint tells of itself, after a look at whether all of it is there.
 * @throws LodgeError `checkpoint` when it is none, damaged, or of another lodge
 */
export function readRecord(dir: string): CheckpointRecord {
  const record = readJson<CheckpointRecord>(dir, names.record);
  if (record.version !== (record.hosts === undefined ? 1 : 2)) throw ofAnother(dir);
  const hosts = record.hosts === undefined ? [undefined] : Object.keys(record.hosts);
  for (const path of [
    ...hosts.map((host) => fabricStateOf(dir, host)),
    ...Object.keys(record.guests).map((name) => stateFileOf(dir, name)),
  ]) {
    if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true)
      throw damaged(dir, `${basename(path)} is missing`);
  }
  return record;
}

/**
 * A checkpoint of one host, or a host's part of one over several: then its guests are those of that host.
 * @throws LodgeError `checkpoint` as {@link readRecord}; for one over several hosts when none is named
 */
export function readCheckpoint(dir: string, host?: string): Checkpoint {
  const record = readRecord(dir);
  const { hosts } = record;
  if (hosts !== undefined && host === undefined) {
    const count = Object.keys(hosts).length;
    throw new LodgeError('checkpoint', `it was saved over ${count} hosts, and this is one`, {
      where: dir,
      fix: `restore it in a job with as many: salloc -N${count}`,
    });
  }
  const fabric = readJson<FabricPlan>(
    fabricDirOf(dir, hosts === undefined ? undefined : host),
    names.fabricPlan,
  );
  if (fabric.version !== 1) throw ofAnother(dir);
  if (hosts === undefined) return { ...record, fabric, dir };
  const there = hosts[host!] ?? [];
  const guests = Object.fromEntries(Object.entries(record.guests).filter(([name]) => there.includes(name)));
  return { ...record, guests, fabric, dir };
}

function ofAnother(dir: string): LodgeError {
  return new LodgeError('checkpoint', 'it was taken by another version of lodge', { where: dir });
}

export function readSecret(dir: string): string {
  return readText(dir, names.secret);
}

function readJson<T>(dir: string, name: string): T {
  const text = readText(dir, name);
  try {
    return JSON.parse(text) as T;
  } catch (cause) {
    throw damaged(dir, `${name} is no JSON`, cause);
  }
}

function readText(dir: string, name: string): string {
  try {
    return readFileSync(join(dir, name), 'utf8');
  } catch (cause) {
    throw damaged(dir, `${name} cannot be read: ${(cause as Error).message}`, cause);
  }
}

function damaged(dir: string, what: string, cause?: unknown): LodgeError {
  return new LodgeError('checkpoint', `this is no checkpoint, or a damaged one: ${what}`, {
    where: dir,
    cause,
  });
}

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
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { hostIoError, LodgeError } from '../../errors.ts';
import type { FabricPlan } from '../../fabric/plan.ts';
import type { GuestPlan, StateSum } from '../../guest/plan.ts';
import type { ClusterPlan } from '../plan.ts';
import type { SavedObject } from './images.ts';

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
  /** What was written of each guest, by host name; absent in what older versions saved. */
  states?: Record<string, StateSum>;
  /** What the guests run from, by the ids of these objects of the store. */
  objects?: Record<string, SavedObject>;
  /** What was told of it. */
  taken?: { bytes: number; stillMs: number };
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

/**
 * Refuses to write over anything, and where there is no directory to put it in.
 * @throws LodgeError `checkpoint`
 */
export function requireFreePlace(dir: string): void {
  if (existsSync(dir)) {
    throw new LodgeError('checkpoint', 'there is something at this place already', {
      where: dir,
      fix: 'name a directory that is not there yet',
    });
  }
  requireParent(dir);
}

function requireParent(dir: string): void {
  if (statSync(dirname(dir), { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new LodgeError('checkpoint', 'there is no such directory to save the cluster in', {
      where: dirname(dir),
      fix: `make it: mkdir -p ${dirname(dir)}`,
    });
  }
}

/**
 * As {@link requireFreePlace}, but a checkpoint of that cluster may be there.
 * @throws LodgeError `checkpoint`
 */
export function requireReplaceable(dir: string, cluster: string): void {
  requireParent(dir);
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

/**
 * Whether this host sees a checkpoint that another one has begun.
 * @throws LodgeError `checkpoint`
 */
export function requireSeen(part: string): void {
  if (existsSync(part)) return;
  throw new LodgeError('checkpoint', 'this host does not see the directory of the checkpoint', {
    where: part,
    fix: 'name one on a file system that all hosts of the job share',
  });
}

/** A directory beside the final one, to be filled. @throws LodgeError `checkpoint`, `host-io`, `disk-full` */
export function beginCheckpoint(dir: string, { hosts = [], replaces }: BeginOptions = {}): string {
  if (replaces === undefined) requireFreePlace(dir);
  else requireReplaceable(dir, replaces);
  const part = besideOf(dir, 'part');
  let isMade = false;
  try {
    mkdirSync(part, { mode: 0o700 });
    isMade = true;
    for (const host of hosts) mkdirSync(fabricDirOf(part, host), { recursive: true, mode: 0o700 });
  } catch (error) {
    // Of what cannot be made, the removal fails as well, and would be told in the place of the reason.
    if (isMade) rmSync(part, { recursive: true, force: true });
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENAMETOOLONG') {
      throw new LodgeError('checkpoint', 'the name is too long, with what is beside it while it is made', {
        where: dir,
        fix: 'name it shorter',
        cause: error,
      });
    }
    if (code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS')
      throw hostIoError('making the checkpoint', dir, error);
    throw new LodgeError('host-io', `nothing can be written in '${dirname(dir)}' (${code})`, {
      where: dir,
      fix: 'name a place in a directory that you may write to',
      cause: error,
    });
  }
  return part;
}

/**
 * Older checkpoints beside it that a newer one was to take the place of: whoever did that was killed meanwhile. Where
 * there is nothing in their place, they are all there is.
 */
function oldBeside(dir: string): string[] {
  const isOld = (name: string): boolean =>
    name.startsWith(`.${basename(dir)}.`) && /^[0-9a-f]{16}\.old$/.test(name.slice(basename(dir).length + 2));
  try {
    return readdirSync(dirname(dir))
      .filter(isOld)
      .map((name) => join(dirname(dir), name));
  } catch {
    return [];
  }
}

/**
 * Refuses to begin a cluster anew where its last checkpoint only has to be given its name back.
 * @throws LodgeError `checkpoint`
 */
export function requireNoneLeft(dir: string): void {
  const [old] = existsSync(dir) ? [] : oldBeside(dir);
  if (old === undefined) return;
  throw new LodgeError('checkpoint', `its last checkpoint is '${basename(old)}', beside this place`, {
    where: dir,
    detail: 'whoever was putting a newer one there was killed in that moment',
    fix: `to go on from it: mv ${old} ${dir}; to begin anew, remove it`,
  });
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
    // Also those of somebody who was killed before he could.
    if (content.isReplacing === true) for (const one of oldBeside(dir)) discardCheckpoint(one);
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
  if (!existsSync(dir)) {
    requireNoneLeft(dir);
    throw new LodgeError('checkpoint', 'there is no such directory', {
      where: dir,
      fix: 'name one that lodge checkpoint, or on-end, has made',
    });
  }
  const record = readJson<CheckpointRecord | null>(dir, names.record);
  if (typeof record?.cluster?.name !== 'string' || !(record.guests instanceof Object))
    throw damaged(dir, `${names.record} is none that lodge has written`);
  if (record.version !== (record.hosts === undefined ? 1 : 2)) throw ofAnother(dir);
  const hosts = record.hosts === undefined ? [undefined] : Object.keys(record.hosts);
  const parts = [
    ...hosts.map((host) => ({ path: fabricStateOf(dir, host), bytes: undefined })),
    ...Object.keys(record.guests).map((name) => ({
      path: stateFileOf(dir, name),
      bytes: record.states?.[name]?.bytes,
    })),
  ];
  for (const { path, bytes } of parts) {
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats?.isFile() !== true) throw damaged(dir, `${relative(dir, path)} is missing`);
    if (bytes !== undefined && stats.size !== bytes)
      throw damaged(dir, `${relative(dir, path)} has ${stats.size} bytes instead of ${bytes}`);
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
  const fabric = readJson<FabricPlan | null>(
    fabricDirOf(dir, hosts === undefined ? undefined : host),
    names.fabricPlan,
  );
  if (fabric?.version !== 1) throw ofAnother(dir);
  if (hosts === undefined) return { ...record, fabric, dir };
  const there = hosts[host!] ?? [];
  const guests = Object.fromEntries(Object.entries(record.guests).filter(([name]) => there.includes(name)));
  return { ...record, guests, fabric, dir };
}

function ofAnother(dir: string): LodgeError {
  return new LodgeError('checkpoint', 'it was taken by another version of lodge', {
    where: dir,
    fix: 'restore it by the lodge that took it',
  });
}

export function readSecret(dir: string): string {
  const secret = readText(dir, names.secret);
  if (!/^[0-9a-f]{64}\s*$/.test(secret)) throw damaged(dir, `${names.secret} is none`);
  return secret;
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
    fix: 'name a directory that lodge checkpoint, or on-end, has made; of one that is damaged, another or a copy',
    cause,
  });
}

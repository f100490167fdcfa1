/**
 * A checkpoint on disk: a directory that appears whole.
 *
 *     checkpoint.json   the cluster's plan, and the plan and state file of each guest (CheckpointRecord)
 *     fabric.json       the fabric as it was, with what had been changed while it ran
 *     fabric.state      frames on their way and what was learnt, in the fabric's own form
 *     GUEST.state       the state of each guest, as QEMU saves it
 *     secret            from which the keys of the cluster's guests come
 *
 * Whoever can read it can read the guests' memory: it is made with mode 0700.
 */

import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { hostIoError, LodgeError } from '../../errors.ts';
import type { FabricPlan } from '../../fabric/plan.ts';
import type { GuestPlan } from '../../guest/plan.ts';
import type { ClusterPlan } from '../plan.ts';

export interface CheckpointRecord {
  version: 1;
  /** ISO 8601. */
  takenAt: string;
  cluster: ClusterPlan;
  /** By host name. */
  guests: Record<string, GuestPlan>;
}

export interface Checkpoint extends CheckpointRecord {
  dir: string;
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

export function fabricStateOf(dir: string): string {
  return join(dir, names.fabricState);
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

/** A directory beside the final one, to be filled. @throws LodgeError `host-io`, `disk-full` */
export function beginCheckpoint(dir: string): string {
  requireFreePlace(dir);
  const part = join(dirname(dir), `.${basename(dir)}.${process.pid}.part`);
  try {
    rmSync(part, { recursive: true, force: true });
    mkdirSync(part, { mode: 0o700 });
  } catch (error) {
    throw hostIoError('making the checkpoint', dir, error);
  }
  return part;
}

export interface CheckpointContent {
  record: CheckpointRecord;
  fabric: FabricPlan;
  fabricState: Uint8Array;
  secret: Buffer;
}

/** Writes all but the guests' states, and gives the directory its name. */
export async function finishCheckpoint(part: string, dir: string, content: CheckpointContent): Promise<void> {
  try {
    const write = (name: string, data: string | Uint8Array): void =>
      writeFileSync(join(part, name), data, { mode: 0o600, flush: true });
    write(names.fabricPlan, JSON.stringify(content.fabric));
    write(names.fabricState, content.fabricState);
    write(names.secret, `${content.secret.toString('hex')}\n`);
    write(names.record, JSON.stringify(content.record, null, 2));
    renameSync(part, dir);
    await syncDirectory(dirname(dir));
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
  rmSync(part, { recursive: true, force: true });
}

/** @throws LodgeError `checkpoint` when it is none, damaged, or of another lodge */
export function readCheckpoint(dir: string): Checkpoint {
  const record = readJson<CheckpointRecord>(dir, names.record);
  const fabric = readJson<FabricPlan>(dir, names.fabricPlan);
  if (record.version !== 1 || fabric.version !== 1) {
    throw new LodgeError('checkpoint', 'it was taken by another version of lodge', { where: dir });
  }
  for (const path of [
    fabricStateOf(dir),
    ...Object.keys(record.guests).map((name) => stateFileOf(dir, name)),
  ]) {
    if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true)
      throw damaged(dir, `${basename(path)} is missing`);
  }
  return { ...record, fabric, dir };
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

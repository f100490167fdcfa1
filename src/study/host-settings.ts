/**
 * Settings of the host's kernel that a run needs changed: set before it, and given back after. What was there before
 * is written down first, so that the next study gives it back where one was killed. Several studies of a user may run
 * at once: each knows what the others need, and the last to end gives back what the first had found.
 */

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { LodgeError } from '../errors.ts';
import { runtimeDir } from '../guest/state.ts';
import { fateOf, type Owner, thisProcess } from '../image/owner.ts';
import { releaseLock, takeLock } from './lock.ts';

/** What a run needs of a file of the kernel's that holds one number. */
export type Need =
  /** At least this value. */
  | { path: string; least: number }
  /** So many pages for itself, free, in the pool whose `nr_hugepages` this is. */
  | { path: string; freePages: number };

type Kept = Need & {
  /** The value before anybody of those at work changed it. */
  before: number;
  /** What was added, for a pool. */
  added: number;
};

interface SettingsRecord {
  owner: Owner;
  kept: Kept[];
}

export const maxMapCountPath = '/proc/sys/vm/max_map_count';

/** The files that may be written: a record lies in a directory of the user's own, and is not to name others. */
const allowedPath =
  /^(?:\/proc\/sys\/vm\/max_map_count|\/sys\/devices\/system\/node\/node\d+\/hugepages\/hugepages-\d+kB\/nr_hugepages)$/;

/** Nobody holds the lock for longer than it takes to write some numbers. A pool may take seconds to be filled. */
const lockLimitMs = 60_000;

/**
 * Runs something when all needs are met, and gives back what was there.
 * @throws LodgeError `placement-unmet` when one cannot be met; whatever `act` throws
 */
export async function withSettings<T>(needs: readonly Need[], act: () => Promise<T>): Promise<T> {
  const directory = recordsDir();
  const record = locked(directory, () => meet(needs, directory));
  try {
    return await act();
  } finally {
    locked(directory, () => giveBack(record, directory));
  }
}

/** Gives back what studies that were killed had changed. */
export function restoreSettings(): void {
  const directory = recordsDir();
  locked(directory, () => {
    for (const { name, record } of recordsIn(directory)) {
      // One that was cut off while it was written: nothing had been changed then.
      if (record === undefined || fateOf(record.owner) === 'gone') giveBack(name, directory);
    }
  });
}

/** @returns the name of the record */
function meet(needs: readonly Need[], directory: string): string {
  const records = recordsIn(directory);
  const others = records.flatMap(({ record }) => record?.kept ?? []);
  const kept = needs.map((need): Kept => {
    const value = numberIn(need.path);
    const ofOthers = others.filter(({ path }) => path === need.path);
    const before = ofOthers[0]?.before ?? value;
    if ('least' in need) return { ...need, before, added: 0 };
    // Others may not have taken yet what they reserved.
    const promised = ofOthers.reduce((sum, other) => sum + ('freePages' in other ? other.freePages : 0), 0);
    const free = Math.max(0, numberIn(join(dirname(need.path), 'free_hugepages')) - promised);
    return { ...need, before, added: Math.max(0, need.freePages - free) };
  });
  // Several may be nested, one for each thing that a run needs.
  let count = 0;
  while (records.some(({ name }) => name === `${process.pid}-${count}.json`)) count++;
  const name = `${process.pid}-${count}.json`;
  writeFileSync(
    join(directory, name),
    JSON.stringify({ owner: thisProcess(), kept } satisfies SettingsRecord),
  );
  try {
    for (const one of kept) {
      const value = numberIn(one.path);
      const wanted = 'least' in one ? Math.max(value, one.least) : value + one.added;
      if (wanted !== value) set(one.path, wanted);
    }
  } catch (error) {
    giveBack(name, directory);
    throw error;
  }
  return name;
}

function giveBack(name: string, directory: string): void {
  const records = recordsIn(directory);
  const mine = records.find((each) => each.name === name)?.record;
  const others = records.flatMap((each) => (each.name === name ? [] : (each.record?.kept ?? [])));
  for (const one of mine?.kept ?? []) {
    if (!allowedPath.test(one.path)) continue;
    const ofOthers = others.filter(({ path }) => path === one.path);
    try {
      const value = numberIn(one.path);
      const wanted =
        ofOthers.length === 0
          ? one.before
          : 'least' in one
            ? Math.max(one.before, ...ofOthers.map((other) => ('least' in other ? other.least : 0)))
            : Math.max(one.before, value - one.added);
      if (value !== wanted) writeFileSync(one.path, String(wanted));
    } catch {
      // Not ours to change, so it was not changed.
    }
  }
  rmSync(join(directory, name), { force: true });
}

function recordsIn(directory: string): { name: string; record: SettingsRecord | undefined }[] {
  return readdirSync(directory)
    .filter((name) => name.endsWith('.json'))
    .map((name) => ({ name, record: recordIn(join(directory, name)) }));
}

function recordIn(path: string): SettingsRecord | undefined {
  try {
    const record = JSON.parse(readFileSync(path, 'utf8')) as SettingsRecord;
    return Array.isArray(record.kept) && record.owner !== undefined ? record : undefined;
  } catch {
    return undefined;
  }
}

/** Does something while no other study of this user changes settings. */
function locked<T>(directory: string, act: () => T): T {
  const path = join(directory, 'lock');
  const untilMs = Date.now() + lockLimitMs;
  for (let refused = takeLock(path); refused !== undefined; refused = takeLock(path)) {
    if (Date.now() > untilMs) {
      const who = refused === 'lost' ? '' : ` (process ${refused.held.pid} on ${refused.held.host} has it)`;
      throw new LodgeError('host-io', `settings of this host could not be locked${who}`, { where: path });
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
  }
  try {
    return act();
  } finally {
    releaseLock(path);
  }
}

function recordsDir(): string {
  const path = join(runtimeDir(), 'settings');
  mkdirSync(path, { recursive: true, mode: 0o700 });
  return path;
}

function numberIn(path: string): number {
  return Number(readFileSync(path, 'utf8'));
}

function set(path: string, value: number): void {
  try {
    writeFileSync(path, String(value));
  } catch (cause) {
    throw new LodgeError(
      'placement-unmet',
      `this setting of the host cannot be made ${value}: ${(cause as Error).message}`,
      { where: path, fix: `as root: echo ${value} > ${path}`, cause },
    );
  }
}

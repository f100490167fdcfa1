/**
 * Settings of the host's kernel that a run needs changed: set before it, and given back after. What was there before
 * is written down first, so that the next study gives it back where one was killed.
 */

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LodgeError } from '../errors.ts';
import { runtimeDir } from '../guest/state.ts';
import { fateOf, type Owner, thisProcess } from '../image/owner.ts';

export interface Setting {
  /** A file of the kernel's that holds one number. */
  path: string;
  value: number;
}

interface SettingsRecord {
  owner: Owner;
  /** Values before, by path. */
  before: Record<string, number>;
}

export const maxMapCountPath = '/proc/sys/vm/max_map_count';

/** The files that may be written: a record lies in a directory of the user's own, and is not to name others. */
const allowedPath =
  /^(?:\/proc\/sys\/vm\/max_map_count|\/sys\/devices\/system\/node\/node\d+\/hugepages\/hugepages-\d+kB\/nr_hugepages)$/;

/**
 * Runs something under settings, and gives back what was there.
 * @throws LodgeError `placement-unmet` when one cannot be set; whatever `act` throws
 */
export async function withSettings<T>(settings: readonly Setting[], act: () => Promise<T>): Promise<T> {
  const before = Object.fromEntries(settings.map(({ path }) => [path, Number(readFileSync(path, 'utf8'))]));
  const directory = recordsDir();
  // Several may be nested, one for each thing that a run needs.
  const record = join(directory, `${process.pid}-${readdirSync(directory).length}.json`);
  writeFileSync(record, JSON.stringify({ owner: thisProcess(), before } satisfies SettingsRecord));
  try {
    for (const setting of settings) set(setting);
    return await act();
  } finally {
    restore(before);
    rmSync(record, { force: true });
  }
}

/** Gives back what studies that were killed had changed. */
export function restoreSettings(): void {
  const directory = recordsDir();
  for (const name of readdirSync(directory)) {
    const path = join(directory, name);
    try {
      const { owner, before } = JSON.parse(readFileSync(path, 'utf8')) as SettingsRecord;
      if (fateOf(owner) !== 'gone') continue;
      restore(before);
    } catch {
      // Cut off while it was written: nothing had been changed then.
    }
    rmSync(path, { force: true });
  }
}

function recordsDir(): string {
  const path = join(runtimeDir(), 'settings');
  mkdirSync(path, { recursive: true, mode: 0o700 });
  return path;
}

function set({ path, value }: Setting): void {
  try {
    writeFileSync(path, String(value));
  } catch (cause) {
    throw new LodgeError(
      'placement-unmet',
      `this setting of the host cannot be made ${value}: ${(cause as Error).message}`,
      {
        where: path,
        fix: `as root: echo ${value} > ${path}`,
        cause,
      },
    );
  }
}

function restore(before: Readonly<Record<string, number>>): void {
  for (const [path, value] of Object.entries(before)) {
    if (!allowedPath.test(path)) continue;
    try {
      if (Number(readFileSync(path, 'utf8')) !== value) writeFileSync(path, String(value));
    } catch {
      // Not ours to change, so it was not changed.
    }
  }
}

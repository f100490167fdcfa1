/**
 * Where a root file system is put together before it is packed: memory when there is enough of it (four times as
 * fast here), else a directory of the host.
 *
 * The memory is a tmpfs in the mount namespace of the program that builds: when that ends, it is gone, with no owner
 * left to clean up. A directory holds files of subordinate users, which only a namespace like the one that made them
 * can remove: what a killed lodge left is removed by the next build.
 */

import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hostIoError } from '../../errors.ts';
import { probeLimits } from '../../machine/basics.ts';
import { runProgram } from '../../process.ts';
import { fateOf, thisProcess } from '../owner.ts';
import type { RootNamespace } from './namespace.ts';

export interface Scratch {
  path: string;
  kind: 'memory' | 'directory';
  /** Shell commands that make `path` usable, for the program that builds to run first; `$LODGE_SCRATCH` is `path`. */
  prologue: string;
  remove(): Promise<void>;
}

/** A distribution with development tools fits; with less, a build would only fail and start again on the disk. */
const leastMemoryBytes = 2 * 2 ** 30;
const namePattern = /^lodge-scratch-(\d+)\.(\d+)\.(\d+)-[0-9a-f]{12}$/;

/**
 * A new scratch directory.
 * @param kind without it, `memory` when half of what can be had is at least 2 GiB
 * @throws LodgeError `host-io`, `disk-full`
 */
export async function makeScratch(namespace: RootNamespace, kind?: Scratch['kind']): Promise<Scratch> {
  await cleanScratch(namespace);
  const memoryBytes = Math.floor(probeLimits().limits.availableMemoryBytes / 2);
  const chosen = kind ?? (memoryBytes >= leastMemoryBytes ? 'memory' : 'directory');
  const { pidNamespace, pid, startTicks } = thisProcess();
  const name = `lodge-scratch-${pidNamespace}.${pid}.${startTicks}-${randomBytes(6).toString('hex')}`;
  const path = join(tmpdir(), name);
  try {
    // Passable for the subordinate user that apt downloads as; nothing secret is ever put here.
    await mkdir(path);
    await chmod(path, 0o711);
  } catch (cause) {
    throw hostIoError('making a directory', path, cause);
  }
  const mount = `mount -t tmpfs -o size=${Math.floor(memoryBytes / 1024)}k,mode=755 lodge-scratch "$LODGE_SCRATCH"`;
  return {
    path,
    kind: chosen,
    prologue: chosen === 'memory' ? `${mount} || exit 125` : ':',
    remove: () => removeScratch(namespace, path),
  };
}

/** What a build says when the root is whole: what fails after that fails in the store, not in the scratch directory. */
export const packingMark = 'I: packing';

/** Whether a build failed because its scratch directory was full, by what it said. */
export function wasTooSmall(log: string): boolean {
  return /no space left on device/i.test(log) && !log.includes(packingMark);
}

async function removeScratch(namespace: RootNamespace, path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch {
    await runProgram([...namespace.prefix, 'rm', '-rf', '--', path]);
  }
}

/** Removes what lodge processes of this user left that are gone. */
async function cleanScratch(namespace: RootNamespace): Promise<void> {
  for (const entry of await readdir(tmpdir()).catch(() => [])) {
    const match = namePattern.exec(entry);
    if (match === null) continue;
    const owner = {
      ...thisProcess(),
      pidNamespace: match[1]!,
      pid: Number(match[2]),
      startTicks: Number(match[3]),
    };
    if (fateOf(owner) !== 'gone') continue;
    await removeScratch(namespace, join(tmpdir(), entry)).catch(() => {});
  }
}

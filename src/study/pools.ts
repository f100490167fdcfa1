/**
 * Pools of huge pages for one run: reserved evenly over the NUMA nodes as in the paper (section 4.1), and given back
 * after it. What was there before is written down first, so that the next study gives it back where one was killed.
 */

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LodgeError } from '../errors.ts';
import { runtimeDir } from '../guest/state.ts';
import { fateOf, type Owner, thisProcess } from '../image/owner.ts';
import { formatSize } from '../units.ts';

export interface PoolRequest {
  pageBytes: number;
  bytes: number;
  /** Who needs the pages, for the message when there are too few. */
  what: string;
}

interface PoolRecord {
  owner: Owner;
  /** Pages of each NUMA node's pool before, by the path of its `nr_hugepages`. */
  before: Record<string, number>;
}

const nodesPath = '/sys/devices/system/node';

/**
 * Runs something while a pool has pages enough free, and gives back what was reserved for it.
 * @throws LodgeError `placement-unmet` when there are too few pages and no more can be had
 */
export async function withPool<T>(
  { pageBytes, bytes, what }: PoolRequest,
  act: () => Promise<T>,
): Promise<T> {
  const pools = poolsOf(pageBytes);
  const perNode = Math.ceil(bytes / pageBytes / Math.max(1, pools.length));
  const short = pools.filter(({ free }) => free < perNode);
  if (short.length === 0 && pools.length > 0) return act();
  const record = join(poolsDir(), `${process.pid}.json`);
  const before = Object.fromEntries(pools.map(({ path, total }) => [path, total]));
  mkdirSync(poolsDir(), { recursive: true, mode: 0o700 });
  writeFileSync(record, JSON.stringify({ owner: thisProcess(), before } satisfies PoolRecord));
  try {
    for (const { path, total, free } of short) setPages(path, total + perNode - free);
    const lacking = poolsOf(pageBytes).filter(({ free }) => free < perNode);
    if (lacking.length > 0 || pools.length === 0) {
      const size = formatSize(pageBytes);
      throw new LodgeError('placement-unmet', `${what} needs ${perNode} pages of ${size} on each NUMA node`, {
        detail: lacking.map(({ path, free }) => `${path}: ${free} free`).join('\n'),
        fix: 'reserve them right after the host has booted (hugepages= on the kernel command line), or leave these pages out',
      });
    }
    return await act();
  } finally {
    restore(before);
    rmSync(record, { force: true });
  }
}

/** Gives back what studies that were killed had reserved. */
export function restorePools(): void {
  for (const name of filesIn(poolsDir())) {
    const path = join(poolsDir(), name);
    try {
      const { owner, before } = JSON.parse(readFileSync(path, 'utf8')) as PoolRecord;
      if (fateOf(owner) !== 'gone') continue;
      restore(before);
    } catch {
      // Cut off while it was written: nothing had been reserved then.
    }
    rmSync(path, { force: true });
  }
}

function poolsDir(): string {
  return join(runtimeDir(), 'pools');
}

function poolsOf(pageBytes: number): { path: string; total: number; free: number }[] {
  const name = `hugepages-${pageBytes / 1024}kB`;
  return filesIn(nodesPath)
    .filter((node) => /^node\d+$/.test(node))
    .map((node) => join(nodesPath, node, 'hugepages', name))
    .flatMap((directory) => {
      try {
        const read = (file: string): number => Number(readFileSync(join(directory, file), 'utf8'));
        return [
          {
            path: join(directory, 'nr_hugepages'),
            total: read('nr_hugepages'),
            free: read('free_hugepages'),
          },
        ];
      } catch {
        return [];
      }
    });
}

function setPages(path: string, pages: number): void {
  try {
    writeFileSync(path, String(pages));
  } catch (cause) {
    throw new LodgeError('placement-unmet', `huge pages cannot be reserved: ${(cause as Error).message}`, {
      where: path,
      fix: 'reserve them as root, or leave these pages out of the study',
      cause,
    });
  }
}

function restore(before: Readonly<Record<string, number>>): void {
  for (const [path, pages] of Object.entries(before)) {
    // A record in a directory of the user's own says which files to write: only pools are.
    if (!/^\/sys\/devices\/system\/node\/node\d+\/hugepages\/hugepages-\d+kB\/nr_hugepages$/.test(path))
      continue;
    try {
      if (Number(readFileSync(path, 'utf8')) !== pages) writeFileSync(path, String(pages));
    } catch {
      // Not ours to change, so it was not changed.
    }
  }
}

function filesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

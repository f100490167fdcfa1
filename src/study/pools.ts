/** Pools of huge pages for one run: reserved evenly over the NUMA nodes as in the paper (section 4.1), and given back. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LodgeError } from '../errors.ts';
import { formatSize } from '../units.ts';
import { withSettings } from './host-settings.ts';

export interface PoolRequest {
  pageBytes: number;
  bytes: number;
  /** NUMA nodes that give the pages, evenly; all of them when empty. */
  nodes: readonly number[];
  /** Who needs the pages, for the message when there are too few. */
  what: string;
}

interface Pool {
  /** Its `nr_hugepages`. */
  path: string;
  /** In pages. */
  free: number;
}

const nodesPath = '/sys/devices/system/node';

/**
 * Runs something while a pool has pages enough free, and gives back what was reserved for it.
 * @throws LodgeError `placement-unmet` when there are too few pages and no more can be had
 */
export async function withPool<T>(
  { pageBytes, bytes, nodes, what }: PoolRequest,
  act: () => Promise<T>,
): Promise<T> {
  const pools = poolsOf(pageBytes, nodes);
  const perNode = Math.ceil(bytes / pageBytes / Math.max(1, pools.length));
  return withSettings(
    pools.map(({ path }) => ({ path, freePages: perNode })),
    () => {
      // A kernel that is asked for more than it can find gives what it has, without an error.
      const lacking = poolsOf(pageBytes, nodes).filter(({ free }) => free < perNode);
      if (lacking.length === 0 && pools.length > 0) return act();
      const size = formatSize(pageBytes);
      throw new LodgeError('placement-unmet', `${what} needs ${perNode} pages of ${size} on each NUMA node`, {
        detail: lacking.map(({ path, free }) => `${path}: ${free} free`).join('\n'),
        fix: 'reserve them right after the host has booted (hugepages= on the kernel command line), or leave these pages out',
      });
    },
  );
}

function poolsOf(pageBytes: number, nodes: readonly number[]): Pool[] {
  const name = `hugepages-${pageBytes / 1024}kB`;
  return readdirSync(nodesPath)
    .filter((node) => /^node\d+$/.test(node))
    .filter((node) => nodes.length === 0 || nodes.includes(Number(node.slice('node'.length))))
    .map((node) => join(nodesPath, node, 'hugepages', name))
    .flatMap((directory) => {
      try {
        const free = Number(readFileSync(join(directory, 'free_hugepages'), 'utf8'));
        return [{ path: join(directory, 'nr_hugepages'), free }];
      } catch {
        return []; // A node without memory has no pools.
      }
    });
}

/** A guest's memory on its host: whether there is enough, how it is split over NUMA nodes, and in which pages. */

import { type Fix, fixWith, key } from '../fix.ts';
import type { HugePagePool, Machine } from '../machine/machine.ts';
import { formatSize } from '../units.ts';
import type { HostPages } from './layout.ts';
import type { GuestSpec } from './spec.ts';

/** Memory of one guest node, and the host node it is bound to. */
export interface Share {
  hostNode?: number;
  memoryBytes: number;
}

/** Something that was asked for and cannot be given. */
export interface Unmet {
  message: string;
  fix?: Fix;
  /** The key of the spec that asked for it. */
  key: keyof GuestSpec;
}

/** What a virtual machine process takes beside the guest's memory: measured 60 to 100 MiB for QEMU 7.2 with q35. */
export const processBytes = 96 * 2 ** 20;

/** The page size of the hugetlb pool that backs the guest; undefined for pages that come from no pool. */
export function hugetlbPageBytes(host: HostPages): number | undefined {
  return host === '2M' ? 2 ** 21 : host === '1G' ? 2 ** 30 : undefined;
}

/**
 * What a guest takes of the host's ordinary memory, in bytes: its own unless that comes from a pool, the process,
 * and page tables, of which the host's and the nested ones take 8 bytes each for every 4 KiB.
 */
export function ordinaryMemoryBytes(memoryBytes: number, host: HostPages): number {
  if (hugetlbPageBytes(host) !== undefined) return processBytes;
  return memoryBytes + processBytes + (memoryBytes / 4096) * 16;
}

/**
 * Splits memory in proportion to vCPUs, in whole pages; what is left over goes to the last node. Where there is no
 * page size to keep to, the parts are multiples of 2 MiB if they can be, so that transparent huge pages fit.
 * A part may come out as 0 when there are fewer pages than nodes; {@link pagesUnmet} tells of it.
 */
export function splitMemory(
  memoryBytes: number,
  nodes: readonly { hostNode: number; vcpus: number }[],
  pageBytes: number | undefined,
  granuleBytes: number,
): Share[] {
  const vcpus = nodes.reduce((sum, node) => sum + node.vcpus, 0);
  const least = Math.min(...nodes.map((node) => (memoryBytes * node.vcpus) / vcpus));
  const stepBytes = pageBytes ?? (least >= 2 ** 21 ? 2 ** 21 : granuleBytes);
  let leftBytes = memoryBytes;
  return nodes.map(({ hostNode, vcpus: share }, i) => {
    const part = Math.floor(((memoryBytes / stepBytes) * share) / vcpus) * stepBytes;
    const bytes = i === nodes.length - 1 ? leftBytes : part;
    leftBytes -= bytes;
    return { hostNode, memoryBytes: bytes };
  });
}

/**
 * What is missing on the host for pages of this kind; undefined when nothing is.
 * @param isShared other processes map the guest's memory, for which the kernel has a switch of its own
 */
export function pagesUnmet(
  host: HostPages,
  shares: readonly Share[],
  machine: Machine,
  isShared = false,
): Unmet | undefined {
  const pageBytes = hugetlbPageBytes(host);
  if (pageBytes !== undefined) return poolUnmet(pageBytes, shares, machine);
  return host === 'thp' ? transparentUnmet(machine, isShared) : undefined;
}

/** What is missing for transparent huge pages. */
export function transparentUnmet({ pages }: Pick<Machine, 'pages'>, isShared = false): Unmet | undefined {
  const { enabled, shared } = pages.transparent;
  if (isShared && shared !== undefined && !['always', 'advise', 'within_size', 'force'].includes(shared)) {
    return {
      message: `transparent huge pages of shared memory, which virtiofs needs, are switched off on this host ('${shared}')`,
      fix: fixWith`echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled (as root), or ${key('mount-type', '9p')}`,
      key: 'pages',
    };
  }
  if (enabled === 'always' || enabled === 'madvise') return undefined;
  return {
    message:
      enabled === undefined
        ? "this host's kernel has no transparent huge pages"
        : `transparent huge pages are switched off on this host ('${enabled}')`,
    ...(enabled === undefined
      ? {}
      : { fix: 'echo madvise > /sys/kernel/mm/transparent_hugepage/enabled (as root)' }),
    key: 'pages',
  };
}

/** Ordinary memory: a node must at least be large enough; what is free on it now, the kernel can make. */
export function roomUnmet(host: HostPages, shares: readonly Share[], machine: Machine): Unmet | undefined {
  if (hugetlbPageBytes(host) !== undefined) return undefined;
  const full = shares.flatMap(({ hostNode, memoryBytes }) => {
    const node = machine.topology.numaNodes.find(({ id }) => id === hostNode);
    return hostNode === undefined || (node !== undefined && node.memoryBytes >= memoryBytes)
      ? []
      : [
          `NUMA node ${hostNode} has ${formatSize(node?.memoryBytes ?? 0)}, the guest needs ${formatSize(memoryBytes)} there`,
        ];
  });
  if (full.length === 0) return undefined;
  return {
    message: full.join('; '),
    fix: 'ask for less memory, or for CPUs on more NUMA nodes',
    key: 'memory',
  };
}

function poolUnmet(pageBytes: number, shares: readonly Share[], machine: Machine): Unmet | undefined {
  const memoryBytes = shares.reduce((sum, share) => sum + share.memoryBytes, 0);
  const size = formatSize(pageBytes);
  if (memoryBytes % pageBytes !== 0) {
    return {
      message: `memory of ${memoryBytes} bytes is not a whole number of ${size} pages`,
      // In MiB, because a size for people is rounded.
      fix: fixWith`ask for ${key('memory', `${(Math.ceil(memoryBytes / pageBytes) * pageBytes) / 2 ** 20}M`)}`,
      key: 'memory',
    };
  }
  if (shares.some((share) => share.memoryBytes === 0)) {
    return {
      message: `${memoryBytes / pageBytes} pages of ${size} cannot be shared by ${shares.length} NUMA nodes`,
      fix: 'ask for more memory, smaller pages, or CPUs on fewer NUMA nodes',
      key: 'pages',
    };
  }
  const limit = machine.limits.hugePages.find((entry) => entry.pageBytes === pageBytes);
  if (limit !== undefined && limit.limitBytes < memoryBytes) {
    return {
      message:
        `a cgroup lets this job take ${formatSize(limit.limitBytes)} of ${size} pages, ` +
        `the guest needs ${formatSize(memoryBytes)}`,
      fix: `raise hugetlb.${size}B.max of the job's cgroup`,
      key: 'pages',
    };
  }
  const lacking = shares.flatMap((share) => {
    const pool = poolFor(share.hostNode, pageBytes, machine);
    const pages = share.memoryBytes / pageBytes;
    return pool.free >= pages ? [] : [{ hostNode: share.hostNode, pages, pool }];
  });
  if (lacking.length === 0) return undefined;
  return {
    message: lacking
      .map(
        ({ hostNode, pages, pool }) =>
          `${hostNode === undefined ? 'this host' : `NUMA node ${hostNode}`} has ${pool.free} free pages of ${size} ` +
          `(of ${pool.total} in its pool), the guest needs ${pages}${hostNode === undefined ? '' : ' there'}`,
      )
      .join('; '),
    fix: `${lacking
      .map(
        ({ hostNode, pages, pool }) =>
          `echo ${pool.total - pool.free + pages} > ${poolDirectory(hostNode)}/hugepages-${pageBytes / 1024}kB/nr_hugepages`,
      )
      .join('; ')} (as root)`,
    key: 'pages',
  };
}

function poolDirectory(hostNode: number | undefined): string {
  return hostNode === undefined
    ? '/sys/kernel/mm/hugepages'
    : `/sys/devices/system/node/node${hostNode}/hugepages`;
}

/** The pool of a node, or what all nodes this job may use have together. */
function poolFor(hostNode: number | undefined, pageBytes: number, { pages, limits }: Machine): HugePagePool {
  const nodes = pages.poolsByNumaNode.filter(({ numaNode }) =>
    hostNode === undefined ? limits.allowedNumaNodes.includes(numaNode) : numaNode === hostNode,
  );
  const pools = nodes.flatMap((node) => node.pools).filter((pool) => pool.pageBytes === pageBytes);
  return {
    pageBytes,
    total: pools.reduce((sum, pool) => sum + pool.total, 0),
    free: pools.reduce((sum, pool) => sum + pool.free, 0),
  };
}

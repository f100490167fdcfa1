/** Huge pages of pools that the guests of a cluster need together, against what the pools have. Pure. */

import { LodgeError } from '../errors.ts';
import type { Layout } from '../guest/layout.ts';
import { hugetlbPageBytes } from '../guest/layout-memory.ts';
import type { GuestSpec } from '../guest/spec.ts';
import type { Accelerator } from '../machine/accelerators.ts';
import type { HugePagePool, Limits, Machine, MachineBasics } from '../machine/machine.ts';
import { formatSize } from '../units.ts';
import { type Amount, sumOfKinds } from './resources.ts';

export interface PagesNeed {
  accelerator: Accelerator;
  spec: Pick<GuestSpec, 'memory' | 'pages' | 'placement'>;
}

/** A guest that holds memory on a host, or will. */
export interface PlacedGuest {
  accelerator: Accelerator;
  layout: Pick<Layout, 'nodes' | 'pages'>;
}

/** Whether a guest is not to be started without pages of a pool. */
export function wantsPool({ pages, placement }: PagesNeed['spec']): boolean {
  return hugetlbPageBytes(pages.host) !== undefined && pages.strict && placement === 'strict';
}

/**
 * Refuses guests for which the pools of all NUMA nodes together have not pages enough, before any is started.
 * @param starting those to be started
 * @param leaving what guests hold now that will be ended first
 * @throws LodgeError `placement-unmet` with the sum
 */
export function checkClusterPages(
  starting: readonly PagesNeed[],
  machine: {
    pages: Pick<MachineBasics['pages'], 'poolsByNumaNode'>;
    limits: Pick<Limits, 'allowedNumaNodes' | 'hugePages'>;
  },
  leaving: readonly PlacedGuest[] = [],
): void {
  const wanting = starting.filter(({ spec }) => wantsPool(spec));
  for (const pageBytes of new Set(wanting.map(({ spec }) => hugetlbPageBytes(spec.pages.host)!))) {
    const guests = wanting.filter(({ spec }) => hugetlbPageBytes(spec.pages.host) === pageBytes);
    checkPool(guests, pageBytes, machine, leaving);
  }
}

function checkPool(
  guests: readonly PagesNeed[],
  pageBytes: number,
  { pages, limits }: Parameters<typeof checkClusterPages>[1],
  leaving: readonly PlacedGuest[],
): void {
  const pagesOf = (bytes: number): number => Math.ceil(bytes / pageBytes);
  const needed = guests.reduce((sum, { spec }) => sum + pagesOf(spec.memory), 0);
  const pools = pages.poolsByNumaNode
    .filter(({ numaNode }) => limits.allowedNumaNodes.includes(numaNode))
    .flatMap((node) => node.pools.filter((pool) => pool.pageBytes === pageBytes));
  const total = pools.reduce((sum, pool) => sum + pool.total, 0);
  const left = leaving
    .filter(({ layout }) => hugetlbPageBytes(layout.pages.host) === pageBytes)
    .flatMap(({ layout }) => layout.nodes)
    .reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
  const free = pools.reduce((sum, pool) => sum + pool.free, 0) + pagesOf(left);
  const limit = limits.hugePages.find((entry) => entry.pageBytes === pageBytes);
  const most = limit === undefined ? free : Math.min(free, Math.floor(limit.limitBytes / pageBytes));
  if (needed <= most) return;
  const size = formatSize(pageBytes);
  const counted = guests.map(({ accelerator, spec }) => ({
    kind: accelerator,
    amount: pagesOf(spec.memory),
  }));
  const what = `the guests to be started need ${needed} huge pages of ${size}`;
  const detail = `the guests' memory in pages of ${size}: ${sumOfKinds(counted, String)}`;
  if (most < free) {
    throw new LodgeError('placement-unmet', `${what}; a cgroup lets this job take ${most}`, {
      detail,
      fix: `raise hugetlb.${size}B.max of the job's cgroup, or give the guests less memory, or ask for fewer`,
    });
  }
  throw new LodgeError('placement-unmet', `${what}; this host has ${free} left (of ${total} in its pools)`, {
    detail,
    fix:
      `echo ${total - free + needed} > /sys/kernel/mm/hugepages/hugepages-${pageBytes / 1024}kB/nr_hugepages (as root), ` +
      'or give the guests less memory, or ask for fewer',
  });
}

/**
 * The host as it is when guests have what they were planned to have: pages of pools, and memory bound to NUMA nodes.
 * What is bound to none is taken where most is left, as nobody knows yet where the kernel will take it.
 * @param planned guests that are not started yet
 */
export function withoutMemoryOf(machine: Machine, planned: readonly PlacedGuest[]): Machine {
  const { pages, topology, limits } = machine;
  const pools = new Map(
    pages.poolsByNumaNode.map((node) => [node.numaNode, node.pools.map((pool) => ({ ...pool }))]),
  );
  const nodeBytes = new Map(topology.numaNodes.map(({ id, memoryBytes }) => [id, memoryBytes]));
  for (const { layout } of planned) {
    const pageBytes = hugetlbPageBytes(layout.pages.host);
    for (const { hostNode, memoryBytes } of layout.nodes) {
      if (pageBytes !== undefined) {
        const from = hostNode === undefined ? limits.allowedNumaNodes : [hostNode];
        takePages(
          from.flatMap((node) => pools.get(node)?.filter((pool) => pool.pageBytes === pageBytes) ?? []),
          memoryBytes / pageBytes,
        );
      } else if (hostNode !== undefined) {
        nodeBytes.set(hostNode, Math.max(0, (nodeBytes.get(hostNode) ?? 0) - memoryBytes));
      }
    }
  }
  return {
    ...machine,
    pages: {
      ...pages,
      poolsByNumaNode: [...pools].map(([numaNode, left]) => ({ numaNode, pools: left })),
    },
    topology: {
      ...topology,
      numaNodes: topology.numaNodes.map((node) => ({ ...node, memoryBytes: nodeBytes.get(node.id)! })),
    },
  };
}

function takePages(pools: readonly HugePagePool[], count: number): void {
  let wanted = count;
  for (const pool of [...pools].sort((a, b) => b.free - a.free)) {
    const taken = Math.min(pool.free, wanted);
    pool.free -= taken;
    wanted -= taken;
  }
}

/** What guests were planned to have on each NUMA node: `on NUMA node 0, in pages of 2M: 2 kvm of 64 = 128`. */
export function memoryByNode(planned: readonly PlacedGuest[]): string[] {
  const held = new Map<string, { told: (amount: number) => string; amounts: Amount[] }>();
  for (const { accelerator, layout } of planned) {
    const pageBytes = hugetlbPageBytes(layout.pages.host);
    for (const { hostNode, memoryBytes } of layout.nodes) {
      if (pageBytes === undefined && hostNode === undefined) continue;
      const node = hostNode === undefined ? 'any NUMA node' : `NUMA node ${hostNode}`;
      const place = `on ${node}${pageBytes === undefined ? '' : `, in pages of ${formatSize(pageBytes)}`}`;
      const there = held.get(place) ?? { told: pageBytes === undefined ? formatSize : String, amounts: [] };
      there.amounts.push({ kind: accelerator, amount: memoryBytes / (pageBytes ?? 1) });
      held.set(place, there);
    }
  }
  return [...held]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([place, { told, amounts }]) => `${place}: ${sumOfKinds(amounts, told)}`);
}

/** A layout as arguments of QEMU. Pure; checked against QEMU 7.2 (qemu(1): -smp, -numa, -object, -cpu). */

import { LodgeError } from '../../../errors.ts';
import { formatCount } from '../../../units.ts';
import type { GuestNode, Layout } from '../../layout.ts';
import { powerOfTwo, type Smp } from '../../layout-shape.ts';

export interface LayoutArguments {
  argv: string[];
  /**
   * Start QEMU with `prctl(PR_SET_THP_DISABLE)`, which it inherits: QEMU itself asks for transparent huge pages
   * for all guest memory (`madvise(MADV_HUGEPAGE)` in softmmu/physmem.c), and has no switch against it.
   */
  disableTransparentHugePages: boolean;
}

export interface LayoutArgumentOptions {
  /**
   * The guest may be checkpointed or migrated. An invariant TSC forbids that (QEMU then blocks migration), so
   * without this the guest has it where the host's KVM does.
   */
  migratable?: boolean;
}

/** The highest APIC id without interrupt remapping in the guest; 255 is the broadcast (Intel SDM 3A, 11.7). */
const maxApicId = 254;

/**
 * The arguments for a layout: `-smp`, `-m`, memory backends, `-numa` and `-cpu`. A guest with one node has its
 * memory named `memory0` all the same, unless nothing was asked about it.
 * @throws LodgeError `driver-cannot` for more vCPUs than the machine has interrupt addresses for
 */
export function layoutArguments(
  layout: Layout,
  accelerator: 'kvm' | 'tcg',
  options: LayoutArgumentOptions = {},
): LayoutArguments {
  checkApicIds(layout.smp);
  const { sockets, dies, cores, threads } = layout.smp;
  const memoryBytes = layout.nodes.reduce((sum, node) => sum + node.memoryBytes, 0);
  return {
    argv: [
      ...['-cpu', cpuModel(layout, accelerator, options)],
      '-smp',
      `${layout.vcpus.length},sockets=${sockets},dies=${dies},cores=${cores},threads=${threads}`,
      ...['-m', kibibytes(memoryBytes)],
      ...memoryArguments(layout),
    ],
    disableTransparentHugePages: layout.pages.host === '4K',
  };
}

/** The id of the memory backend of a guest node, in arguments and in `query-memdev`. */
export function memoryBackendId(node: Pick<GuestNode, 'id'>): string {
  return `memory${node.id}`;
}

/** Whether the memory of a layout is in named backends rather than in what `-m` alone makes. */
export function usesMemoryBackends(layout: Layout): boolean {
  return (
    layout.nodes.length > 1 ||
    layout.nodes[0]?.hostNode !== undefined ||
    layout.preallocate ||
    layout.sharedMemory ||
    isHugetlb(layout)
  );
}

function memoryArguments(layout: Layout): string[] {
  if (!usesMemoryBackends(layout)) return [];
  const objects = layout.nodes.flatMap((node) => ['-object', memoryBackend(node, layout)]);
  if (layout.nodes.length === 1)
    return [...objects, '-machine', `memory-backend=${memoryBackendId(layout.nodes[0]!)}`];
  return [...objects, ...numaArguments(layout)];
}

function memoryBackend(node: GuestNode, layout: Layout): string {
  const { pageBytes } = layout.pages;
  return [
    isHugetlb(layout) || layout.sharedMemory ? 'memory-backend-memfd' : 'memory-backend-ram',
    `id=${memoryBackendId(node)}`,
    ...(isHugetlb(layout) ? ['hugetlb=on', `hugetlbsize=${pageBytes! / 2 ** 20}M`] : []),
    ...(layout.sharedMemory ? ['share=on'] : []),
    `size=${kibibytes(node.memoryBytes)}`,
    // `bind` fails where `preferred` goes to another node: which of them is right is what strict means.
    ...(node.hostNode === undefined
      ? []
      : [`host-nodes=${node.hostNode}`, `policy=${layout.placement === 'strict' ? 'bind' : 'preferred'}`]),
    ...(layout.preallocate ? ['prealloc=on', `prealloc-threads=${layout.preallocateThreads}`] : []),
  ].join(',');
}

function numaArguments(layout: Layout): string[] {
  const nodes = layout.nodes.flatMap((node) => [
    '-numa',
    `node,nodeid=${node.id},memdev=${memoryBackendId(node)}`,
  ]);
  const cpus = layout.vcpus.flatMap(({ guestNode, socket, die, core, thread }) => [
    '-numa',
    `cpu,node-id=${guestNode},socket-id=${socket},${layout.smp.dies > 1 ? `die-id=${die},` : ''}core-id=${core},thread-id=${thread}`,
  ]);
  const distances = (layout.distances ?? []).flatMap((row, src) =>
    row.flatMap((value, dst) => (src === dst ? [] : ['-numa', `dist,src=${src},dst=${dst},val=${value}`])),
  );
  return [...nodes, ...cpus, ...distances];
}

/**
 * The CPU the guest sees. Every feature asked for is one that QEMU only warns about where the host lacks it.
 *
 * kvm: `migratable=off` brings the invariant TSC by itself where KVM has it.
 *
 * tcg: `max`, because programs built for newer CPUs must run; without 5-level paging it starts a kernel in 1.70
 * CPU-s where plain `max` took 1.92 and `qemu64` 1.70 (Debian's 6.1, three runs each). Its vendor is AMD, whose
 * threads and dies a guest only sees by an extension that TCG does not have; as Intel's they are all seen.
 */
function cpuModel(
  { cpuModel: { hostCacheInfo, amdTopology }, smp }: Layout,
  accelerator: 'kvm' | 'tcg',
  options: LayoutArgumentOptions,
): string {
  if (accelerator === 'tcg') {
    return ['max', 'la57=off', ...(smp.dies > 1 || smp.threads > 1 ? ['vendor=GenuineIntel'] : [])].join(',');
  }
  return [
    'host',
    ...(options.migratable === true ? [] : ['migratable=off']),
    ...(hostCacheInfo ? ['host-cache-info=on'] : []),
    ...(amdTopology ? ['topoext=on'] : []),
  ].join(',');
}

/** APIC ids have a whole number of bits for each level (include/hw/i386/topology.h of QEMU). */
function checkApicIds({ sockets, dies, cores, threads }: Smp): void {
  const perCore = powerOfTwo(threads);
  const perDie = powerOfTwo(cores) * perCore;
  const perSocket = powerOfTwo(dies) * perDie;
  const highest = (sockets - 1) * perSocket + (dies - 1) * perDie + (cores - 1) * perCore + (threads - 1);
  if (highest <= maxApicId) return;
  throw new LodgeError(
    'driver-cannot',
    `QEMU's q35 cannot have ${sockets * dies * cores * threads} vCPUs as ${formatCount(sockets, 'socket')} of ` +
      `${formatCount(dies, 'die')} of ${formatCount(cores, 'core')} of ${formatCount(threads, 'thread')}: the last would have APIC id ${highest}, and ${maxApicId} is the highest`,
    { fix: 'ask for fewer CPUs, or for two guests', asked: ['cpus'] },
  );
}

function isHugetlb(layout: Layout): boolean {
  return layout.pages.host === '2M' || layout.pages.host === '1G';
}

/** Exact in whole KiB: layouts come in multiples of 8 KiB. */
function kibibytes(bytes: number): string {
  return `${bytes / 1024}K`;
}

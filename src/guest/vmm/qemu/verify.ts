/**
 * Putting a guest where its plan says, while it is still paused, and looking whether it is there: on the host by
 * what its kernel tells of the process, in the guest by what the guest's kernel tells of itself.
 */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LodgeError } from '../../../errors.ts';
import { fixWith, key } from '../../../fix.ts';
import { runProgram } from '../../../process.ts';
import { formatCpuList, parseCpuList } from '../../../units.ts';
import type { Layout } from '../../layout.ts';
import {
  type AddressRange,
  compareMemory,
  findMemory,
  type MemoryFound,
  parseNumaMaps,
  parseSmaps,
} from '../../layout-memory-found.ts';
import { memoryBackendId, usesMemoryBackends } from './layout-arguments.ts';
import type { Qmp } from './qmp.ts';

/** A running QEMU and what was planned for it. */
export interface Placed {
  pid: number;
  qmp: Qmp;
  layout: Layout;
}

/** What was found of a guest's placement; can be written as JSON. Lists of CPUs are the host's. */
export interface PlacementFound {
  /** `asked` is empty for a vCPU that is not pinned. */
  vcpus: { vcpu: number; threadId: number; asked: number[]; got: number[] }[];
  emulator: { asked: number[]; threads: { threadId: number; name: string; got: number[] }[] };
  memory: MemoryFound[];
  /** KVM's own count of the mappings in its nested page tables, by page size; they fill as the guest runs. */
  kvmPages?: KvmPages;
  /** No difference from the plan. */
  met: boolean;
  differences: string[];
  /** Those of the differences that are about page sizes, which a spec may leave open when all else is strict. */
  pageDifferences: string[];
}

export interface KvmPages {
  pages4K: number;
  pages2M: number;
  pages1G: number;
}

/**
 * Pins the threads of a QEMU: vCPUs each to theirs, all others to the housekeeping CPUs. Threads that QEMU starts
 * later inherit that from the thread that starts them.
 * @throws LodgeError `placement-unmet` where a strict pin cannot be set; `missing-program`, `vmm-failed`
 */
export async function applyLayout({ pid, qmp, layout }: Placed): Promise<void> {
  if (layout.emulatorCpus.length > 0) await pin(['-a'], layout.emulatorCpus, pid, layout);
  const threads = await vcpuThreads(qmp, layout);
  for (const { vcpu, hostCpus } of layout.vcpus) {
    if (hostCpus.length > 0) await pin([], hostCpus, threads[vcpu]!, layout);
  }
}

/** Looks at a guest's placement on the host. @throws LodgeError `vmm-failed` when QEMU has ended or has not these vCPUs */
export async function verifyLayout({ pid, qmp, layout }: Placed): Promise<PlacementFound> {
  const threads = await vcpuThreads(qmp, layout);
  const tasks = listTasks(pid);
  const vcpus = layout.vcpus.map(({ vcpu, hostCpus }) => {
    const threadId = threads[vcpu]!;
    const task = tasks.find((entry) => entry.threadId === threadId);
    return { vcpu, threadId, asked: hostCpus, got: task?.got ?? [] };
  });
  const vcpuIds = new Set(threads);
  const emulator = {
    asked: layout.emulatorCpus,
    threads: tasks.filter((task) => !vcpuIds.has(task.threadId)),
  };
  const smaps = parseSmaps(readProcess(pid, 'smaps'));
  // Absent in kernels without NUMA.
  const numaText = readIfThere(`/proc/${pid}/numa_maps`);
  const numaMaps = numaText === undefined ? undefined : parseNumaMaps(numaText);
  const ranges = await memoryRanges(qmp, layout);
  const memory = layout.nodes.map((node) => findMemory(node, layout, ranges.get(node.id)!, smaps, numaMaps));
  const compared = layout.nodes.map((node, i) => compareMemory(node, layout, memory[i]!));
  const pageDifferences = compared.flatMap(({ pages }) => pages);
  const differences = [
    ...comparePins(vcpus, emulator),
    ...pageDifferences,
    ...compared.flatMap(({ placement }) => placement),
  ];
  const kvmPages = readKvmPages(pid);
  return {
    vcpus,
    emulator,
    memory,
    ...(kvmPages === undefined ? {} : { kvmPages }),
    met: differences.length === 0,
    differences,
    pageDifferences,
  };
}

/**
 * Refuses a guest whose strict placement is not as asked.
 * @throws LodgeError `placement-unmet` with the differences
 */
export function requireMet(found: PlacementFound, { placement, pages }: Layout): void {
  if (placement !== 'strict') return;
  const tolerated = new Set(pages.strict ? [] : found.pageDifferences);
  const differences = found.differences.filter((difference) => !tolerated.has(difference));
  if (differences.length === 0) return;
  throw new LodgeError('placement-unmet', 'the guest is not placed as asked', {
    detail: differences.join('\n'),
    fix: fixWith`free what is missing and run it again, or take what there is with ${key('placement', 'prefer')}`,
    asked: [],
  });
}

/** KVM's page statistics of a process; undefined when debugfs may not be read or it is no KVM guest. */
export function readKvmPages(pid: number): KvmPages | undefined {
  // One directory per VM, named PID-FD (virt/kvm/kvm_main.c, kvm_create_vm_debugfs).
  const root = '/sys/kernel/debug/kvm';
  try {
    const name = readdirSync(root).find((entry) => entry.startsWith(`${pid}-`));
    if (name === undefined) return undefined;
    const count = (file: string): number => Number(readFileSync(join(root, name, file), 'utf8'));
    return { pages4K: count('pages_4k'), pages2M: count('pages_2m'), pages1G: count('pages_1g') };
  } catch {
    return undefined;
  }
}

const cpuRoot = '/sys/devices/system/cpu';
const nodeRoot = '/sys/devices/system/node';

/** A file of the guest that should list these vCPUs. */
interface CpuListFile {
  path: string;
  what: string;
  vcpus: number[];
  /** What is as good: Linux ends a cache at a NUMA node's edge, unless it knows the CPU to have sub-NUMA clusters. */
  orVcpus?: number[];
  /** A guest may lack it without anything being wrong: not built into its kernel, not told by its CPU. */
  isOptional: boolean;
}

/** The files of a guest that tell its topology, one for each thing that has a place in it. */
export function guestTopologyPaths(layout: Layout): string[] {
  const distances = (layout.distances ?? []).map((_, node) => `${nodeRoot}/node${node}/distance`);
  return [...cpuListFiles(layout).map(({ path }) => path), ...distances];
}

/**
 * In what the topology that a guest sees differs from the plan.
 * @param contents what the guest's files hold, by path; those it does not have are left out
 */
export function compareGuestTopology(layout: Layout, contents: ReadonlyMap<string, string>): string[] {
  const differences: string[] = [];
  for (const { path, what, vcpus, orVcpus, isOptional } of cpuListFiles(layout)) {
    const seen = contents.get(path)?.trim();
    const planned = formatCpuList(vcpus);
    if (orVcpus !== undefined && seen === formatCpuList(orVcpus)) continue;
    if (seen === planned || (seen === undefined && isOptional)) continue;
    differences.push(
      `the guest sees ${seen === undefined ? 'no' : `vCPUs ${printable(seen)} in`} ${what}, planned are ${planned}`,
    );
  }
  (layout.distances ?? []).forEach((row, node) => {
    const seen = contents.get(`${nodeRoot}/node${node}/distance`)?.trim().replaceAll(/\s+/g, ' ');
    if (seen === row.join(' ')) return;
    differences.push(
      `the guest sees distances '${printable(seen ?? '')}' from NUMA node ${node}, planned are '${row.join(' ')}'`,
    );
  });
  return differences;
}

/**
 * A core, cache or socket is named by all its CPUs alike, so one file of each tells all. Dies are looked at as the
 * level 3 cache they stand for: AMD's way of telling die numbers is not in QEMU 7.2.
 */
function cpuListFiles(layout: Layout): CpuListFile[] {
  const { smp, vcpus, nodes, numa } = layout;
  const groups = (size: number): number[][] =>
    Array.from({ length: vcpus.length / size }, (_, i) =>
      Array.from({ length: size }, (_, j) => i * size + j),
    );
  const perDie = smp.cores * smp.threads;
  const isMirror = numa === 'mirror';
  const ofFirst = (members: number[], file: string, what: string, isOptional = false): CpuListFile => ({
    path: `${cpuRoot}/cpu${members[0]}/${file}`,
    what,
    vcpus: members,
    isOptional,
  });
  return [
    { path: `${cpuRoot}/online`, what: 'all', vcpus: vcpus.map(({ vcpu }) => vcpu), isOptional: false },
    ...nodes.map((node) => ({
      path: `${nodeRoot}/node${node.id}/cpulist`,
      what: `NUMA node ${node.id}`,
      vcpus: node.vcpus,
      isOptional: nodes.length === 1,
    })),
    ...groups(perDie * smp.dies).map((members, i) =>
      ofFirst(members, 'topology/core_siblings_list', `socket ${i}`),
    ),
    ...(isMirror ? groups(perDie) : []).map((members, i) => ({
      ...ofFirst(members, 'cache/index3/shared_cpu_list', `level 3 cache ${i}`, true),
      orVcpus: members.filter((vcpu) => vcpus[vcpu]!.guestNode === vcpus[members[0]!]!.guestNode),
    })),
    ...groups(smp.threads).map((members, i) =>
      ofFirst(members, 'topology/thread_siblings_list', `core ${i}`),
    ),
  ];
}

function comparePins(vcpus: PlacementFound['vcpus'], emulator: PlacementFound['emulator']): string[] {
  const differs = (asked: readonly number[], got: readonly number[]): boolean =>
    asked.length > 0 && formatCpuList(asked) !== formatCpuList(got);
  return [
    ...vcpus
      .filter(({ asked, got }) => differs(asked, got))
      .map(
        ({ vcpu, asked, got }) =>
          `vCPU ${vcpu} may run on CPUs ${formatCpuList(got) || 'unknown'} instead of ${formatCpuList(asked)}`,
      ),
    ...emulator.threads
      .filter(({ got }) => differs(emulator.asked, got))
      .map(
        ({ name, threadId, got }) =>
          `emulator thread ${threadId} (${name}) may run on CPUs ${formatCpuList(got)} instead of ${formatCpuList(emulator.asked)}`,
      ),
  ];
}

/** Threads of the vCPUs, by vCPU. */
async function vcpuThreads(qmp: Qmp, layout: Layout): Promise<number[]> {
  const threads: number[] = [];
  for (const cpu of await qmp.execute('query-cpus-fast')) threads[cpu['cpu-index']] = cpu['thread-id'];
  const isComplete = layout.vcpus.every(
    ({ vcpu }) => Number.isSafeInteger(threads[vcpu]) && threads[vcpu]! > 0,
  );
  // Under single-threaded emulation all vCPUs share one thread, which cannot be in several places.
  if (!isComplete || new Set(threads).size !== layout.vcpus.length) {
    throw new LodgeError(
      'vmm-failed',
      `QEMU has no thread of its own for each of ${layout.vcpus.length} vCPUs`,
    );
  }
  return threads;
}

async function pin(
  options: string[],
  cpus: readonly number[],
  threadId: number,
  layout: Layout,
): Promise<void> {
  const list = formatCpuList(cpus);
  const { code, stderr } = await runProgram(['taskset', ...options, '-c', '-p', list, String(threadId)]);
  // Where pins are only preferred, looking at them afterwards tells the difference.
  if (code === 0 || layout.placement !== 'strict') return;
  throw new LodgeError(
    'placement-unmet',
    `thread ${threadId} of the guest cannot be pinned to CPUs ${list}`,
    {
      detail: stderr.trim(),
    },
  );
}

/** Where the memory of each guest node lies in QEMU's address space. */
async function memoryRanges(qmp: Qmp, layout: Layout): Promise<Map<number, AddressRange>> {
  const tree = await qmp.execute('human-monitor-command', { 'command-line': 'info mtree -f' });
  const ranges = new Map<number, AddressRange>();
  for (const node of layout.nodes) {
    const name = usesMemoryBackends(layout) ? memoryBackendId(node) : 'pc.ram';
    const place = parseMemoryTree(tree, name);
    const answer = await qmp.execute('human-monitor-command', {
      'command-line': `gpa2hva 0x${(place?.guestAddress ?? 0).toString(16)}`,
    });
    const match = /^Host virtual address for 0x[0-9a-f]+ \((.+)\) is 0x([0-9a-f]+)/.exec(answer);
    if (place === undefined || match === null || match[1] !== name) {
      throw new LodgeError('vmm-failed', `QEMU does not tell where the guest's memory '${name}' is`, {
        detail: answer.slice(0, 200),
      });
    }
    const start = Number.parseInt(match[2]!, 16) - place.offset;
    ranges.set(node.id, { start, end: start + node.memoryBytes });
  }
  return ranges;
}

/**
 * Where a memory region of QEMU first appears among the guest's physical addresses, from `info mtree -f`:
 * `  0000000000100000-0000000001ffffff (prio 0, ram): memory0 @0000000000100000`, the offset left out when 0.
 */
export function parseMemoryTree(
  text: string,
  name: string,
): { guestAddress: number; offset: number } | undefined {
  for (const line of text.split('\n')) {
    const match = /^ *([0-9a-f]+)-[0-9a-f]+ \(prio -?\d+, ram\): (\S+)(?: @([0-9a-f]+))?/.exec(line);
    if (match?.[2] !== name) continue;
    return { guestAddress: Number.parseInt(match[1]!, 16), offset: Number.parseInt(match[3] ?? '0', 16) };
  }
  return undefined;
}

function listTasks(pid: number): { threadId: number; name: string; got: number[] }[] {
  let ids: string[];
  try {
    ids = readdirSync(`/proc/${pid}/task`);
  } catch (cause) {
    throw new LodgeError('vmm-failed', 'QEMU ended while it was looked at', { cause });
  }
  return ids.flatMap((id) => {
    const status = readIfThere(`/proc/${pid}/task/${id}/status`);
    // A thread may have ended since.
    return status === undefined ? [] : [{ threadId: Number(id), ...parseTaskStatus(status) }];
  });
}

/** Name and allowed CPUs of a thread. Format of /proc/PID/task/TID/status: proc(5). */
export function parseTaskStatus(text: string): { name: string; got: number[] } {
  const field = (name: string): string => new RegExp(`^${name}:\\t(.*)$`, 'm').exec(text)?.[1] ?? '';
  return { name: field('Name'), got: parseCpuList(field('Cpus_allowed_list')) };
}

function readProcess(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch (cause) {
    throw new LodgeError('vmm-failed', `the memory of QEMU cannot be looked at`, {
      where: `/proc/${pid}/${file}`,
      cause,
    });
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** Text of a guest, for a person's terminal. */
function printable(text: string): string {
  return text.slice(0, 80).replaceAll(/[^\x20-\x7e]/g, '?');
}

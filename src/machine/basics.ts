/** The cheap part of looking at a host: small files of /proc and /sys only, no program started. */

import { parseCpuList } from '../units.ts';
import {
  cgroupCpuQuota,
  cgroupHugePages,
  cgroupMemory,
  cgroupProcesses,
  readCgroupChains,
} from './cgroups.ts';
import {
  chosenWord,
  type Mount,
  meminfoBytes,
  parseCapabilities,
  parseCount,
  parseFields,
  parseMountinfo,
  parseResourceLimit,
  parseSwitch,
} from './kernel-text.ts';
import type {
  CpuSettings,
  HostMemory,
  HugePagePool,
  KvmDevice,
  Limits,
  MachineBasics,
  PageFeatures,
  User,
} from './machine.ts';
import { liveSource, type MachineSource } from './source.ts';

/**
 * Measures what a plan needs that neither pins nor mirrors: who we are, what this job may use, what the kernel
 * gives. Never fails: what cannot be read is left out or taken as not there.
 */
export function probeLimits(source: MachineSource = liveSource()): MachineBasics {
  const status = parseFields(source.readText('/proc/self/status') ?? '');
  const meminfo = parseFields(source.readText('/proc/meminfo') ?? '');
  const mounts = parseMountinfo(source.readText('/proc/self/mountinfo') ?? '');
  // The first processor is enough, and reading the file whole takes milliseconds on a large host.
  const cpuinfo = parseFields(source.readText('/proc/cpuinfo', 2048) ?? '');
  const line = (path: string): string => source.readText(path)?.trim() ?? '';
  const memory = readMemory(source, meminfo);
  const pages = readPages(source, mounts);
  const limits = readLimits(source, status, mounts, memory, pages);
  return {
    hostname: line('/proc/sys/kernel/hostname'),
    kernelRelease: line('/proc/sys/kernel/osrelease'),
    bootId: line('/proc/sys/kernel/random/boot_id'),
    arch: source.arch,
    cpuVendor: cpuinfo.get('vendor_id') ?? '',
    cpuModel: cpuinfo.get('model name') ?? '',
    user: readUser(status),
    limits,
    memory,
    pages,
    kvm: readKvm(source),
    cpuSettings: readCpuSettings(source, limits.allowedCpus[0] ?? 0),
    iommuGroups: source.listDirectory('/sys/kernel/iommu_groups').length,
  };
}

function readUser(status: Map<string, string>): User {
  // Real, effective, saved, file system: the effective one is what files are opened as.
  const effective = (name: string): number => Number(status.get(name)?.split(/\s+/)[1] ?? 0);
  const [uid, gid] = [effective('Uid'), effective('Gid')];
  const others = (status.get('Groups') ?? '').split(/\s+/).filter((word) => word !== '');
  return {
    uid,
    gid,
    groups: [...new Set([gid, ...others.map(Number)])].sort((a, b) => a - b),
    isRoot: uid === 0,
    capabilities: parseCapabilities(status.get('CapEff')),
  };
}

function readMemory(source: MachineSource, meminfo: Map<string, string>): HostMemory {
  const sharedFreeBytes = source.freeBytes('/dev/shm');
  const totalBytes = meminfoBytes(meminfo, 'MemTotal') ?? 0;
  return {
    totalBytes,
    availableBytes: meminfoBytes(meminfo, 'MemAvailable') ?? totalBytes,
    swapTotalBytes: meminfoBytes(meminfo, 'SwapTotal') ?? 0,
    swapFreeBytes: meminfoBytes(meminfo, 'SwapFree') ?? 0,
    ...(sharedFreeBytes === undefined ? {} : { sharedFreeBytes }),
  };
}

function readLimits(
  source: MachineSource,
  status: Map<string, string>,
  mounts: readonly Mount[],
  memory: HostMemory,
  pages: PageFeatures,
): Limits {
  const chains = readCgroupChains(source, mounts);
  const cgroup = cgroupMemory(source, chains.memory);
  const slurm = slurmMemory(source);
  const slurmIsLess = slurm !== undefined && slurm.bytes < (cgroup.limitBytes ?? Number.POSITIVE_INFINITY);
  const memoryBytes = slurmIsLess ? slurm.bytes : cgroup.limitBytes;
  const memoryLimitedBy = slurmIsLess ? slurm.variable : cgroup.limitedBy;
  const processes = cgroupProcesses(source, chains.pids);
  const cpuQuota = cgroupCpuQuota(source, chains.cpu);
  const limitsText = source.readText('/proc/self/limits') ?? '';
  const locked = parseResourceLimit(limitsText, 'Max locked memory');
  const addressSpace = parseResourceLimit(limitsText, 'Max address space').soft;
  const files = parseResourceLimit(limitsText, 'Max open files');
  const slurmJob = source.environment('SLURM_JOB_ID');
  const onlineCpus = parseCpuList(source.readText('/sys/devices/system/cpu/online') ?? '0');
  return {
    allowedCpus: parseCpuList(status.get('Cpus_allowed_list') ?? '0'),
    onlineCpus,
    allowedNumaNodes: parseCpuList(status.get('Mems_allowed_list') ?? '0'),
    ...(cpuQuota === undefined ? {} : { cpuQuota }),
    ...(memoryBytes === undefined ? {} : { memoryBytes }),
    ...(memoryLimitedBy === undefined ? {} : { memoryLimitedBy }),
    availableMemoryBytes: Math.min(
      memory.availableBytes,
      cgroup.leftBytes ?? Number.POSITIVE_INFINITY,
      slurm?.bytes ?? Number.POSITIVE_INFINITY,
    ),
    ...(processes === undefined ? {} : { availableProcesses: processes }),
    hugePages: pages.pools.flatMap(({ pageBytes }) => {
      const limitBytes = cgroupHugePages(source, chains.hugetlb, pageBytes);
      return limitBytes === undefined ? [] : [{ pageBytes, limitBytes }];
    }),
    ...bounded('lockedBytes', locked),
    ...(addressSpace === undefined ? {} : { addressSpaceBytes: addressSpace }),
    ...bounded('openFiles', files),
    ...(slurmJob === undefined ? {} : { slurmJob }),
  };
}

function bounded<Name extends string>(
  name: Name,
  { soft, hard }: { soft: number | undefined; hard: number | undefined },
): { [N in Name]?: { soft: number; hard: number } } {
  if (soft === undefined) return {};
  const value = { soft, hard: hard ?? Number.MAX_SAFE_INTEGER };
  return { [name]: value } as { [N in Name]?: { soft: number; hard: number } };
}

/**
 * What Slurm grants on this host, which it may enforce by killing and not by a cgroup.
 * SLURM_MEM_PER_NODE and SLURM_MEM_PER_CPU are in MiB: srun(1). 0 stands for all of it.
 */
function slurmMemory(source: MachineSource): { bytes: number; variable: string } | undefined {
  const count = (name: string): number | undefined => parseCount(source.environment(name)) || undefined;
  const perNode = count('SLURM_MEM_PER_NODE');
  if (perNode !== undefined) return { bytes: perNode * 2 ** 20, variable: 'SLURM_MEM_PER_NODE' };
  const perCpu = count('SLURM_MEM_PER_CPU');
  const cpus = count('SLURM_CPUS_ON_NODE');
  if (perCpu === undefined || cpus === undefined) return undefined;
  return { bytes: perCpu * cpus * 2 ** 20, variable: 'SLURM_MEM_PER_CPU' };
}

const hugePageDirectory = /^hugepages-(\d+)kB$/;

function readPages(source: MachineSource, mounts: readonly Mount[]): PageFeatures {
  const thp = (file: string): string | undefined =>
    chosenWord(source.readText(`/sys/kernel/mm/transparent_hugepage/${file}`));
  const [enabled, shared, defrag] = [thp('enabled'), thp('shmem_enabled'), thp('defrag')];
  const nodes = source
    .listDirectory('/sys/devices/system/node')
    .map((name) => /^node(\d+)$/.exec(name)?.[1])
    .filter((id) => id !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
  const pools = readPools(source, '/sys/kernel/mm/hugepages');
  return {
    // Every x86-64 kernel has this base page; other architectures have no driver here.
    basePageBytes: 4096,
    transparent: {
      ...(enabled === undefined ? {} : { enabled }),
      ...(shared === undefined ? {} : { shared }),
      ...(defrag === undefined ? {} : { defrag }),
    },
    pools,
    poolsByNumaNode:
      nodes.length === 0
        ? [{ numaNode: 0, pools }]
        : nodes.map((numaNode) => ({
            numaNode,
            pools: readPools(source, `/sys/devices/system/node/node${numaNode}/hugepages`),
          })),
    hugetlbfs: mounts
      .filter((mount) => mount.type === 'hugetlbfs')
      .map(({ path, options }) => ({
        path,
        pageBytes: hugetlbfsPageBytes(options),
        writable: source.access(path).writable,
      })),
  };
}

function readPools(source: MachineSource, directory: string): HugePagePool[] {
  return source
    .listDirectory(directory)
    .flatMap((name) => {
      const match = hugePageDirectory.exec(name);
      if (match === null) return [];
      const count = (file: string): number =>
        parseCount(source.readText(`${directory}/${name}/${file}`)) ?? 0;
      // A reserved page is promised to someone else; only the pool as a whole counts those (not each node).
      const free = count('free_hugepages') - count('resv_hugepages');
      return [{ pageBytes: Number(match[1]) * 1024, total: count('nr_hugepages'), free: Math.max(0, free) }];
    })
    .sort((a, b) => a.pageBytes - b.pageBytes);
}

function hugetlbfsPageBytes(options: readonly string[]): number {
  const match = /^pagesize=(\d+)([KMG])B?$/i.exec(options.find((o) => o.startsWith('pagesize=')) ?? '');
  const factors: Record<string, number> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };
  return match === null ? 2 * 2 ** 20 : Number(match[1]) * factors[match[2]!.toUpperCase()]!;
}

/**
 * The parameters of the kvm modules that bear on speed or on what a guest may do; the rest (forty and more) are
 * left alone, as each costs an open. `kvm` is common to all, the others serve one kind of CPU.
 */
const kvmParameters: Readonly<Record<string, readonly string[]>> = {
  kvm: ['tdp_mmu', 'nx_huge_pages', 'eager_page_split', 'halt_poll_ns'],
  kvm_intel: ['ept', 'nested', 'unrestricted_guest', 'enable_apicv'],
  kvm_amd: ['npt', 'nested', 'avic'],
  kvm_pvm: [],
};

function readKvm(source: MachineSource): KvmDevice {
  const { exists, readable, writable, error } = source.access('/dev/kvm');
  const parameters: Record<string, string> = {};
  let module: string | undefined;
  for (const [name, wanted] of exists ? Object.entries(kvmParameters) : []) {
    const present = source.listDirectory(`/sys/module/${name}/parameters`);
    if (present.length > 0 && name !== 'kvm') module ??= name;
    for (const parameter of wanted.filter((p) => present.includes(p))) {
      const value = source.readText(`/sys/module/${name}/parameters/${parameter}`)?.trim();
      if (value !== undefined) parameters[`${name}.${parameter}`] = value;
    }
  }
  const nestedPaging = parseSwitch(parameters['kvm_intel.ept'] ?? parameters['kvm_amd.npt']);
  return {
    exists,
    readable,
    writable,
    ...(error === undefined ? {} : { error }),
    parameters,
    ...(module === undefined ? {} : { module }),
    ...(nestedPaging === undefined ? {} : { nestedPaging }),
  };
}

function readCpuSettings(source: MachineSource, cpu: number): CpuSettings {
  const cpuDirectory = '/sys/devices/system/cpu';
  const governor = source.readText(`${cpuDirectory}/cpu${cpu}/cpufreq/scaling_governor`)?.trim();
  const noTurbo = parseSwitch(source.readText(`${cpuDirectory}/intel_pstate/no_turbo`));
  const turbo =
    noTurbo === undefined ? parseSwitch(source.readText(`${cpuDirectory}/cpufreq/boost`)) : !noTurbo;
  const smtActive = parseSwitch(source.readText(`${cpuDirectory}/smt/active`));
  const balancing = parseCount(source.readText('/proc/sys/kernel/numa_balancing'));
  return {
    ...(governor === undefined ? {} : { governor }),
    ...(turbo === undefined ? {} : { turbo }),
    ...(smtActive === undefined ? {} : { smtActive }),
    ...(balancing === undefined ? {} : { numaBalancing: balancing !== 0 }),
    isolatedCpus: parseCpuList(source.readText(`${cpuDirectory}/isolated`) ?? ''),
  };
}

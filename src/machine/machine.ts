/**
 * What a host is, as plain values that can be written as JSON and read back: measured by `probe.ts`, used by
 * planning. Nothing here reads anything.
 *
 * CPU numbers are the operating system's (`os_index` of hwloc's PUs, the kernel's `cpuN`), ascending; NUMA nodes
 * go by the kernel's node number. A list of CPUs is never given as a mask.
 */

/** Everything known of a host. */
export interface Machine extends MachineBasics {
  topology: Topology;
  /** Whether this user can make a user namespace with a process-id namespace in it; tried, not looked up. */
  userNamespaces: { usable: boolean; reason: string };
}

/** What a few small files of /proc and /sys tell; enough to plan a guest that is neither pinned nor mirrored. */
export interface MachineBasics {
  hostname: string;
  /** As `uname -r` prints it. */
  kernelRelease: string;
  /** Changes with every boot of the host. */
  bootId: string;
  /** As `uname -m` prints it: `x86_64`. */
  arch: string;
  /** As CPUID tells it: `GenuineIntel`, `AuthenticAMD`. */
  cpuVendor: string;
  cpuModel: string;
  user: User;
  limits: Limits;
  memory: HostMemory;
  pages: PageFeatures;
  kvm: KvmDevice;
  cpuSettings: CpuSettings;
  /** Groups under /sys/kernel/iommu_groups: 0 means that no device can be given to a guest. */
  iommuGroups: number;
}

export interface User {
  uid: number;
  gid: number;
  /** All groups, `gid` among them. */
  groups: number[];
  isRoot: boolean;
  /** Effective capabilities that change what lodge can do, without their `CAP_`: `SYS_ADMIN`, `IPC_LOCK`, … */
  capabilities: string[];
}

/** What this job may use: the share that cgroups, affinity and resource limits leave of the host. */
export interface Limits {
  /** CPUs this process may run on: affinity and cgroup cpusets together. */
  allowedCpus: number[];
  onlineCpus: number[];
  /** NUMA nodes this process may take memory from. */
  allowedNumaNodes: number[];
  /** CPU time per wall time that cgroups allow, in CPUs (2.5 = two and a half); absent when unlimited. */
  cpuQuota?: number;
  /** The least memory limit among this process's cgroups and Slurm's; absent when there is none. */
  memoryBytes?: number;
  /** What sets `memoryBytes`: a cgroup directory, or a variable of Slurm. */
  memoryLimitedBy?: string;
  /** Memory that can be had now: the least of MemAvailable and of what each limit leaves. */
  availableMemoryBytes: number;
  /** Processes and threads that may still be started under the tightest cgroup; absent when unlimited. */
  availableProcesses?: number;
  /** Huge pages that cgroups let this job take, where they limit them. */
  hugePages: { pageBytes: number; limitBytes: number }[];
  /** RLIMIT_MEMLOCK, soft and hard; absent when unlimited. VFIO and locked guests need it. */
  lockedBytes?: { soft: number; hard: number };
  /** RLIMIT_AS, soft; absent when unlimited. */
  addressSpaceBytes?: number;
  /** RLIMIT_NOFILE, soft and hard. */
  openFiles?: { soft: number; hard: number };
  /** The Slurm job this process is part of. */
  slurmJob?: string;
}

export interface HostMemory {
  totalBytes: number;
  availableBytes: number;
  swapTotalBytes: number;
  swapFreeBytes: number;
  /** Free space of /dev/shm, where memory that guests share with processes lies; absent when not mounted. */
  sharedFreeBytes?: number;
}

/** How the host gives pages larger than its base page. */
export interface PageFeatures {
  basePageBytes: number;
  transparent: {
    /** `always`, `madvise` or `never`; absent when the kernel has none. */
    enabled?: string;
    /** The same for shared memory (memfd, tmpfs). */
    shared?: string;
    defrag?: string;
  };
  /** Reserved pools, by page size, over all NUMA nodes. */
  pools: HugePagePool[];
  /** The pools again, for each NUMA node. */
  poolsByNumaNode: { numaNode: number; pools: HugePagePool[] }[];
  hugetlbfs: { path: string; pageBytes: number; writable: boolean }[];
}

export interface HugePagePool {
  pageBytes: number;
  /** In pages, not bytes. */
  total: number;
  free: number;
}

export interface KvmDevice {
  exists: boolean;
  readable: boolean;
  writable: boolean;
  /** Why it could not be opened: an errno name such as `EACCES`. */
  error?: string;
  /** Parameters of the kvm modules that bear on speed or abilities, named `module.parameter`: `kvm_intel.ept`. */
  parameters: Record<string, string>;
  /** Loaded module that serves the CPU: `kvm_intel`, `kvm_amd`, or another. */
  module?: string;
  /** Two-dimensional page tables (EPT or NPT); absent when the module does not tell. */
  nestedPaging?: boolean;
}

export interface CpuSettings {
  /** cpufreq governor of the first allowed CPU: `performance`, `schedutil`, …; absent without cpufreq. */
  governor?: string;
  /** Whether the CPU may go above its nominal frequency; absent when the kernel does not tell. */
  turbo?: boolean;
  /** Simultaneous multithreading in use. */
  smtActive?: boolean;
  /** The kernel moves pages between NUMA nodes by itself. */
  numaBalancing?: boolean;
  /** CPUs kept free of the scheduler (`isolcpus`). */
  isolatedCpus: number[];
}

/** The whole host, as hwloc tells it, parts that this job may not use included (see {@link Limits}). */
export interface Topology {
  packages: Package[];
  numaNodes: NumaNode[];
  cores: Core[];
  caches: Cache[];
}

export interface Package {
  /** Socket number. */
  id: number;
  cpus: number[];
}

export interface NumaNode {
  id: number;
  memoryBytes: number;
  /** CPUs it is local to; empty for memory that hangs on no CPU. */
  cpus: number[];
  /** To every node of {@link Topology.numaNodes}, in their order, as ACPI's SLIT gives them: 10 is itself. */
  distances: number[];
  hugePages: HugePagePool[];
}

export interface Core {
  socket: number;
  /** Die within the socket; 0 when hwloc sees no dies. */
  die: number;
  /** The nearest NUMA node, the lowest where there are several as near (HBM beside DRAM). */
  numaNode: number;
  /** The core's number, unique only within its die or socket. */
  coreId: number;
  /** Its hardware threads. */
  pus: number[];
}

export interface Cache {
  level: number;
  kind: 'unified' | 'data' | 'instruction';
  bytes: number;
  /** CPUs that share it. */
  cpus: number[];
}

/** CPUs of a host that this job may use, in ascending order. */
export function usableCpus(limits: Limits): number[] {
  const online = new Set(limits.onlineCpus);
  return limits.allowedCpus.filter((cpu) => online.has(cpu));
}

/** The cores this job may use, each with the threads of it that it may use; cores with none are left out. */
export function usableCores(machine: Pick<Machine, 'limits' | 'topology'>): Core[] {
  const usable = new Set(usableCpus(machine.limits));
  return machine.topology.cores
    .map((core) => ({ ...core, pus: core.pus.filter((cpu) => usable.has(cpu)) }))
    .filter((core) => core.pus.length > 0);
}

/** The last-level cache that a CPU has a share in. */
export function lastLevelCache(topology: Topology, cpu: number): Cache | undefined {
  return topology.caches
    .filter((cache) => cache.kind !== 'instruction' && cache.cpus.includes(cpu))
    .sort((a, b) => b.level - a.level)[0];
}

/**
 * What the control groups of this process leave it, in version 1 and version 2 hierarchies and mixtures of both.
 *
 * A limit may be set at any level above a process, so every directory from its own up to the root of the mount is
 * read and the least counts. Formats: cgroups(7), cgroup-v1/memory.rst and cgroup-v2.rst of Linux.
 */

import { type Mount, parseCount, parseFields, parseMountinfo } from './kernel-text.ts';
import type { MachineSource } from './source.ts';

/** Limits above this are the kernel's way to say "none" in version 1 (2^63 rounded down to pages). */
const unlimitedBytes = 2 ** 60;

export interface CgroupMemory {
  /** The least limit; absent when there is none. */
  limitBytes?: number;
  /** The directory of the cgroup that sets it. */
  limitedBy?: string;
  /** What the tightest cgroup leaves now, page cache it would give up counted as free; absent without a limit. */
  leftBytes?: number;
}

/** The directories a controller's limits are set in, from this process's own upwards. */
export interface CgroupChain {
  version: 1 | 2;
  directories: string[];
}

/**
 * The cgroup directories of this process that a controller's files are found in.
 * @param cgroup text of /proc/self/cgroup
 * @param mounts of /proc/self/mountinfo
 * @param controller `memory`, `pids`, `cpu`, `hugetlb`
 */
export function cgroupChain(
  cgroup: string,
  mounts: readonly Mount[],
  controller: string,
): CgroupChain | undefined {
  const memberships = cgroup
    .split('\n')
    .map((line) => /^\d+:([^:]*):(.*)$/.exec(line))
    .filter((match) => match !== null);
  const first = memberships.find((match) => match[1]!.split(',').includes(controller));
  if (first !== undefined) {
    const mount = mounts.find((m) => m.type === 'cgroup' && m.options.includes(controller));
    if (mount !== undefined) return { version: 1, directories: upwards(mount, first[2]!) };
  }
  const unified = memberships.find((match) => match[1] === '');
  const mount = mounts.find((m) => m.type === 'cgroup2');
  if (unified === undefined || mount === undefined) return undefined;
  return { version: 2, directories: upwards(mount, unified[2]!) };
}

/** From a process's directory up to its mount's; the mount may show only a part of the hierarchy (containers). */
function upwards(mount: Mount, path: string): string[] {
  const inMount =
    mount.root === '/' ? path : path.startsWith(`${mount.root}/`) ? path.slice(mount.root.length) : '/';
  const names = inMount.split('/').filter((name) => name !== '' && name !== '..');
  const directories: string[] = [];
  for (let depth = names.length; depth >= 0; depth--) {
    directories.push([mount.path, ...names.slice(0, depth)].join('/'));
  }
  return directories;
}

/** The memory limits of this process's cgroups. */
export function cgroupMemory(source: MachineSource, chain: CgroupChain | undefined): CgroupMemory {
  const result: CgroupMemory = {};
  for (const directory of chain?.directories ?? []) {
    const limit = memoryLimit(source, chain!.version, directory);
    if (limit === undefined) continue;
    if (result.limitBytes === undefined || limit < result.limitBytes) {
      result.limitBytes = limit;
      result.limitedBy = directory;
    }
    const left = Math.max(0, limit - memoryHeld(source, chain!.version, directory));
    result.leftBytes = Math.min(result.leftBytes ?? left, left);
  }
  return result;
}

function memoryLimit(source: MachineSource, version: 1 | 2, directory: string): number | undefined {
  // A cgroup above memory.high is throttled to a crawl, so for planning it is as hard as memory.max.
  const files = version === 1 ? ['memory.limit_in_bytes'] : ['memory.max', 'memory.high'];
  const limits = files
    .map((file) => parseCount(source.readText(`${directory}/${file}`)))
    .filter((limit) => limit !== undefined && limit < unlimitedBytes);
  return limits.length === 0 ? undefined : Math.min(...(limits as number[]));
}

/** Memory a cgroup holds that it cannot give up: its usage without the page cache that is not in use. */
function memoryHeld(source: MachineSource, version: 1 | 2, directory: string): number {
  const [usageFile, cacheField] =
    version === 1 ? ['memory.usage_in_bytes', 'total_inactive_file'] : ['memory.current', 'inactive_file'];
  const usage = parseCount(source.readText(`${directory}/${usageFile}`)) ?? 0;
  const statistics = source.readText(`${directory}/memory.stat`)?.replaceAll(' ', ':') ?? '';
  return Math.max(0, usage - (parseCount(parseFields(statistics).get(cacheField!)) ?? 0));
}

/** Processes that may still be started; undefined when nothing limits them. */
export function cgroupProcesses(source: MachineSource, chain: CgroupChain | undefined): number | undefined {
  let available: number | undefined;
  for (const directory of chain?.directories ?? []) {
    const limit = parseCount(source.readText(`${directory}/pids.max`));
    if (limit === undefined) continue;
    const left = Math.max(0, limit - (parseCount(source.readText(`${directory}/pids.current`)) ?? 0));
    available = Math.min(available ?? left, left);
  }
  return available;
}

/** CPU time per wall time, in CPUs; undefined when nothing limits it. */
export function cgroupCpuQuota(source: MachineSource, chain: CgroupChain | undefined): number | undefined {
  let quota: number | undefined;
  for (const directory of chain?.directories ?? []) {
    const words =
      chain!.version === 2
        ? (source.readText(`${directory}/cpu.max`) ?? '').trim().split(' ')
        : ['cpu.cfs_quota_us', 'cpu.cfs_period_us'].map((file) => source.readText(`${directory}/${file}`));
    const [quotaUs, periodUs] = words.map(parseCount);
    if (quotaUs === undefined || periodUs === undefined || periodUs === 0) continue;
    quota = Math.min(quota ?? Number.POSITIVE_INFINITY, quotaUs / periodUs);
  }
  return quota;
}

/** Bytes of huge pages of one size that cgroups allow; undefined when nothing limits them. */
export function cgroupHugePages(
  source: MachineSource,
  chain: CgroupChain | undefined,
  pageBytes: number,
): number | undefined {
  const size = pageBytes >= 2 ** 30 ? `${pageBytes / 2 ** 30}GB` : `${pageBytes / 2 ** 20}MB`;
  let limit: number | undefined;
  for (const directory of chain?.directories ?? []) {
    const file = chain!.version === 1 ? `hugetlb.${size}.limit_in_bytes` : `hugetlb.${size}.max`;
    const bytes = parseCount(source.readText(`${directory}/${file}`));
    if (bytes !== undefined && bytes < unlimitedBytes) limit = Math.min(limit ?? bytes, bytes);
  }
  return limit;
}

/** Reads which cgroups this process is in, for each controller that can limit a guest. */
export function readCgroupChains(
  source: MachineSource,
  mounts: readonly Mount[] = parseMountinfo(source.readText('/proc/self/mountinfo') ?? ''),
): Record<'memory' | 'pids' | 'cpu' | 'hugetlb', CgroupChain | undefined> {
  const cgroup = source.readText('/proc/self/cgroup') ?? '';
  return {
    memory: cgroupChain(cgroup, mounts, 'memory'),
    pids: cgroupChain(cgroup, mounts, 'pids'),
    cpu: cgroupChain(cgroup, mounts, 'cpu'),
    hugetlb: cgroupChain(cgroup, mounts, 'hugetlb'),
  };
}

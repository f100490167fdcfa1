/** A guest's memory as the host's kernel tells of it, against what was planned. Pure: texts in, findings out. */

import { formatCpuList, formatSize } from '../units.ts';
import type { GuestNode, Layout } from './layout.ts';
import { hugetlbPageBytes } from './layout-memory.ts';

/** A stretch of a process's addresses; the end is not part of it. Addresses on x86-64 are exact as numbers. */
export interface AddressRange {
  start: number;
  end: number;
}

/** One line of /proc/PID/numa_maps. Format: Documentation/filesystems/proc.rst and numa_maps(5). */
export interface NumaMapping {
  start: number;
  /** `default`, `bind:0`, `prefer:1`, `interleave:0-1`, … */
  policy: string;
  pageBytes: number;
  /** Pages in memory, of `pageBytes` each, by NUMA node. */
  pagesByNode: { node: number; pages: number }[];
}

/** One mapping of /proc/PID/smaps, as far as it tells of pages. Format: Documentation/filesystems/proc.rst. */
export interface SmapsMapping extends AddressRange {
  name: string;
  kernelPageBytes: number;
  residentBytes: number;
  /** Of these, in transparent huge pages: anonymous ones, and those of shared memory. */
  transparentBytes: number;
  /** In hugetlb pages, which `residentBytes` leaves out. */
  hugetlbBytes: number;
  /** Whether the kernel may use transparent huge pages here; absent in kernels that do not tell. */
  transparentAllowed?: boolean;
}

/** What was found of one guest node's memory. */
export interface MemoryFound {
  node: number;
  /** For people: what it is, what was asked of it, what was found. */
  what: string;
  asked: string;
  found: string;
  policy?: string;
  /** Size of the pages of its mapping; transparent huge pages are counted apart. */
  kernelPageBytes?: number;
  residentBytes: number;
  transparentBytes: number;
  hugetlbBytes: number;
  transparentAllowed?: boolean;
  bytesByHostNode: { hostNode: number; bytes: number }[];
}

export function parseNumaMaps(text: string): NumaMapping[] {
  return text.split('\n').flatMap((line) => {
    const [address, policy, ...fields] = line.split(' ');
    if (address === undefined || policy === undefined || !/^[0-9a-f]+$/.test(address)) return [];
    const pagesByNode = fields.flatMap((field) => {
      const match = /^N(\d+)=(\d+)$/.exec(field);
      return match === null ? [] : [{ node: Number(match[1]), pages: Number(match[2]) }];
    });
    const size = fields.find((field) => field.startsWith('kernelpagesize_kB='));
    return [
      {
        start: Number.parseInt(address, 16),
        policy,
        // The kernel leaves the size out for mappings of which nothing is in memory.
        pageBytes: size === undefined ? 4096 : Number(size.slice('kernelpagesize_kB='.length)) * 1024,
        pagesByNode,
      },
    ];
  });
}

export function parseSmaps(text: string): SmapsMapping[] {
  const mappings: SmapsMapping[] = [];
  for (const line of text.split('\n')) {
    const head = /^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+ *(.*)$/.exec(line);
    if (head !== null) {
      mappings.push({
        start: Number.parseInt(head[1]!, 16),
        end: Number.parseInt(head[2]!, 16),
        name: head[3]!,
        kernelPageBytes: 0,
        residentBytes: 0,
        transparentBytes: 0,
        hugetlbBytes: 0,
      });
      continue;
    }
    const field = /^(\w+): +(\d+)/.exec(line);
    const mapping = mappings.at(-1);
    if (field !== null && mapping !== undefined) takeSmapsField(mapping, field[1]!, Number(field[2]));
  }
  return mappings;
}

/** @param value in KiB, or the 0 or 1 of a flag */
function takeSmapsField(mapping: SmapsMapping, name: string, value: number): void {
  switch (name) {
    case 'KernelPageSize':
      mapping.kernelPageBytes = value * 1024;
      break;
    case 'Rss':
      mapping.residentBytes = value * 1024;
      break;
    case 'AnonHugePages':
    case 'ShmemPmdMapped':
      mapping.transparentBytes += value * 1024;
      break;
    case 'Shared_Hugetlb':
    case 'Private_Hugetlb':
      mapping.hugetlbBytes += value * 1024;
      break;
    case 'THPeligible':
      mapping.transparentAllowed = value !== 0;
      break;
  }
}

/**
 * Finds one guest node's memory in what the kernel tells of the process.
 * @param range where it lies in the process; it may be in several mappings
 * @param numaMaps undefined when the kernel has no NUMA support
 */
export function findMemory(
  node: GuestNode,
  layout: Layout,
  range: AddressRange,
  smaps: readonly SmapsMapping[],
  numaMaps: readonly NumaMapping[] | undefined,
): MemoryFound {
  const mappings = smaps.filter((mapping) => mapping.start < range.end && mapping.end > range.start);
  const starts = new Set(mappings.map((mapping) => mapping.start));
  const placed = (numaMaps ?? []).filter((mapping) => starts.has(mapping.start));
  const byHostNode = new Map<number, number>();
  for (const { pageBytes, pagesByNode } of placed) {
    for (const { node: hostNode, pages } of pagesByNode) {
      byHostNode.set(hostNode, (byHostNode.get(hostNode) ?? 0) + pages * pageBytes);
    }
  }
  const sum = (pick: (mapping: SmapsMapping) => number): number =>
    mappings.reduce((total, mapping) => total + pick(mapping), 0);
  const policies = [...new Set(placed.map((mapping) => mapping.policy))];
  const flags = mappings.flatMap((mapping) => mapping.transparentAllowed ?? []);
  const facts = {
    ...(policies.length === 0 ? {} : { policy: policies.join(' and ') }),
    ...(mappings.length === 0
      ? {}
      : { kernelPageBytes: Math.min(...mappings.map((mapping) => mapping.kernelPageBytes)) }),
    residentBytes: sum((mapping) => mapping.residentBytes),
    transparentBytes: sum((mapping) => mapping.transparentBytes),
    hugetlbBytes: sum((mapping) => mapping.hugetlbBytes),
    ...(flags.length === 0 ? {} : { transparentAllowed: flags.some((isAllowed) => isAllowed) }),
    bytesByHostNode: [...byHostNode]
      .map(([hostNode, bytes]) => ({ hostNode, bytes }))
      .sort((a, b) => a.hostNode - b.hostNode),
  };
  return {
    node: node.id,
    what: `memory ${node.id}`,
    asked: describeAsked(node, layout),
    found: describeFound(facts),
    ...facts,
  };
}

/** In what found memory differs from the plan: in its pages, and in the NUMA node it lies on. */
export function compareMemory(
  node: GuestNode,
  layout: Layout,
  found: MemoryFound,
): { pages: string[]; placement: string[] } {
  return { pages: comparePages(node, layout, found), placement: compareNode(node, layout, found) };
}

function comparePages(node: GuestNode, layout: Layout, found: MemoryFound): string[] {
  const { host } = layout.pages;
  const what = `memory of guest node ${node.id}`;
  if (found.kernelPageBytes === undefined)
    return host === 'any' ? [] : [`${what} was not found in the process`];
  const pageBytes = hugetlbPageBytes(host);
  if (pageBytes !== undefined) {
    if (found.kernelPageBytes !== pageBytes)
      return [`${what} is in pages of ${formatSize(found.kernelPageBytes)}`];
    return found.hugetlbBytes < node.memoryBytes
      ? [`${what} has ${formatSize(found.hugetlbBytes)} of ${formatSize(node.memoryBytes)} in huge pages`]
      : [];
  }
  if (host === '4K') {
    const isLarge = found.kernelPageBytes !== 4096 || found.transparentBytes > 0;
    return isLarge || found.transparentAllowed === true
      ? [`${what} ${isLarge ? 'is' : 'may come to be'} in pages larger than 4K`]
      : [];
  }
  if (host === 'thp') {
    // A tail of less than a huge page cannot be in one.
    const wantedBytes = layout.preallocate ? node.memoryBytes - (node.memoryBytes % 2 ** 21) : 0;
    if (found.transparentAllowed === false) return [`${what} may not be in transparent huge pages`];
    if (found.transparentBytes >= wantedBytes) return [];
    return [
      `${what} has ${formatSize(found.transparentBytes)} of ${formatSize(wantedBytes)} in transparent huge pages`,
    ];
  }
  return [];
}

function compareNode({ id, hostNode }: GuestNode, layout: Layout, found: MemoryFound): string[] {
  if (hostNode === undefined) return [];
  const what = `memory of guest node ${id}`;
  if (found.policy === undefined)
    return [`where ${what} lies cannot be seen: the kernel shows no numa_maps of it`];
  const away = found.bytesByHostNode.filter((entry) => entry.hostNode !== hostNode);
  const differences = away.map(
    (entry) => `${what} has ${formatSize(entry.bytes)} on NUMA node ${entry.hostNode} instead of ${hostNode}`,
  );
  if (layout.placement === 'strict' && found.policy !== `bind:${hostNode}`) {
    differences.push(`${what} has the policy '${found.policy}' instead of 'bind:${hostNode}'`);
  }
  return differences;
}

function describeAsked({ memoryBytes, hostNode }: GuestNode, { pages }: Layout): string {
  const place = hostNode === undefined ? '' : ` on NUMA node ${hostNode}`;
  return `${formatSize(memoryBytes)}${pages.host === 'any' ? '' : ` in ${pages.host} pages`}${place}`;
}

function describeFound(found: Omit<MemoryFound, 'node' | 'what' | 'asked' | 'found'>): string {
  if (found.kernelPageBytes === undefined) return 'not found';
  const parts = [
    ...(found.hugetlbBytes > 0
      ? [`${formatSize(found.hugetlbBytes)} in ${formatSize(found.kernelPageBytes)} pages`]
      : []),
    ...(found.transparentBytes > 0
      ? [`${formatSize(found.transparentBytes)} in transparent huge pages`]
      : []),
  ];
  const smallBytes = found.residentBytes - found.transparentBytes;
  if (smallBytes > 0) parts.push(`${formatSize(smallBytes)} in ${formatSize(found.kernelPageBytes)} pages`);
  if (parts.length === 0) parts.push('nothing taken yet');
  const nodes = found.bytesByHostNode.map(({ hostNode }) => hostNode);
  if (nodes.length > 0) parts.push(`on NUMA node ${formatCpuList(nodes)}`);
  return parts.join(', ');
}

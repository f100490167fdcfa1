/** Machines for the tests of layouts: made to measure, and at random. */

import fc from 'fast-check';
import type { Cache, Core, Machine, NumaNode } from '../../src/machine/machine.ts';

export interface MachineShape {
  sockets: number;
  nodesPerSocket: number;
  cachesPerNode: number;
  coresPerCache: number;
  threads: number;
  memoryPerNodeBytes: number;
  /** Free pages of 2 MiB in each node's pool; the last number goes for the nodes that are left. */
  hugePages2M: readonly number[];
  transparent: string;
  vendor: string;
  /** CPUs that the job may not use. */
  forbiddenCpus: readonly number[];
}

export const twoSockets: MachineShape = {
  sockets: 2,
  nodesPerSocket: 1,
  cachesPerNode: 1,
  coresPerCache: 4,
  threads: 1,
  memoryPerNodeBytes: 12 * 2 ** 30,
  hugePages2M: [0],
  transparent: 'madvise',
  vendor: 'GenuineIntel',
  forbiddenCpus: [],
};

/** A host of equal parts. Hardware threads are numbered as firmware does: first one thread of every core. */
export function machineOf(changes: Partial<MachineShape> = {}): Machine {
  const shape = { ...twoSockets, ...changes };
  const nodeCount = shape.sockets * shape.nodesPerSocket;
  const coresPerNode = shape.cachesPerNode * shape.coresPerCache;
  const coreCount = nodeCount * coresPerNode;
  const cores: Core[] = [];
  const caches: Cache[] = [];
  for (let i = 0; i < coreCount; i++) {
    const numaNode = Math.floor(i / coresPerNode);
    const pus = Array.from({ length: shape.threads }, (_, thread) => i + thread * coreCount);
    cores.push({ socket: Math.floor(numaNode / shape.nodesPerSocket), die: 0, numaNode, coreId: i, pus });
    caches.push({ level: 2, kind: 'unified', bytes: 2 ** 20, cpus: pus });
    if (i % shape.coresPerCache === 0) caches.push({ level: 3, kind: 'unified', bytes: 2 ** 24, cpus: [] });
    caches
      .filter((cache) => cache.level === 3)
      .at(-1)!
      .cpus.push(...pus);
  }
  const allCpus = cores.flatMap((core) => core.pus).sort((a, b) => a - b);
  const numaNodes: NumaNode[] = Array.from({ length: nodeCount }, (_, id) => ({
    id,
    memoryBytes: shape.memoryPerNodeBytes,
    cpus: cores.filter((core) => core.numaNode === id).flatMap((core) => core.pus),
    distances: Array.from({ length: nodeCount }, (_, to) => {
      if (to === id) return 10;
      return Math.floor(to / shape.nodesPerSocket) === Math.floor(id / shape.nodesPerSocket) ? 12 : 21;
    }),
    hugePages: [],
  }));
  const poolsByNumaNode = numaNodes.map(({ id }) => {
    const pages = shape.hugePages2M[Math.min(id, shape.hugePages2M.length - 1)] ?? 0;
    return { numaNode: id, pools: [{ pageBytes: 2 ** 21, total: pages, free: pages }] };
  });
  const memoryBytes = nodeCount * shape.memoryPerNodeBytes;
  return {
    hostname: 'n01',
    kernelRelease: '6.1.0',
    bootId: '0',
    arch: 'x86_64',
    cpuVendor: shape.vendor,
    cpuModel: 'made to measure',
    user: { uid: 1000, gid: 1000, groups: [1000], isRoot: false, capabilities: [] },
    limits: {
      allowedCpus: allCpus.filter((cpu) => !shape.forbiddenCpus.includes(cpu)),
      onlineCpus: allCpus,
      allowedNumaNodes: numaNodes.map(({ id }) => id),
      availableMemoryBytes: memoryBytes,
      hugePages: [],
    },
    memory: {
      totalBytes: memoryBytes,
      availableBytes: memoryBytes,
      swapTotalBytes: 0,
      swapFreeBytes: 0,
    },
    pages: {
      basePageBytes: 4096,
      transparent: { enabled: shape.transparent },
      pools: [],
      poolsByNumaNode,
      hugetlbfs: [],
    },
    kvm: { exists: true, readable: true, writable: true, parameters: {} },
    cpuSettings: { isolatedCpus: [] },
    iommuGroups: 0,
    topology: {
      packages: Array.from({ length: shape.sockets }, (_, id) => ({
        id,
        cpus: cores.filter((core) => core.socket === id).flatMap((core) => core.pus),
      })),
      numaNodes,
      cores,
      caches,
    },
    userNamespaces: { usable: true, reason: '' },
  };
}

/** Machines of all kinds, of up to 64 CPUs, some of which the job may not use. */
export const anyMachine: fc.Arbitrary<Machine> = fc
  .record({
    sockets: fc.integer({ min: 1, max: 3 }),
    nodesPerSocket: fc.integer({ min: 1, max: 3 }),
    cachesPerNode: fc.integer({ min: 1, max: 2 }),
    coresPerCache: fc.integer({ min: 1, max: 4 }),
    threads: fc.integer({ min: 1, max: 2 }),
    memoryPerNodeBytes: fc.integer({ min: 1, max: 16 }).map((gib) => gib * 2 ** 30),
    hugePages2M: fc.array(fc.integer({ min: 0, max: 2048 }), { minLength: 1, maxLength: 9 }),
    transparent: fc.constantFrom('always', 'madvise', 'never'),
    vendor: fc.constantFrom('GenuineIntel', 'AuthenticAMD'),
    forbiddenCpus: fc.array(fc.integer({ min: 0, max: 70 }), { maxLength: 12 }),
    forbiddenNode: fc.option(fc.integer({ min: 0, max: 8 }), { nil: undefined }),
  })
  .map(({ forbiddenNode, ...shape }) => {
    const machine = machineOf(shape);
    const nodes = machine.limits.allowedNumaNodes.filter((id) => id !== forbiddenNode);
    if (nodes.length > 0) machine.limits.allowedNumaNodes = nodes;
    return machine;
  })
  .filter((machine) => machine.limits.allowedCpus.length > 0);

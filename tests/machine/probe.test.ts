import { describe, expect, it } from 'vitest';
import { probeLimits } from '../../src/machine/basics.ts';
import { parseTopologyXml } from '../../src/machine/hwloc.ts';
import { lastLevelCache, usableCores, usableCpus } from '../../src/machine/machine.ts';
import { probeMachine, probeTopology } from '../../src/machine/probe.ts';
import { machineNames, recorded, sourceOf } from './recorded.ts';

const GiB = 2 ** 30;

describe.each(machineNames)('%s', (name) => {
  it('is a machine whose parts agree', async () => {
    const machine = await probeMachine(recorded(name));
    const { topology } = machine;
    const cpus = topology.cores.flatMap((core) => core.pus);
    expect(new Set(cpus).size).toBe(cpus.length);
    expect(cpus.toSorted((a, b) => a - b)).toEqual(machine.limits.onlineCpus);
    expect(topology.packages.flatMap((p) => p.cpus).length).toBe(cpus.length);
    for (const [row, node] of topology.numaNodes.entries()) {
      expect(node.distances).toHaveLength(topology.numaNodes.length);
      expect(node.distances[row]).toBe(10);
      expect(node.memoryBytes).toBeGreaterThan(GiB);
      for (const core of topology.cores.filter((c) => c.numaNode === node.id)) {
        expect(node.cpus).toEqual(expect.arrayContaining(core.pus));
      }
    }
    for (const cpu of cpus) expect(lastLevelCache(topology, cpu)?.level).toBe(3);
    expect(JSON.parse(JSON.stringify(machine))).toEqual(machine);
  });
});

describe('topologies', () => {
  it('has the threads of a laptop', async () => {
    const { cores, packages } = await probeTopology(recorded('laptop'));
    expect(packages).toHaveLength(1);
    expect(cores.map((core) => core.pus)).toEqual([
      [0, 4],
      [1, 5],
      [2, 6],
      [3, 7],
    ]);
  });

  it('has two sockets, their distances and shared caches', async () => {
    const { cores, numaNodes, caches } = await probeTopology(recorded('two-socket-smt'));
    expect(cores).toHaveLength(32);
    expect(numaNodes.map((node) => node.distances)).toEqual([
      [10, 21],
      [21, 10],
    ]);
    expect(cores[16]).toEqual({ socket: 1, die: 0, numaNode: 1, coreId: 16, pus: [16, 48] });
    const l3 = caches.filter((cache) => cache.level === 3);
    expect(l3.map((cache) => cache.cpus.length)).toEqual([32, 32]);
    expect(caches.filter((cache) => cache.level === 2)[0]).toEqual({
      level: 2,
      kind: 'unified',
      bytes: 2 ** 20,
      cpus: [0, 32],
    });
  });

  it('has the dies, nodes and halves of an EPYC', async () => {
    const { cores, numaNodes, caches } = await probeTopology(recorded('epyc-eight-numa'));
    expect(numaNodes).toHaveLength(8);
    expect(numaNodes[0]?.distances).toEqual([10, 16, 16, 16, 28, 28, 22, 28]);
    expect(new Set(cores.map((core) => `${core.socket}.${core.die}`)).size).toBe(8);
    expect(caches.filter((cache) => cache.level === 3)).toHaveLength(16);
    expect(numaNodes[6]?.hugePages).toEqual([
      { pageBytes: 2 ** 21, total: 512, free: 512 },
      { pageBytes: GiB, total: 1, free: 1 },
    ]);
    expect(numaNodes[7]?.hugePages[0]).toEqual({ pageBytes: 2 ** 21, total: 0, free: 0 });
  });

  it('has the clusters within sockets', async () => {
    const { cores, numaNodes } = await probeTopology(recorded('sub-numa'));
    expect(numaNodes.map((node) => node.cpus.length)).toEqual([12, 12, 12, 12]);
    expect(numaNodes[1]?.distances).toEqual([12, 10, 21, 21]);
    expect(cores.filter((core) => core.socket === 1).map((core) => core.numaNode)).toEqual([
      ...Array(12).fill(2),
      ...Array(12).fill(3),
    ]);
  });

  it('takes threads for cores where cores are hidden, and ten and twenty for distances not told', async () => {
    const xml = `<?xml version="1.0"?><!DOCTYPE topology SYSTEM "hwloc2.dtd"><topology version="2.0">
      <object type="Machine" os_index="0" cpuset="0x3" nodeset="0x3">
        <object type="NUMANode" os_index="0" cpuset="0x1" nodeset="0x1" gp_index="7" local_memory="100"/>
        <object type="NUMANode" os_index="1" cpuset="0x2" nodeset="0x2" gp_index="9" local_memory="200"/>
        <object type="PU" os_index="0" cpuset="0x1" nodeset="0x1"/>
        <object type="PU" os_index="1" cpuset="0x2" nodeset="0x2"/></object></topology>`;
    const topology = await parseTopologyXml(xml);
    expect(topology.cores.map((core) => core.pus)).toEqual([[0], [1]]);
    expect(topology.cores.map((core) => core.numaNode)).toEqual([0, 1]);
    expect(topology.packages).toEqual([{ id: 0, cpus: [0, 1] }]);
    expect(topology.numaNodes.map((node) => node.distances)).toEqual([
      [10, 20],
      [20, 10],
    ]);
    const withDistances = xml.replace(
      '</topology>',
      `<distances2 type="NUMANode" nbobjs="2" kind="5" indexing="gp"><indexes length="4">9 </indexes>
       <indexes length="4">7 </indexes><u64values length="4">10 31</u64values><u64values length="4">32 10</u64values>
       </distances2></topology>`,
    );
    expect((await parseTopologyXml(withDistances)).numaNodes.map((node) => node.distances)).toEqual([
      [10, 32],
      [31, 10],
    ]);
  });

  it.each([
    '',
    'not xml',
    '<topology version="2.0"/>',
    '<topology><object type="Machine" cpuset="0x1"/></topology>',
  ])('refuses %j', async (xml) => {
    await expect(parseTopologyXml(xml)).rejects.toMatchObject({ code: 'machine-probe' });
  });

  it('says what to install without hwloc', async () => {
    await expect(probeTopology(sourceOf({}))).rejects.toMatchObject({
      code: 'missing-program',
      fix: 'apt-get install hwloc-nox',
    });
  });
});

describe('a confined job', () => {
  it('sees its share of the machine', async () => {
    const machine = await probeMachine(recorded('confined-job'));
    expect(machine.limits).toEqual({
      allowedCpus: [4, 5, 6, 7, 8, 9, 10, 11, 36, 37, 38, 39, 40, 41, 42],
      onlineCpus: Array.from({ length: 64 }, (_, cpu) => cpu),
      allowedNumaNodes: [0],
      cpuQuota: 8,
      memoryBytes: 16 * GiB,
      memoryLimitedBy: '/sys/fs/cgroup/system.slice/slurmstepd.scope/job_4711',
      availableMemoryBytes: 14 * GiB,
      availableProcesses: 4000,
      hugePages: [{ pageBytes: 2 ** 21, limitBytes: 4 * GiB }],
      openFiles: { soft: 1024, hard: 1048576 },
      slurmJob: '4711',
    });
    expect(usableCpus(machine.limits)).toHaveLength(15);
    const cores = usableCores(machine);
    expect(cores).toHaveLength(8);
    expect(cores.at(-1)).toMatchObject({ socket: 0, numaNode: 0, pus: [11] });
    expect(machine.kvm).toMatchObject({ exists: true, writable: false, error: 'EPERM' });
  });
});

describe('the cheap probe', () => {
  it("takes Slurm's memory where no cgroup limits it", () => {
    const source = {
      ...sourceOf({ '/proc/meminfo': 'MemTotal: 67108864 kB\nMemAvailable: 60000000 kB\n' }),
      environment: (name: string) =>
        ({ SLURM_MEM_PER_CPU: '2048', SLURM_CPUS_ON_NODE: '4', SLURM_MEM_PER_NODE: '0' })[name],
    };
    expect(probeLimits(source).limits).toMatchObject({
      memoryBytes: 8 * GiB,
      memoryLimitedBy: 'SLURM_MEM_PER_CPU',
      availableMemoryBytes: 8 * GiB,
    });
  });

  it('reads pages, mounts and KVM of a prepared machine', () => {
    const { pages, kvm, user, cpuSettings } = probeLimits(recorded('epyc-eight-numa'));
    expect(pages.transparent).toEqual({ enabled: 'madvise', shared: 'never', defrag: 'madvise' });
    expect(pages.pools).toEqual([
      { pageBytes: 2 ** 21, total: 3584, free: 3584 },
      { pageBytes: GiB, total: 8, free: 8 },
    ]);
    expect(pages.hugetlbfs).toEqual([
      { path: '/dev/hugepages', pageBytes: 2 ** 21, writable: true },
      { path: '/mnt/huge 1G', pageBytes: GiB, writable: true },
    ]);
    expect(kvm).toMatchObject({ module: 'kvm_amd', nestedPaging: true, writable: true });
    expect(user).toMatchObject({ uid: 0, isRoot: true });
    expect(cpuSettings).toMatchObject({ governor: 'performance', turbo: true, numaBalancing: true });
  });

  it('makes do with a host that tells nothing', () => {
    expect(probeLimits(sourceOf({})).limits).toMatchObject({ allowedCpus: [0], onlineCpus: [0] });
  });
});

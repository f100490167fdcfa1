import { describe, expect, it } from 'vitest';
import type { LodgeError } from '../../src/errors.ts';
import { checkMemory, type LayoutRequest, planLayout } from '../../src/guest/layout.ts';
import type { Machine } from '../../src/machine/machine.ts';
import { probeMachine } from '../../src/machine/probe.ts';
import { recorded } from '../machine/recorded.ts';
import { machineOf } from './layout-machines.ts';

const gib = 2 ** 30;

function ask(changes: Partial<LayoutRequest> = {}): LayoutRequest {
  return {
    cpus: 4,
    memoryBytes: 4 * gib,
    pages: { host: 'any', strict: true },
    pin: true,
    numa: 'mirror',
    placement: 'strict',
    ...changes,
  };
}

function refusal(request: LayoutRequest, machine: Machine): LodgeError {
  try {
    planLayout(request, machine);
  } catch (error) {
    return error as LodgeError;
  }
  throw new Error('it was planned');
}

const cpusOf = (layout: ReturnType<typeof planLayout>) => layout.vcpus.map((vcpu) => vcpu.hostCpus[0]);

describe('which host CPUs a guest gets', () => {
  it("mirrors the paper's host: 2 sockets of 4 cores, 20 GiB in even pools", () => {
    const machine = machineOf({ hugePages2M: [5120] });
    const layout = planLayout(
      ask({ cpus: 8, memoryBytes: 20 * gib, pages: { host: '2M', strict: true } }),
      machine,
    );
    expect(layout).toMatchObject({
      smp: { sockets: 2, dies: 1, cores: 4, threads: 1 },
      nodes: [
        { id: 0, hostNode: 0, memoryBytes: 10 * gib, vcpus: [0, 1, 2, 3] },
        { id: 1, hostNode: 1, memoryBytes: 10 * gib, vcpus: [4, 5, 6, 7] },
      ],
      distances: [
        [10, 21],
        [21, 10],
      ],
      pages: { host: '2M', pageBytes: 2 ** 21, strict: true },
      cpuModel: { hostCacheInfo: true, amdTopology: false },
      emulatorCpus: [],
      preallocate: true,
      shortfalls: [],
      notes: [],
    });
    expect(cpusOf(layout)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  it('takes one core each while there are cores, and leaves one over near by', async () => {
    const layout = planLayout(ask(), await probeMachine(recorded('two-socket-smt')));
    expect(cpusOf(layout)).toEqual([0, 1, 2, 3]);
    expect(layout.smp).toEqual({ sockets: 1, dies: 1, cores: 4, threads: 1 });
    expect(layout.emulatorCpus).toEqual([4, 36]);
    expect(layout.cpuModel.hostCacheInfo).toBe(false);
  });

  it('takes both threads of a core, side by side, only beyond the cores', async () => {
    const layout = planLayout(
      ask({ cpus: 60, memoryBytes: 16 * gib }),
      await probeMachine(recorded('two-socket-smt')),
    );
    expect(layout.smp).toEqual({ sockets: 2, dies: 1, cores: 15, threads: 2 });
    expect(cpusOf(layout).slice(0, 4)).toEqual([0, 32, 1, 33]);
    expect(layout.emulatorCpus).toEqual([15, 47]);
    expect(layout.cpuModel.hostCacheInfo).toBe(true);
  });

  it('takes near NUMA nodes, and dies for caches', async () => {
    const layout = planLayout(
      ask({ cpus: 16, memoryBytes: 16 * gib }),
      await probeMachine(recorded('epyc-eight-numa')),
    );
    expect(layout.smp).toEqual({ sockets: 1, dies: 4, cores: 4, threads: 1 });
    expect(layout.nodes.map((node) => node.hostNode)).toEqual([0, 1]);
    expect(layout.cpuModel.amdTopology).toBe(true);
  });

  it('fills caches one after the other where an even spread would have no shape', async () => {
    const layout = planLayout(
      ask({ cpus: 20, memoryBytes: 20 * gib }),
      await probeMachine(recorded('epyc-eight-numa')),
    );
    expect(layout.smp).toEqual({ sockets: 1, dies: 5, cores: 4, threads: 1 });
    expect(layout.nodes.map((node) => node.memoryBytes / gib)).toEqual([8, 8, 4]);
  });

  it('shows sub-NUMA clusters as nodes of one socket', async () => {
    const layout = planLayout(ask({ cpus: 20 }), await probeMachine(recorded('sub-numa')));
    expect(layout.smp.sockets).toBe(1);
    expect(layout.distances).toEqual([
      [10, 12],
      [12, 10],
    ]);
  });

  it("stays within a job's cpuset, and says what time a cgroup leaves it", async () => {
    const machine = await probeMachine(recorded('confined-job'));
    const layout = planLayout(ask({ cpus: 12 }), machine);
    for (const cpu of cpusOf(layout)) expect(machine.limits.allowedCpus).toContain(cpu);
    expect(layout.notes).toContain('a cgroup gives this job 8 CPUs of time, for 12 vCPUs');
  });

  it('takes more nodes than the vCPUs need where the pages lie on several', async () => {
    const machine = await probeMachine(recorded('epyc-eight-numa'));
    const layout = planLayout(ask({ memoryBytes: 2 * gib, pages: { host: '2M', strict: true } }), machine);
    expect(layout.nodes.map((node) => [node.hostNode, node.memoryBytes / gib])).toEqual([
      [0, 1],
      [1, 1],
    ]);
  });

  it('keeps off the CPUs of other guests', () => {
    const layout = planLayout(ask({ cpus: 3, takenCpus: [0, 1] }), machineOf());
    expect(cpusOf(layout)).toEqual([4, 5, 6]);
    expect(layout.emulatorCpus).toEqual([7]);
    expect(refusal(ask({ cpus: 7, takenCpus: [0, 1] }), machineOf()).message).toBe(
      '7 vCPUs cannot be pinned one to a CPU: this job may use 8 CPUs, of which 6 can be had (2 cores are taken or have no memory here)',
    );
  });

  it('binds the memory of a guest that is pinned within one node, and not of one that is not', () => {
    const near = planLayout(ask({ numa: 'none' }), machineOf());
    expect(near.nodes).toMatchObject([{ hostNode: 0 }]);
    const wide = planLayout(ask({ numa: 'none', cpus: 8 }), machineOf());
    expect(wide.nodes).toEqual([{ id: 0, memoryBytes: 4 * gib, vcpus: [0, 1, 2, 3, 4, 5, 6, 7] }]);
    expect(wide.smp).toEqual({ sockets: 1, dies: 1, cores: 8, threads: 1 });
    expect(wide.notes).toEqual([
      'vCPUs are on NUMA nodes 0-1, and the guest sees one: numa: mirror shows them',
    ]);
  });
});

describe('CPUs named by a person', () => {
  it('are taken as named', () => {
    const layout = planLayout(ask({ pin: [6, 1, 4, 3], numa: 'none' }), machineOf());
    expect(cpusOf(layout)).toEqual([6, 1, 4, 3]);
  });

  it('are mirrored in the order of the topology', () => {
    const machine = machineOf({ threads: 2 });
    const layout = planLayout(ask({ pin: [0, 1, 8, 9] }), machine);
    expect(cpusOf(layout)).toEqual([0, 8, 1, 9]);
    expect(layout.smp).toEqual({ sockets: 1, dies: 1, cores: 2, threads: 2 });
    expect(layout.notes[0]).toBe("vCPUs are on CPUs 0 8 1 9, in the order of the host's topology");
  });

  it('are cut into equal parts where they are uneven', () => {
    const layout = planLayout(ask({ cpus: 6, pin: [0, 1, 2, 3, 4, 5] }), machineOf());
    expect(layout.smp).toEqual({ sockets: 3, dies: 1, cores: 2, threads: 1 });
    expect(layout.nodes.map((node) => node.vcpus)).toEqual([
      [0, 1, 2, 3],
      [4, 5],
    ]);
    expect(layout.notes[0]).toContain('on 2 host sockets (4+2)');
  });

  it('are not split into dies of one vCPU, which Linux takes for sockets', () => {
    const machine = machineOf({ sockets: 1, nodesPerSocket: 2 });
    const layout = planLayout(ask({ cpus: 5, pin: [0, 1, 2, 4, 5] }), machine);
    expect(layout.smp).toEqual({ sockets: 1, dies: 1, cores: 5, threads: 1 });
    expect(layout.cpuModel.hostCacheInfo).toBe(false);
    expect(layout.notes[0]).toContain('2 last-level caches (3+2)');
  });

  it('are refused when the job may not use them; preferred, others are chosen', () => {
    const machine = machineOf({ forbiddenCpus: [2] });
    const error = refusal(ask({ pin: [1, 2, 3, 9] }), machine);
    expect(error.code).toBe('placement-unmet');
    expect(error.message).toBe('CPUs 2,9 were asked for, and this job may use 0-1,3-7');
    const layout = planLayout(ask({ pin: [1, 2, 3, 9], placement: 'prefer' }), machine);
    expect(cpusOf(layout)).toEqual([4, 5, 6, 7]);
    expect(layout.shortfalls).toEqual([error.message]);
  });

  it.each([
    [[1, 1, 2, 3], 'CPU 1 is named for two vCPUs'],
    [[1, 2], '2 host CPUs are named for 4 vCPUs'],
    [[], 'no host CPU is named'],
  ])('%j make no sense', (pin, message) => {
    expect(refusal(ask({ pin, placement: 'prefer' }), machineOf())).toMatchObject({
      code: 'spec-value',
      message,
    });
  });
});

describe('what cannot be had', () => {
  const pages = (host: '2M' | 'thp') => ({ host, strict: true });
  it.each([
    ['more vCPUs than there are CPUs', { cpus: 9 }, 'cpus'],
    ['one vCPU where all CPUs are taken', { cpus: 1, takenCpus: [0, 1, 2, 3, 4, 5, 6, 7] }, 'pin'],
    ['the same, mirrored', { cpus: 1, pin: false, takenCpus: [0, 1, 2, 3, 4, 5, 6, 7] }, 'numa'],
    ['a CPU that is not there', { pin: [0, 1, 2, 99] }, 'pin'],
    ['a CPU twice', { pin: [1, 1, 2, 3] }, 'pin'],
    ['pages of an empty pool', { pages: pages('2M') }, 'pages'],
    ['half a page', { memoryBytes: gib + 2 ** 20, pages: pages('2M') }, 'memory'],
    ['more memory than there is', { memoryBytes: 2 ** 50 }, 'memory'],
    ['memory of no possible size', { memoryBytes: 1 }, 'memory'],
  ] satisfies [string, Partial<LayoutRequest>, string][])(
    'names the key that asked for %s',
    (_, asked, key) => {
      expect(refusal(ask(asked), machineOf()).asked).toEqual([key]);
    },
  );
});

describe('pages', () => {
  it('are counted in the right nodes, and the error brings the lines that mend it', () => {
    const error = refusal(
      ask({ cpus: 8, pages: { host: '2M', strict: true } }),
      machineOf({ hugePages2M: [1024, 1000] }),
    );
    expect(error).toMatchObject({
      code: 'placement-unmet',
      message: 'NUMA node 1 has 1000 free pages of 2M (of 1000 in its pool), the guest needs 1024 there',
      fix: 'echo 1024 > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages (as root)',
    });
  });

  it('fall back where they are only preferred', () => {
    const request = ask({ pages: { host: '2M', strict: false } });
    const layout = planLayout(request, machineOf());
    expect(layout.pages).toEqual({ host: 'thp', pageBytes: 2 ** 21, strict: false });
    expect(layout.shortfalls).toHaveLength(1);
    expect(planLayout(request, machineOf({ transparent: 'never' })).pages).toEqual({
      host: 'any',
      strict: false,
    });
  });

  it('of a pool are whole ones', () => {
    const odd = ask({ memoryBytes: gib + 2 ** 20, pages: { host: '2M', strict: true } });
    expect(refusal(odd, machineOf({ hugePages2M: [1024] }))).toMatchObject({
      fix: 'ask for memory: 1026M',
      asked: ['memory'],
    });
  });

  it('keep to the limit of the cgroup', () => {
    const machine = machineOf({ hugePages2M: [4096] });
    machine.limits.hugePages = [{ pageBytes: 2 ** 21, limitBytes: gib }];
    expect(refusal(ask({ pages: { host: '2M', strict: true } }), machine).message).toBe(
      'a cgroup lets this job take 1G of 2M pages, the guest needs 4G',
    );
  });

  it('need transparent huge pages to be on', () => {
    const error = refusal(ask({ pages: { host: 'thp', strict: true } }), machineOf({ transparent: 'never' }));
    expect(error.code).toBe('placement-unmet');
    expect(error.fix).toContain('echo madvise >');
  });

  it('without pins come from any node', () => {
    const layout = planLayout(
      ask({ pin: false, numa: 'none', pages: { host: '2M', strict: true } }),
      machineOf({ hugePages2M: [1024] }),
    );
    expect(layout.nodes).toMatchObject([{ memoryBytes: 4 * gib }]);
    expect(layout.nodes[0]?.hostNode).toBeUndefined();
  });
});

describe('memory', () => {
  it('must be there, with what the process takes', () => {
    const machine = machineOf();
    machine.limits.availableMemoryBytes = 4 * gib;
    machine.limits.memoryBytes = 8 * gib;
    machine.limits.memoryLimitedBy = '/sys/fs/cgroup/job_1';
    expect(() => checkMemory(4 * gib, machine)).toThrow(
      'the guest needs 4G for the guest and 112M for the process around it; ' +
        'this job (limited to 8G by /sys/fs/cgroup/job_1) has 4G left',
    );
    expect(() => checkMemory(4 * gib, machine, '2M')).not.toThrow();
    expect(() => checkMemory(3 * gib, machine)).not.toThrow();
  });

  it('must fit the address space', () => {
    const machine = machineOf();
    machine.limits.addressSpaceBytes = gib;
    expect(() => checkMemory(gib, machine)).toThrow('address space');
  });

  it('must fit its NUMA node where it is bound', () => {
    const error = refusal(ask({ memoryBytes: 12 * gib }), machineOf({ memoryPerNodeBytes: 4 * gib }));
    expect(error.code).toBe('not-enough-memory');
    const lopsided = ask({ pin: [0, 1, 2, 3], memoryBytes: 6 * gib });
    expect(refusal(lopsided, machineOf({ memoryPerNodeBytes: 4 * gib }))).toMatchObject({
      code: 'placement-unmet',
      message: 'NUMA node 0 has 4G, the guest needs 6G there',
    });
  });

  it.each([0, 1.5, -1, Number.NaN])('of a guest with %d CPUs is not planned', (cpus) => {
    expect(refusal(ask({ cpus }), machineOf()).code).toBe('spec-value');
  });

  it('comes in multiples of what QEMU counts in', () => {
    expect(refusal(ask({ memoryBytes: gib + 4096 }), machineOf()).code).toBe('spec-value');
  });
});

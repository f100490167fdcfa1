import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LodgeError } from '../../src/errors.ts';
import { freeLayout, type Layout, type LayoutRequest, planLayout } from '../../src/guest/layout.ts';
import { layoutArguments } from '../../src/guest/vmm/qemu/layout-arguments.ts';
import { type Machine, usableCpus } from '../../src/machine/machine.ts';
import { anyMachine } from './layout-machines.ts';

const anyRequest = fc.record({
  cpus: fc.integer({ min: 1, max: 40 }),
  memoryBytes: fc.oneof(
    fc.integer({ min: 1, max: 4096 }).map((pages) => pages * 2 ** 21),
    fc.integer({ min: 128, max: 2 ** 17 }).map((pages) => pages * 8192),
  ),
  pages: fc.record({
    host: fc.constantFrom(...(['any', '4K', 'thp', '2M', '1G'] as const)),
    strict: fc.boolean(),
  }),
  pin: fc.constantFrom(...([false, true, 'own', 'any'] as const)),
  numa: fc.constantFrom(...(['none', 'mirror'] as const)),
  placement: fc.constantFrom(...(['strict', 'prefer'] as const)),
  takenCpus: fc.array(fc.integer({ min: 0, max: 70 }), { maxLength: 4 }),
});

/** A request and a machine; explicit pins are CPUs of the job in a random order, or just any numbers. */
const anyCase = fc
  .tuple(anyRequest, anyMachine, fc.array(fc.integer({ min: 0, max: 200 }), { minLength: 40, maxLength: 40 }))
  .map(([{ pin, ...rest }, machine, numbers]): [LayoutRequest, Machine] => {
    if (typeof pin === 'boolean') return [{ ...rest, pin }, machine];
    const own = usableCpus(machine.limits);
    const cpus = numbers.map((number, i) =>
      pin === 'any' ? number : (own.splice(number % own.length, 1)[0] ?? 300 + i),
    );
    const named = [...new Set(cpus)].slice(0, rest.cpus);
    return [{ ...rest, cpus: named.length, pin: named }, machine];
  });

function planned(request: LayoutRequest, machine: Machine): Layout | LodgeError {
  try {
    return planLayout(request, machine);
  } catch (error) {
    if (error instanceof LodgeError) return error;
    throw error;
  }
}

/** Holds for what any request on any machine is planned to be. */
function always(check: (layout: Layout, request: LayoutRequest, machine: Machine) => void): void {
  fc.assert(
    fc.property(anyCase, ([request, machine]) => {
      const layout = planned(request, machine);
      if (!(layout instanceof LodgeError)) check(layout, request, machine);
    }),
    { numRuns: 600 },
  );
}

describe('any layout', () => {
  it('pins vCPUs to distinct CPUs that this job may use, or none of them', () => {
    always((layout, request, machine) => {
      const cpus = layout.vcpus.flatMap((vcpu) => vcpu.hostCpus);
      expect([0, request.cpus]).toContain(cpus.length);
      expect(new Set(cpus).size).toBe(cpus.length);
      const usable = usableCpus(machine.limits);
      for (const cpu of [...cpus, ...layout.emulatorCpus]) expect(usable).toContain(cpu);
      for (const cpu of layout.emulatorCpus) expect(cpus).not.toContain(cpu);
    });
  });

  it('gives explicit pins as they were named, in the order of the topology when mirrored', () => {
    always((layout, { pin, numa }) => {
      const cpus = layout.vcpus.flatMap((vcpu) => vcpu.hostCpus);
      if (typeof pin !== 'object' || layout.shortfalls.length > 0) return;
      if (numa === 'none') expect(cpus).toEqual(pin);
      else expect([...cpus].sort((a, b) => a - b)).toEqual([...pin].sort((a, b) => a - b));
    });
  });

  it('has a shape of as many vCPUs as asked, each in a place of its own', () => {
    always((layout, { cpus }) => {
      const { sockets, dies, cores, threads } = layout.smp;
      expect(sockets * dies * cores * threads).toBe(cpus);
      const places = layout.vcpus.map(({ socket, die, core, thread }) => [socket, die, core, thread].join());
      expect(new Set(places).size).toBe(cpus);
      for (const { socket, die, core, thread } of layout.vcpus) {
        expect(socket < sockets && die < dies && core < cores && thread < threads).toBe(true);
      }
    });
  });

  it('claims no sharing of cores, caches or sockets that the host does not have', () => {
    always((layout, _, machine) => {
      if (layout.numa !== 'mirror') return;
      const coreOf = (cpu: number) => machine.topology.cores.find((core) => core.pus.includes(cpu))!;
      const cacheOf = (cpu: number) =>
        machine.topology.caches.find((cache) => cache.level === 3 && cache.cpus.includes(cpu));
      for (const a of layout.vcpus) {
        const b = layout.vcpus[a.vcpu + 1];
        if (b === undefined || a.socket !== b.socket) continue;
        const [x, y] = [a.hostCpus[0]!, b.hostCpus[0]!];
        expect(coreOf(x).socket).toBe(coreOf(y).socket);
        if (a.die === b.die && layout.smp.dies > 1) expect(cacheOf(x)).toBe(cacheOf(y));
        if (a.die === b.die && a.core === b.core) expect(coreOf(x)).toBe(coreOf(y));
      }
    });
  });

  it('splits all memory, in whole pages, over nodes that each have some', () => {
    always((layout, { memoryBytes }) => {
      expect(layout.nodes.reduce((sum, node) => sum + node.memoryBytes, 0)).toBe(memoryBytes);
      const isPool = layout.pages.host === '2M' || layout.pages.host === '1G';
      const pageBytes = isPool ? layout.pages.pageBytes! : 8192;
      for (const node of layout.nodes) {
        expect(node.memoryBytes % pageBytes).toBe(0);
        expect(node.memoryBytes).toBeGreaterThan(0);
      }
    });
  });

  it('binds memory to the NUMA node that owns the CPUs of its vCPUs, and takes no page that is not there', () => {
    always((layout, _, machine) => {
      for (const { hostNode, vcpus, memoryBytes } of layout.nodes) {
        if (hostNode === undefined) continue;
        expect(machine.limits.allowedNumaNodes).toContain(hostNode);
        const owned = machine.topology.numaNodes.find(({ id }) => id === hostNode)!.cpus;
        for (const vcpu of vcpus) expect(owned).toContain(layout.vcpus[vcpu]!.hostCpus[0]);
        if (layout.pages.host !== '2M') continue;
        const pool = machine.pages.poolsByNumaNode.find(({ numaNode }) => numaNode === hostNode)!.pools[0]!;
        expect(memoryBytes / 2 ** 21).toBeLessThanOrEqual(pool.free);
      }
    });
  });

  it('has each vCPU in one node, and distances between all nodes', () => {
    always((layout, { cpus }) => {
      const listed = layout.nodes.flatMap((node) => node.vcpus).sort((a, b) => a - b);
      expect(listed).toEqual(Array.from({ length: cpus }, (_, vcpu) => vcpu));
      if (layout.nodes.length === 1) expect(layout.distances).toBeUndefined();
      else
        expect(layout.distances!.map((row) => row.length)).toEqual(
          layout.nodes.map(() => layout.nodes.length),
        );
    });
  });

  it('can be written as JSON and becomes arguments', () => {
    always((layout) => {
      expect(JSON.parse(JSON.stringify(layout))).toEqual(layout);
      for (const accelerator of ['kvm', 'tcg'] as const) {
        const { argv } = layoutArguments(layout, accelerator);
        expect(argv.join(' ')).not.toMatch(/undefined|NaN|\d\.\d/);
      }
    });
  });
});

describe('strict and prefer', () => {
  it('strict gives all that was asked, or refuses', () => {
    fc.assert(
      fc.property(anyCase, ([asked, machine]) => {
        const request = { ...asked, placement: 'strict' as const, pages: { ...asked.pages, strict: true } };
        const layout = planned(request, machine);
        if (layout instanceof LodgeError) {
          expect(['placement-unmet', 'not-enough-memory']).toContain(layout.code);
          expect(layout.fix).toBeDefined();
          expect(['cpus', 'memory', 'pages', 'pin', 'numa']).toContain(layout.asked?.[0]);
          return;
        }
        expect(layout.shortfalls).toEqual([]);
        expect(layout.pages.host).toBe(request.pages.host);
        expect(layout.numa).toBe(request.numa);
        if (request.pin !== false)
          expect(layout.vcpus.every((vcpu) => vcpu.hostCpus.length === 1)).toBe(true);
      }),
      { numRuns: 600 },
    );
  });

  it('prefer never refuses for placement, and tells of each thing it does not give', () => {
    fc.assert(
      fc.property(anyCase, ([asked, machine]) => {
        const request = { ...asked, placement: 'prefer' as const };
        const layout = planned(request, machine);
        if (layout instanceof LodgeError) {
          expect(layout.code).toBe('not-enough-memory');
          return;
        }
        const isLess =
          layout.pages.host !== request.pages.host ||
          layout.numa !== request.numa ||
          (request.pin !== false && layout.vcpus.some((vcpu) => vcpu.hostCpus.length === 0));
        if (isLess) expect(layout.shortfalls.length).toBeGreaterThan(0);
      }),
      { numRuns: 600 },
    );
  });

  it('plans the same for the same', () => {
    fc.assert(
      fc.property(anyCase, ([request, machine]) => {
        expect(planned(request, machine)).toEqual(planned(request, machine));
      }),
      { numRuns: 200 },
    );
  });
});

describe('a free layout', () => {
  it('asks nothing of the host', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 254 }), fc.integer({ min: 128, max: 2 ** 20 }), (cpus, pages) => {
        const layout = freeLayout(cpus, pages * 8192);
        expect(layout.vcpus).toHaveLength(cpus);
        expect(
          layoutArguments(layout, 'tcg').argv.filter((word) => word === '-object' || word === '-numa'),
        ).toEqual([]);
      }),
    );
  });
});

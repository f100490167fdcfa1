import { describe, expect, it } from 'vitest';
import {
  checkClusterPages,
  memoryByNode,
  type PlacedGuest,
  withoutMemoryOf,
} from '../../src/cluster/huge-pages.ts';
import { planLayout } from '../../src/guest/layout.ts';
import { machineOf } from '../guest/layout-machines.ts';
import { cluster, faultOf } from './sample.ts';

const mib = 2 ** 20;

function guestsOf(text: string) {
  return cluster(`defaults: {accelerator: kvm, memory: 128M, pages: 2M}\nguests:\n${text}`).guests;
}

/** As a guest of this shape would be planned on what is left by others. */
function placed(
  machine: ReturnType<typeof machineOf>,
  before: PlacedGuest[],
  spec: object = {},
): PlacedGuest {
  const layout = planLayout(
    {
      cpus: 1,
      memoryBytes: 128 * mib,
      pages: { host: '2M', strict: true },
      pin: false,
      numa: 'none',
      placement: 'strict',
      ...spec,
    },
    withoutMemoryOf(machine, before),
  );
  return { accelerator: 'kvm', layout };
}

describe('guests that each fit into the pool', () => {
  // Two nodes with 100 pages each.
  const machine = machineOf({ hugePages2M: [100, 100] });

  it('are refused when together they do not, with the sum', () => {
    const guests = guestsOf('  v[1-3]: \n  w: {memory: 64M}\n');
    const fault = faultOf(() => checkClusterPages(guests, machine));
    expect(fault).toMatchObject({
      code: 'placement-unmet',
      message:
        'the guests to be started need 224 huge pages of 2M; this host has 200 left (of 200 in its pools)',
      detail: "the guests' memory in pages of 2M: 3 kvm of 64 + 1 kvm of 32 = 224",
    });
    expect(fault.fix).toMatch(
      /^echo 224 > \/sys\/kernel\/mm\/hugepages\/hugepages-2048kB\/nr_hugepages \(as root\)/,
    );
    expect(() => checkClusterPages(guests.slice(0, 3), machine)).not.toThrow();
  });

  it('are counted with what others hold, and with what will be free', () => {
    const busy = machineOf({ hugePages2M: [100, 100] });
    busy.pages.poolsByNumaNode[0]!.pools[0]!.free = 0;
    const guests = guestsOf('  v[1-2]: \n');
    expect(faultOf(() => checkClusterPages(guests, busy)).message).toContain(
      'need 128 huge pages of 2M; this host has 100 left (of 200 in its pools)',
    );
    const leaving = placed(machine, []);
    expect(() => checkClusterPages(guests, busy, [leaving])).not.toThrow();
  });

  it('are refused where a cgroup lets the job take less', () => {
    const limits = { ...machine.limits, hugePages: [{ pageBytes: 2 * mib, limitBytes: 200 * mib }] };
    expect(faultOf(() => checkClusterPages(guestsOf('  v[1-2]: \n'), { ...machine, limits }))).toMatchObject({
      message: 'the guests to be started need 128 huge pages of 2M; a cgroup lets this job take 100',
      fix: expect.stringContaining('raise hugetlb.2MB.max'),
    });
  });

  it('are not where the memory of a node is of no use to the job', () => {
    const limits = { ...machine.limits, allowedNumaNodes: [1] };
    expect(
      faultOf(() => checkClusterPages(guestsOf('  v[1-2]: \n'), { ...machine, limits })).message,
    ).toContain('this host has 100 left');
  });

  it('that may have others are not counted', () => {
    const guests = guestsOf('  v[1-9]: {pages: {host: 2M, strict: false}}\n  w[1-9]: {placement: prefer}\n');
    expect(() => checkClusterPages(guests, machine)).not.toThrow();
  });
});

describe('a guest that is planned beside others', () => {
  const machine = machineOf({ hugePages2M: [100, 100] });

  it('finds the pages of its node taken', () => {
    const pinned = { pin: true, numa: 'mirror' };
    const first = placed(machine, [], { ...pinned, pin: [0] });
    expect(first.layout.nodes[0]!.hostNode).toBe(0);
    expect(faultOf(() => placed(machine, [first], { ...pinned, pin: [1] })).message).toBe(
      'NUMA node 0 has 36 free pages of 2M (of 100 in its pool), the guest needs 64 there',
    );
    expect(placed(machine, [first], { ...pinned, pin: [4] }).layout.nodes[0]!.hostNode).toBe(1);
    expect(memoryByNode([first, first])).toEqual(['on NUMA node 0, in pages of 2M: 2 kvm of 64 = 128']);
  });

  it('finds pages of any node taken where they are bound to none', () => {
    const three = [1, 2, 3].reduce<PlacedGuest[]>((before) => [...before, placed(machine, before)], []);
    expect(() => placed(machine, three)).toThrow(/this host has 8 free pages of 2M/);
    expect(memoryByNode(three)).toEqual(['on any NUMA node, in pages of 2M: 3 kvm of 64 = 192']);
  });

  it('falls back where it may', () => {
    const before = [placed(machine, []), placed(machine, [])];
    const prefers = { pages: { host: '2M', strict: false }, memoryBytes: 256 * mib };
    expect(placed(machine, before, prefers).layout.pages.host).toBe('thp');
    expect(placed(machine, [], prefers).layout.pages.host).toBe('2M');
  });

  it('finds the ordinary memory of its node taken', () => {
    // 12 GiB on each node.
    const half = {
      memoryBytes: 7 * 2 ** 30,
      pages: { host: 'any', strict: false },
      pin: [0],
      numa: 'mirror',
    };
    const first = placed(machine, [], half);
    expect(faultOf(() => placed(machine, [first], { ...half, pin: [1] })).message).toBe(
      'NUMA node 0 has 5G, the guest needs 7G there',
    );
    expect(memoryByNode([first])).toEqual(['on NUMA node 0: 1 kvm of 7G = 7G']);
  });
});

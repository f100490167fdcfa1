import { describe, expect, it } from 'vitest';
import { freeLayout, type LayoutRequest, planLayout } from '../../../../src/guest/layout.ts';
import {
  compareGuestTopology,
  guestTopologyPaths,
  type PlacementFound,
  parseMemoryTree,
  parseTaskStatus,
  requireMet,
} from '../../../../src/guest/vmm/qemu/verify.ts';
import { machineOf } from '../../layout-machines.ts';

function mirrored(changes: Partial<LayoutRequest> = {}) {
  return planLayout(
    {
      cpus: 8,
      memoryBytes: 2 ** 30,
      pages: { host: 'any', strict: true },
      pin: true,
      numa: 'mirror',
      placement: 'strict',
      ...changes,
    },
    machineOf({ coresPerCache: 2, threads: 2 }),
  );
}

/** As a Debian kernel under TCG told it of such a guest. */
const asSeen = new Map([
  ['/sys/devices/system/cpu/online', '0-7\n'],
  ['/sys/devices/system/node/node0/cpulist', '0-3\n'],
  ['/sys/devices/system/node/node1/cpulist', '4-7\n'],
  ['/sys/devices/system/node/node0/distance', '10 21\n'],
  ['/sys/devices/system/node/node1/distance', '21 10\n'],
  ['/sys/devices/system/cpu/cpu0/topology/core_siblings_list', '0-3\n'],
  ['/sys/devices/system/cpu/cpu4/topology/core_siblings_list', '4-7\n'],
  ['/sys/devices/system/cpu/cpu0/cache/index3/shared_cpu_list', '0-3\n'],
  ['/sys/devices/system/cpu/cpu4/cache/index3/shared_cpu_list', '4-7\n'],
  ['/sys/devices/system/cpu/cpu0/topology/thread_siblings_list', '0-1\n'],
  ['/sys/devices/system/cpu/cpu2/topology/thread_siblings_list', '2-3\n'],
  ['/sys/devices/system/cpu/cpu4/topology/thread_siblings_list', '4-5\n'],
  ['/sys/devices/system/cpu/cpu6/topology/thread_siblings_list', '6-7\n'],
]);

describe('what a guest sees', () => {
  it('is looked for in few files', () => {
    expect(guestTopologyPaths(mirrored()).sort()).toEqual([...asSeen.keys()].sort());
  });

  it('is as planned', () => {
    expect(compareGuestTopology(mirrored(), asSeen)).toEqual([]);
  });

  it.each([
    [
      '/sys/devices/system/node/node1/cpulist',
      '5-7',
      'the guest sees vCPUs 5-7 in NUMA node 1, planned are 4-7',
    ],
    ['/sys/devices/system/cpu/online', '0-6', 'the guest sees vCPUs 0-6 in all, planned are 0-7'],
    [
      '/sys/devices/system/cpu/cpu2/topology/thread_siblings_list',
      '2\u001b[31m',
      'the guest sees vCPUs 2?[31m in core 1, planned are 2-3',
    ],
    [
      '/sys/devices/system/node/node0/distance',
      '10 20',
      "the guest sees distances '10 20' from NUMA node 0, planned are '10 21'",
    ],
  ])('differs in %s', (path, content, difference) => {
    expect(compareGuestTopology(mirrored(), new Map([...asSeen, [path, content]]))).toEqual([difference]);
  });

  it('may lack what its kernel does not know, but not what was asked', () => {
    const without = (part: string) => new Map([...asSeen].filter(([path]) => !path.includes(part)));
    expect(compareGuestTopology(mirrored(), without('/cache/'))).toEqual([]);
    expect(compareGuestTopology(mirrored(), without('/node/'))).toHaveLength(4);
    const seen = new Map([
      ['/sys/devices/system/cpu/online', '0'],
      ['/sys/devices/system/cpu/cpu0/topology/core_siblings_list', '0'],
      ['/sys/devices/system/cpu/cpu0/topology/thread_siblings_list', '0'],
    ]);
    expect(compareGuestTopology(freeLayout(1, 2 ** 30), seen)).toEqual([]);
  });
});

describe('what was found', () => {
  const found: PlacementFound = {
    vcpus: [],
    emulator: { asked: [], threads: [] },
    memory: [],
    met: false,
    differences: ['small pages', 'wrong CPU'],
    pageDifferences: ['small pages'],
  };

  it('must be as asked where that is strict', () => {
    expect(() => requireMet(found, mirrored())).toThrow('not placed as asked');
    expect(() => requireMet(found, mirrored({ placement: 'prefer' }))).not.toThrow();
    expect(() => requireMet({ ...found, differences: [] }, mirrored())).not.toThrow();
  });

  it('may have other pages where only these are preferred', () => {
    const layout = mirrored({ pages: { host: 'any', strict: false } });
    expect(() => requireMet({ ...found, differences: ['small pages'] }, layout)).not.toThrow();
    expect(() => requireMet(found, layout)).toThrow(expect.objectContaining({ detail: 'wrong CPU' }));
  });
});

describe('texts', () => {
  it('of a thread', () => {
    const text = 'Name:\tCPU 0/KVM\nState:\tS (sleeping)\nCpus_allowed:\t00000300\nCpus_allowed_list:\t8-9\n';
    expect(parseTaskStatus(text)).toEqual({ name: 'CPU 0/KVM', got: [8, 9] });
  });

  it("of QEMU's memory tree", () => {
    const text = [
      '  0000000000000000-00000000000bffff (prio 0, ram): memory0\r',
      '  00000000000c0000-00000000000dffff (prio 1, rom): pc.rom KVM\r',
      '  0000000000100000-0000000001ffffff (prio 0, ram): memory0 @0000000000100000 KVM\r',
      '  0000000002000000-0000000005ffffff (prio 0, ram): memory1 @0000000000002000\r',
      '  0000000006000000-0000000007ffffff (prio 0, ram): memory12\r',
    ].join('\n');
    expect(parseMemoryTree(text, 'memory0')).toEqual({ guestAddress: 0, offset: 0 });
    expect(parseMemoryTree(text, 'memory1')).toEqual({ guestAddress: 0x2000000, offset: 0x2000 });
    expect(parseMemoryTree(text, 'pc.rom')).toBeUndefined();
  });
});

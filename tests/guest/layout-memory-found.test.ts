import { describe, expect, it } from 'vitest';
import type { HostPages, Layout } from '../../src/guest/layout.ts';
import { planLayout } from '../../src/guest/layout.ts';
import { compareMemory, findMemory, parseNumaMaps, parseSmaps } from '../../src/guest/layout-memory-found.ts';
import { machineOf } from './layout-machines.ts';

// As Linux 6.18 told them of a QEMU 7.2 with 64 MiB of a pool and 32 MiB of transparent huge pages, both
// preallocated.
const numaText = `7fdb77e00000 bind:0 file=/memfd:memory-backend-memfd\\040(deleted) huge dirty=32 N0=32 kernelpagesize_kB=2048
7fdbc1800000 bind:0 anon=8192 dirty=8192 active=0 N0=8000 N1=192 kernelpagesize_kB=4
7fdbc3800000 default
7fdbc3a00000 default file=/usr/lib/x86_64-linux-gnu/libc.so.6 mapped=3 N0=3 kernelpagesize_kB=4
`;

const smapsText = `7fdb77e00000-7fdb7be00000 rw-s 00000000 00:11 58430                      /memfd:memory-backend-memfd (deleted)
Size:              65536 kB
KernelPageSize:     2048 kB
MMUPageSize:        2048 kB
Rss:                   0 kB
AnonHugePages:         0 kB
ShmemPmdMapped:        0 kB
Shared_Hugetlb:        0 kB
Private_Hugetlb:   65536 kB
THPeligible:           0
VmFlags: rd wr sh mr mw me ms dc de ht hg
7fdb7be00000-7fdb7be01000 ---p 00000000 00:00 0
Size:                  4 kB
KernelPageSize:        4 kB
Rss:                   0 kB
7fdbc1800000-7fdbc3800000 rw-p 00000000 00:00 0
Size:              32768 kB
KernelPageSize:        4 kB
Rss:               32768 kB
AnonHugePages:     30720 kB
THPeligible:           1
VmFlags: rd wr mr mw me dc ac hg mg
`;

const smaps = parseSmaps(smapsText);
const numaMaps = parseNumaMaps(numaText);
const poolRange = { start: 0x7fdb77e00000, end: 0x7fdb7be00000 };
const plainRange = { start: 0x7fdbc1800000, end: 0x7fdbc3800000 };

function planned(host: HostPages, mib: number, hugePages = 1024): Layout {
  return planLayout(
    {
      cpus: 1,
      memoryBytes: mib * 2 ** 20,
      pages: { host, strict: true },
      pin: true,
      numa: 'mirror',
      placement: 'strict',
    },
    machineOf({ hugePages2M: [hugePages] }),
  );
}

function differences(layout: Layout, range: typeof poolRange) {
  const node = layout.nodes[0]!;
  return compareMemory(node, layout, findMemory(node, layout, range, smaps, numaMaps));
}

describe("the kernel's texts", () => {
  it('of numa_maps', () => {
    expect(numaMaps[0]).toEqual({
      start: 0x7fdb77e00000,
      policy: 'bind:0',
      pageBytes: 2 ** 21,
      pagesByNode: [{ node: 0, pages: 32 }],
    });
    expect(numaMaps[2]).toEqual({
      start: 0x7fdbc3800000,
      policy: 'default',
      pageBytes: 4096,
      pagesByNode: [],
    });
    expect(parseNumaMaps('')).toEqual([]);
  });

  it('of smaps', () => {
    expect(smaps).toHaveLength(3);
    expect(smaps[0]).toEqual({
      start: 0x7fdb77e00000,
      end: 0x7fdb7be00000,
      name: '/memfd:memory-backend-memfd (deleted)',
      kernelPageBytes: 2 ** 21,
      residentBytes: 0,
      transparentBytes: 0,
      hugetlbBytes: 2 ** 26,
      transparentAllowed: false,
    });
  });
});

describe('memory that was found', () => {
  it('is as planned in a pool', () => {
    const layout = planned('2M', 64);
    expect(differences(layout, poolRange)).toEqual({ pages: [], placement: [] });
    expect(findMemory(layout.nodes[0]!, layout, poolRange, smaps, numaMaps)).toMatchObject({
      what: 'memory 0',
      asked: '64M in 2M pages on NUMA node 0',
      found: '64M in 2M pages, on NUMA node 0',
      bytesByHostNode: [{ hostNode: 0, bytes: 2 ** 26 }],
    });
  });

  it('is not all in the pages or on the node asked for', () => {
    expect(differences(planned('thp', 32), plainRange)).toEqual({
      pages: ['memory of guest node 0 has 30M of 32M in transparent huge pages'],
      placement: ['memory of guest node 0 has 768K on NUMA node 1 instead of 0'],
    });
    expect(differences(planned('2M', 32), plainRange).pages).toEqual([
      'memory of guest node 0 is in pages of 4K',
    ]);
    expect(differences(planned('2M', 128), poolRange).pages).toEqual([
      'memory of guest node 0 has 64M of 128M in huge pages',
    ]);
    expect(differences(planned('4K', 32), plainRange).pages).toEqual([
      'memory of guest node 0 is in pages larger than 4K',
    ]);
  });

  it('has the policy asked for', () => {
    const layout = planned('any', 32);
    const node = layout.nodes[0]!;
    const elsewhere = numaMaps.map((mapping) => ({ ...mapping, policy: 'default', pagesByNode: [] }));
    const found = findMemory(node, layout, plainRange, smaps, elsewhere);
    expect(compareMemory(node, layout, found).placement).toEqual([
      "memory of guest node 0 has the policy 'default' instead of 'bind:0'",
    ]);
  });

  it('may be small pages that could become larger', () => {
    const layout = planned('4K', 32);
    const node = layout.nodes[0]!;
    const untouched = smaps.map((mapping) => ({ ...mapping, residentBytes: 0, transparentBytes: 0 }));
    const found = findMemory(node, layout, plainRange, untouched, numaMaps);
    expect(compareMemory(node, layout, found).pages).toEqual([
      'memory of guest node 0 may come to be in pages larger than 4K',
    ]);
  });

  it('is not there, or not to be seen', () => {
    const layout = planned('2M', 64);
    const node = layout.nodes[0]!;
    const nowhere = findMemory(node, layout, { start: 4096, end: 8192 }, smaps, numaMaps);
    expect(nowhere.found).toBe('not found');
    expect(compareMemory(node, layout, nowhere).pages).toEqual([
      'memory of guest node 0 was not found in the process',
    ]);
    const withoutNuma = findMemory(node, layout, poolRange, smaps, undefined);
    expect(compareMemory(node, layout, withoutNuma).placement).toHaveLength(1);
  });
});

import { describe, expect, it } from 'vitest';
import { freeLayout, planLayout } from '../../../../src/guest/layout.ts';
import { layoutArguments } from '../../../../src/guest/vmm/qemu/layout-arguments.ts';
import { machineOf } from '../../layout-machines.ts';

const gib = 2 ** 30;

function mirrored(cpus: number, host: 'any' | '4K' | '2M', placement: 'strict' | 'prefer' = 'strict') {
  return planLayout(
    { cpus, memoryBytes: 4 * gib, pages: { host, strict: true }, pin: true, numa: 'mirror', placement },
    machineOf({ hugePages2M: [2048] }),
  );
}

describe('arguments of a layout', () => {
  it('are the sizes alone when nothing was asked', () => {
    expect(layoutArguments(freeLayout(2, gib), 'tcg').argv).toEqual([
      ...['-cpu', 'max,la57=off'],
      ...['-smp', '2,sockets=1,dies=1,cores=2,threads=1'],
      ...['-m', '1048576K'],
    ]);
  });

  it('bind memory from the pools of each node, and tell the guest its nodes', () => {
    const { argv, disableTransparentHugePages } = layoutArguments(mirrored(5, '2M'), 'kvm');
    const text = argv.join(' ');
    expect(text).toContain('-cpu host,migratable=off,host-cache-info=on -smp 5,');
    expect(text).toContain(
      '-object memory-backend-memfd,id=memory1,hugetlb=on,hugetlbsize=2M,size=1679360K,' +
        'host-nodes=1,policy=bind,prealloc=on,prealloc-threads=8',
    );
    expect(text).toContain('-numa node,nodeid=1,memdev=memory1');
    expect(text).toContain('-numa cpu,node-id=1,socket-id=4,core-id=0,thread-id=0');
    expect(text).toContain('-numa dist,src=0,dst=1,val=21 -numa dist,src=1,dst=0,val=21');
    expect(disableTransparentHugePages).toBe(false);
  });

  it('name the one node a guest has', () => {
    const text = layoutArguments(mirrored(4, '4K'), 'kvm').argv.join(' ');
    expect(text).toContain('-object memory-backend-ram,id=memory0,size=4194304K,host-nodes=0,policy=bind');
    expect(text).toContain('-machine memory-backend=memory0');
    expect(text).not.toContain('-numa');
  });

  it('ask for small pages outside of QEMU', () => {
    expect(layoutArguments(mirrored(4, '4K'), 'kvm').disableTransparentHugePages).toBe(true);
  });

  it('let memory go elsewhere where its place is only preferred', () => {
    expect(layoutArguments(mirrored(4, 'any', 'prefer'), 'kvm').argv.join(' ')).toContain('policy=preferred');
  });

  it('keep a guest that is to move free of what would hold it', () => {
    const { argv } = layoutArguments(freeLayout(1, gib), 'kvm', { migratable: true });
    expect(argv.slice(0, 2)).toEqual(['-cpu', 'host']);
  });

  it('tell of threads and dies under tcg as Intel does', () => {
    const layout = planLayout(
      {
        cpus: 8,
        memoryBytes: gib,
        pages: { host: 'any', strict: true },
        pin: true,
        numa: 'mirror',
        placement: 'strict',
      },
      machineOf({ cachesPerNode: 2, coresPerCache: 2, threads: 1, vendor: 'AuthenticAMD' }),
    );
    expect(layout.smp.dies).toBe(2);
    expect(layoutArguments(layout, 'tcg').argv[1]).toBe('max,la57=off,vendor=GenuineIntel');
    expect(layoutArguments(layout, 'kvm').argv[1]).toContain('topoext=on');
    expect(layoutArguments(layout, 'tcg').argv.join(' ')).toContain(
      'socket-id=1,die-id=1,core-id=1,thread-id=0',
    );
  });

  it('refuse more vCPUs than have interrupt addresses', () => {
    expect(() => layoutArguments(freeLayout(255, gib), 'kvm')).not.toThrow();
    expect(() => layoutArguments(freeLayout(256, gib), 'kvm')).toThrow('254 is the highest');
    expect(() => layoutArguments(freeLayout(1000, gib), 'tcg')).toThrow(
      'as 1 socket of 1 die of 1000 cores of 1 thread: the last would have APIC id 999',
    );
  });
});

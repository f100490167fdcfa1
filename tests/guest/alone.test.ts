import { describe, expect, it } from 'vitest';
import { aloneOnHost } from '../../src/guest/alone.ts';
import { checkMemory, planLayout } from '../../src/guest/layout.ts';
import { machineOf } from './layout-machines.ts';

describe('a host as if no guest were on it', () => {
  const request = {
    cpus: 8,
    memoryBytes: 4 * 2 ** 30,
    pages: { host: '2M', strict: true },
    pin: true,
    numa: 'mirror',
    placement: 'strict',
  } as const;
  const crowded = (total: number) => {
    const machine = machineOf({ hugePages2M: [total] });
    for (const node of machine.pages.poolsByNumaNode) for (const pool of node.pools) pool.free = 0;
    machine.limits.availableMemoryBytes = 0;
    return { basics: machine, machine, takenCpus: [0, 5] };
  };

  it('has CPUs, pools and memory for what runs on it already', () => {
    const now = crowded(1024);
    expect(() => planLayout({ ...request, takenCpus: now.takenCpus }, now.machine)).toThrow();
    const { machine, basics, takenCpus } = aloneOnHost(now);
    expect(() => checkMemory(2 ** 40, basics)).not.toThrow();
    expect(planLayout({ ...request, takenCpus }, machine!).vcpus).toHaveLength(8);
    expect(now.machine.limits.availableMemoryBytes).toBe(0);
  });
  it('has no more than there is', () => {
    const { machine, takenCpus } = aloneOnHost(crowded(1023));
    expect(() => planLayout({ ...request, takenCpus }, machine!)).toThrow('of 1023 in its pool');
    expect(() => planLayout({ ...request, cpus: 9, takenCpus }, machine!)).toThrow('9 vCPUs');
  });
  it('has functions that only another guest uses', () => {
    const at = (error: string) => ({
      ...crowded(1),
      pci: [
        { address: '0000:3b:00.1', id: '8086:1', driver: 'vfio-pci', group: { number: 1, held: [], error } },
      ],
    });
    expect(aloneOnHost(at('EBUSY')).pci![0]!.group!.error).toBeUndefined();
    expect(aloneOnHost(at('EACCES')).pci![0]!.group!.error).toBe('EACCES');
  });
});

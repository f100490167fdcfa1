import { describe, expect, it } from 'vitest';
import { LodgeError } from '../../src/errors.ts';
import { checkPassThrough } from '../../src/guest/pass-through.ts';
import type { IommuGroup, PciFunction } from '../../src/machine/pci.ts';

const host = { limits: {}, user: { capabilities: [] } };

const set = (group: Partial<IommuGroup> = {}): PciFunction => ({
  address: '0000:3b:00.1',
  id: '8086:10FB',
  driver: 'vfio-pci',
  group: { number: 7, held: [], ...group },
});

function refusalOf(one: PciFunction, where: Parameters<typeof checkPassThrough>[2] = host): LodgeError {
  try {
    checkPassThrough([one], 2 ** 30, where);
  } catch (error) {
    if (error instanceof LodgeError) return error;
    throw error;
  }
  throw new Error('it was given');
}

describe('a PCI function', () => {
  it('that is set apart may be given', () => {
    expect(() => checkPassThrough([set()], 2 ** 30, host)).not.toThrow();
    expect(() => checkPassThrough([], 2 ** 30, host)).not.toThrow();
  });

  it.each<[string, PciFunction, string, string]>([
    ['is not there', { address: '0000:3b:00.1' }, 'is not there', 'lspci'],
    [
      'has no IOMMU before it',
      { address: '0000:3b:00.1', id: '8086:10FB', driver: 'vfio-pci' },
      'no IOMMU',
      'intel_iommu=on',
    ],
    [
      'is the host’s',
      { ...set({ held: [{ address: '0000:3b:00.1', driver: 'ixgbe' }] }), driver: 'ixgbe' },
      "belongs to the host's driver ixgbe",
      'driverctl set-override 0000:3b:00.1 vfio-pci',
    ],
    [
      'shares its group with one of the host’s',
      set({ held: [{ address: '0000:3b:00.0', driver: 'ixgbe' }] }),
      'group (7) with 0000:3b:00.0',
      'driverctl set-override 0000:3b:00.0 vfio-pci',
    ],
    [
      'has no driver',
      { address: '0000:3b:00.1', id: '8086:10FB', group: { number: 7, held: [] } },
      'is not set apart',
      'driverctl set-override 0000:3b:00.1 vfio-pci',
    ],
    ['is in use', set({ error: 'EBUSY' }), 'in use by another guest', 'end that guest'],
    ['may not be opened', set({ error: 'EACCES' }), 'may not be used by this user', 'chown'],
    ['has no device file', set({ error: 'ENOENT' }), 'cannot be used', 'modprobe vfio-pci'],
  ])('that %s is refused, with what to do', (_, one, what, fix) => {
    const refusal = refusalOf(one);
    expect(refusal).toMatchObject({ code: 'pci-unusable', asked: ['pci', 0] });
    expect(refusal.message).toContain(what);
    expect(refusal.fix).toContain(fix);
  });

  it('wants all memory of the guest to be lockable, by limit or capability', () => {
    const limits = { lockedBytes: { soft: 8 * 2 ** 20, hard: 8 * 2 ** 20 } };
    expect(refusalOf(set(), { ...host, limits }).message).toContain('1G of memory locked, and 8M');
    expect(() =>
      checkPassThrough([set()], 2 ** 30, { limits, user: { capabilities: ['IPC_LOCK'] } }),
    ).not.toThrow();
  });
});

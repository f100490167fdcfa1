/** Whether PCI functions of the host can be given to a guest (VFIO), and what to do where not. Pure. */

import { LodgeError } from '../errors.ts';
import type { Limits, User } from '../machine/machine.ts';
import type { PciFunction } from '../machine/pci.ts';
import { formatSize } from '../units.ts';

/**
 * Refuses what cannot be given.
 * @param memoryBytes of the guest: a device may write anywhere in it, so all of it is locked
 * @throws LodgeError `pci-unusable` for the first function that cannot be had
 */
export function checkPassThrough(
  functions: readonly PciFunction[],
  memoryBytes: number,
  { limits, user }: { limits: Pick<Limits, 'lockedBytes'>; user: Pick<User, 'capabilities'> },
): void {
  for (const [i, one] of functions.entries()) {
    const obstacle = obstacleTo(one);
    if (obstacle !== undefined) {
      throw new LodgeError('pci-unusable', `the PCI function ${one.address} ${obstacle.what}`, {
        asked: ['pci', i],
        fix: obstacle.fix,
      });
    }
  }
  const locked = limits.lockedBytes?.soft;
  if (functions.length > 0 && locked !== undefined && locked < memoryBytes && !mayLock(user)) {
    throw new LodgeError(
      'pci-unusable',
      `a guest with a PCI function has all its ${formatSize(memoryBytes)} of memory locked, and ${formatSize(locked)} may be locked here`,
      {
        asked: ['pci', 0],
        fix: 'raise the limit (ulimit -l, or memlock in /etc/security/limits.conf; under Slurm PropagateResourceLimitsExcept=MEMLOCK), or give the guest less memory',
      },
    );
  }
}

function mayLock({ capabilities }: Pick<User, 'capabilities'>): boolean {
  return capabilities.includes('IPC_LOCK');
}

function obstacleTo({ address, id, driver, group }: PciFunction): { what: string; fix: string } | undefined {
  if (id === undefined) return { what: 'is not there', fix: 'lspci -D shows what is' };
  if (group === undefined) {
    return {
      what: 'has no IOMMU in front of it: a guest could write anywhere in the memory of the host with it',
      fix: 'turn on VT-d or AMD-Vi in the firmware, and boot with intel_iommu=on (Intel; AMD needs nothing)',
    };
  }
  const held = group.held.find((member) => member.address === address) ?? group.held[0];
  if (held !== undefined) {
    const what =
      held.address === address
        ? `belongs to the host's driver ${held.driver}`
        : `is in one IOMMU group (${group.number}) with ${held.address}, which belongs to the host's driver ${held.driver}`;
    return { what, fix: `take it from the host, as root: driverctl set-override ${held.address} vfio-pci` };
  }
  if (driver !== 'vfio-pci') {
    return {
      what: 'is not set apart for guests',
      fix: `as root: driverctl set-override ${address} vfio-pci`,
    };
  }
  switch (group.error) {
    case undefined:
      return undefined;
    case 'EBUSY':
      return { what: 'is in use by another guest', fix: 'end that guest, or give this one another function' };
    case 'EACCES':
    case 'EPERM':
      return {
        what: `may not be used by this user (/dev/vfio/${group.number}: ${group.error})`,
        fix: `as root: chown "$USER" /dev/vfio/${group.number}`,
      };
    default:
      return {
        what: `cannot be used (/dev/vfio/${group.number}: ${group.error})`,
        fix: 'as root: modprobe vfio-pci; then see dmesg',
      };
  }
}

import { describe, expect, it } from 'vitest';
import { lookAtPci } from '../../src/machine/pci.ts';
import { recordedSource } from '../../src/machine/record.ts';
import type { Access } from '../../src/machine/source.ts';

/** A card of two functions behind a bridge, all in one group, and one alone. */
function source(access: Record<string, Access> = {}) {
  const uevent = (driver: string | undefined, pciClass: string, id: string): string =>
    `${driver === undefined ? '' : `DRIVER=${driver}\n`}PCI_CLASS=${pciClass}\nPCI_ID=${id}\nMODALIAS=pci:v${id}\n`;
  const files = {
    '0000:00:01.0': uevent('pcieport', '60400', '8086:1901'),
    '0000:3b:00.0': uevent('ixgbe', '20000', '8086:10FB'),
    '0000:3b:00.1': uevent('vfio-pci', '20000', '8086:10FB'),
    '0000:5e:00.0': uevent(undefined, '30200', '10DE:20B0'),
  };
  return recordedSource({
    format: 'lodge-machine-1',
    arch: 'x86_64',
    files: {
      ...Object.fromEntries(
        Object.entries(files).map(([address, text]) => [`/sys/bus/pci/devices/${address}/uevent`, text]),
      ),
      '/sys/bus/pci/devices/0000:3b:00.1/numa_node': '1\n',
      '/sys/bus/pci/devices/0000:3b:00.0/numa_node': '-1\n',
    },
    directories: {
      '/sys/kernel/iommu_groups': ['11', '7'],
      '/sys/kernel/iommu_groups/7/devices': ['0000:00:01.0', '0000:3b:00.0', '0000:3b:00.1'],
      '/sys/kernel/iommu_groups/11/devices': ['0000:5e:00.0'],
    },
    access,
    freeBytes: {},
    environment: {},
    programs: {},
    runs: {},
  });
}

const open: Access = { exists: true, readable: true, writable: true };

describe('lookAtPci', () => {
  it('tells who has what in the group of a function, bridges left out', () => {
    expect(lookAtPci('0000:3b:00.1', source({ '/dev/vfio/7': open }))).toEqual({
      address: '0000:3b:00.1',
      id: '8086:10FB',
      driver: 'vfio-pci',
      modalias: 'pci:v8086:10FB',
      numaNode: 1,
      group: { number: 7, held: [{ address: '0000:3b:00.0', driver: 'ixgbe' }] },
    });
  });

  it('tells why a group cannot be used, and that a function without driver or node has none', () => {
    const busy: Access = { exists: true, readable: false, writable: false, error: 'EBUSY' };
    expect(lookAtPci('0000:5e:00.0', source({ '/dev/vfio/11': busy }))).toEqual({
      address: '0000:5e:00.0',
      id: '10DE:20B0',
      modalias: 'pci:v10DE:20B0',
      group: { number: 11, held: [], error: 'EBUSY' },
    });
  });

  it('knows nothing of what is not there', () => {
    expect(lookAtPci('0000:ff:00.0', source())).toEqual({ address: '0000:ff:00.0' });
  });
});

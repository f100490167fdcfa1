/**
 * PCI functions of this host, and what stands in the way of giving one to a guest. Sources: sysfs-bus-pci in
 * Documentation/ABI of Linux, and its Documentation/driver-api/vfio.rst.
 */

import { liveSource, type MachineSource } from './source.ts';

export interface PciFunction {
  /** `0000:3b:00.1` */
  address: string;
  /** Vendor and device, in hexadecimal: `8086:10D3`; absent when there is no such function. */
  id?: string;
  /** The driver of the host that has it. */
  driver?: string;
  /** What drivers know it by. */
  modalias?: string;
  /** Absent where the firmware does not tell. */
  numaNode?: number;
  /** What can only be given to one guest as a whole; absent without an IOMMU. */
  group?: IommuGroup;
}

export interface IommuGroup {
  number: number;
  /** What holds functions of it for the host, and what these are; not bridges, and not what is set apart for guests. */
  held: { address: string; driver: string }[];
  /** The device file by which the group is used: the errno name that opening it gave. */
  error?: string;
}

/** Drivers that keep a function away from the host, for guests. */
const guestDrivers = new Set(['vfio-pci', 'pci-stub']);
const bridgeClass = /^604/;
const devices = '/sys/bus/pci/devices';
const groups = '/sys/kernel/iommu_groups';

/** Looks at one function. @param address with its domain: `0000:3b:00.1` */
export function lookAtPci(address: string, source: MachineSource = liveSource()): PciFunction {
  const event = uevent(source, address);
  const id = event.get('PCI_ID');
  if (id === undefined) return { address };
  const driver = event.get('DRIVER');
  const modalias = event.get('MODALIAS');
  const numaNode = Number(source.readText(`${devices}/${address}/numa_node`) ?? -1);
  const group = groupOf(address, source);
  return {
    address,
    id,
    ...(driver === undefined ? {} : { driver }),
    ...(modalias === undefined ? {} : { modalias }),
    ...(numaNode >= 0 ? { numaNode } : {}),
    ...(group === undefined ? {} : { group }),
  };
}

function groupOf(address: string, source: MachineSource): IommuGroup | undefined {
  const number = source
    .listDirectory(groups)
    .find((name) => source.listDirectory(`${groups}/${name}/devices`).includes(address));
  if (number === undefined) return undefined;
  const held = source.listDirectory(`${groups}/${number}/devices`).flatMap((member) => {
    const event = uevent(source, member);
    const driver = event.get('DRIVER');
    const isBridge = bridgeClass.test(event.get('PCI_CLASS') ?? '');
    return driver === undefined || isBridge || guestDrivers.has(driver) ? [] : [{ address: member, driver }];
  });
  const { error } = source.access(`/dev/vfio/${number}`);
  return { number: Number(number), held, ...(error === undefined ? {} : { error }) };
}

/** The lines `KEY=value` that the kernel tells of a device. */
function uevent(source: MachineSource, address: string): Map<string, string> {
  const text = source.readText(`${devices}/${address}/uevent`) ?? '';
  return new Map(
    text
      .split('\n')
      .filter((line) => line.includes('='))
      .map((line): [string, string] => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  );
}

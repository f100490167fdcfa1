/** The simulated host as a QEMU command line; docs/guides/simulated-host.md gives the reasons for each setting. */

import { join } from 'node:path';
import { installationDir } from '../../src/installation.ts';

/** What the simulated host is made of. It always has two sockets, each one NUMA node. */
export interface HostShape {
  coresPerSocket: number;
  memoryPerNodeMiB: number;
  /** 2 MiB pages in the pool of each NUMA node. */
  hugePages2M: readonly [number, number];
  /** 1 GiB pages in the pool of each NUMA node; the node's memory must leave room for them. */
  hugePages1G: readonly [number, number];
  /** An emulated IOMMU and one PCI function to pass on: for VFIO. Slows the start a little. */
  iommu: boolean;
}

export const defaultShape: HostShape = {
  coresPerSocket: 2,
  memoryPerNodeMiB: 2048,
  hugePages2M: [256, 256],
  hugePages1G: [0, 0],
  iommu: false,
};

/** Names of the files in the directory that holds a simulated host's state. */
export const stateFiles = {
  /** QEMU reads the jobs to start from the pipe `control.in`; any process may write whole lines to it. */
  control: 'control',
  console: 'console.log',
  qemuLog: 'qemu.log',
  qemuPid: 'qemu.pid',
  /** Unix socket of the terminal `/dev/hvc0`. */
  terminal: 'terminal.sock',
  /** Unix socket of QEMU's own monitor (QMP). */
  monitor: 'qmp.sock',
  share: 'share',
} as const;

/** Each is there for a reason that the guide gives. */
const kernelArguments = [
  ...['console=ttyS0', 'quiet', 'panic=-1'],
  // One CPU until init brings the others: see online_cpus in init.c.
  'maxcpus=1',
  // The emulated clocks need no check, and under load fail it.
  ...['tsc=reliable', 'no_timer_check', 'nowatchdog', 'rcu_cpu_stall_suppress=1'],
  'rcupdate.rcu_expedited=1',
  'cryptomgr.notests',
  // Else the huge pages are zeroed at the start: 1 GB more memory out here.
  'init_on_alloc=0',
  ...['audit=0', 'apparmor=0'],
];

/** Pools reserved while memory is still whole: a pool filled later can come out too small. */
function poolArguments({ hugePages2M, hugePages1G }: HostShape): string[] {
  const perNode = (pages: readonly number[]): string =>
    pages.map((count, node) => `${node}:${count}`).join(',');
  const large = hugePages1G.some((count) => count > 0)
    ? ['hugepagesz=1G', `hugepages=${perNode(hugePages1G)}`]
    : [];
  return ['hugepagesz=2M', `hugepages=${perNode(hugePages2M)}`, ...large];
}

/** What the simulated host boots. Its init finds the kernel's files for guests by the paths given here. */
export interface HostBoot {
  vmlinuxPath: string;
  modulesPath: string;
  initramfsPath: string;
}

/** The command line of the simulated host's QEMU. @param directory holds the state; see {@link stateFiles} */
export function qemuArguments(directory: string, boot: HostBoot, shape: HostShape): string[] {
  const inState = (name: string): string => join(directory, name).replaceAll(',', ',,');
  const cores = shape.coresPerSocket;
  const bytes = `${shape.memoryPerNodeMiB}M`;
  const nodes = [0, 1].flatMap((node) => [
    ...['-object', `memory-backend-ram,id=memory${node},size=${bytes}`],
    ...['-numa', `node,nodeid=${node},memdev=memory${node},cpus=${node * cores}-${(node + 1) * cores - 1}`],
  ]);
  // The kernel hands words that it does not know to init, as environment.
  const files = [
    `host_vmlinux="${boot.vmlinuxPath}"`,
    `host_modules="${boot.modulesPath}"`,
    `host_checkout="${installationDir}"`,
  ];
  const iommu = shape.iommu
    ? [
        '-device',
        'intel-iommu,intremap=on,caching-mode=on',
        '-device',
        'e1000e,id=spare,bus=pcie.0,addr=0x10',
      ]
    : [];
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-M', `q35,vmport=off,smbus=off,sata=off${shape.iommu ? ',kernel-irqchip=split' : ''}`],
    ...['-accel', 'tcg,thread=multi,tb-size=256'],
    ...['-cpu', 'EPYC,+svm,+npt'],
    ...['-smp', `${2 * cores},sockets=2,cores=${cores},threads=1`],
    ...['-m', `${2 * shape.memoryPerNodeMiB}M`],
    ...nodes,
    ...['-numa', 'dist,src=0,dst=1,val=21'],
    ...iommu,
    ...['-kernel', boot.vmlinuxPath, '-initrd', boot.initramfsPath],
    ...['-append', [...kernelArguments, ...poolArguments(shape), ...files].join(' ')],
    ...['-chardev', `file,id=console,path=${inState(stateFiles.console)}`, '-serial', 'chardev:console'],
    ...['-fsdev', 'local,id=root,path=/,security_model=none,readonly=on,multidevs=remap'],
    ...['-device', 'virtio-9p-pci,fsdev=root,mount_tag=root'],
    ...['-fsdev', `local,id=share,path=${inState(stateFiles.share)},security_model=none`],
    ...['-device', 'virtio-9p-pci,fsdev=share,mount_tag=share'],
    ...['-device', 'virtio-serial-pci'],
    ...['-chardev', `pipe,id=control,path=${inState(stateFiles.control)}`],
    ...['-device', 'virtserialport,chardev=control,name=control'],
    ...['-chardev', `socket,id=terminal,path=${inState(stateFiles.terminal)},server=on,wait=off`],
    ...['-device', 'virtconsole,chardev=terminal'],
    ...['-device', 'virtio-rng-pci'],
    ...['-qmp', `unix:${inState(stateFiles.monitor)},server=on,wait=off`],
  ];
}

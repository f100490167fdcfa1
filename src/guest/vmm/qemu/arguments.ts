/** QEMU's command line for a guest. Pure; checked against QEMU 7.2's own documentation (qemu(1), -help). */

import { LodgeError } from '../../../errors.ts';
import { fixWith, key } from '../../../fix.ts';
import type { Image } from '../../../image/image.ts';
import type { InterfacePlan } from '../../interface.ts';
import type { Beside } from '../../plan.ts';
import { guestFiles } from '../../plan.ts';
import type { MountSource } from '../../setup.ts';
import type { DriverInput, DriverPlan } from '../driver.ts';
import { lowerRoot } from '../driver.ts';
import { layoutArguments } from './layout-arguments.ts';
import { shareByVirtiofs, virtiofsNotes } from './virtiofs.ts';

/** A value inside a QEMU option: a comma is doubled (qemu(1), -fsdev and others). */
export function quote(value: string): string {
  return value.replaceAll(',', ',,');
}

/** How the guest's files come over 9p: large messages, and the cache that fits the use. */
const ninep = 'trans=virtio,version=9p2000.L,msize=524288';

export function qemuArguments(input: DriverInput): DriverPlan {
  const { image } = input;
  const accelerator = input.accelerator === 'kvm' ? 'kvm' : 'tcg';
  const layout = layoutArguments(input.layout, accelerator);
  const boot =
    image.kind === 'linux'
      ? linuxBoot(input)
      : { arguments: foreignBoot(image, input), mounts: undefined, beside: [] };
  // What common systems have a driver for; lodge's own kernels have the faster one.
  const nic = image.kind === 'linux' ? 'virtio-net-pci' : 'e1000';
  const argv = [
    'qemu-system-x86_64',
    '-no-user-config',
    '-nodefaults',
    '-name',
    `guest=${input.name},debug-threads=on`,
    // Names the guest's directory in the process list, so that the process can be found whatever was lost.
    '-pidfile',
    quote(`${input.dir}/vmm.pid`),
    ...['-accel', accelerator === 'tcg' ? 'tcg,thread=multi' : 'kvm'],
    // SeaBIOS and boot loaders then speak on the serial line.
    ...['-machine', 'q35,graphics=off,vmport=off'],
    ...layout.argv,
    ...['-display', 'none', '-no-reboot'],
    // No new privileges, no new programs: what breaks out of the guest should find nothing to climb on.
    ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny'],
    ...['-chardev', 'stdio,id=console,signal=off', '-serial', 'chardev:console'],
    ...['-chardev', `socket,id=qmp,path=${guestFiles.monitor},server=on,wait=off`],
    ...['-mon', 'chardev=qmp,mode=control'],
    ...(input.startPaused ? ['-S'] : []),
    ...boot.arguments,
    ...input.interfaces.flatMap((one, i) => interfaceArguments(one, i, nic, input.vhostNet === true)),
    ...input.spec.pci.flatMap((address) => ['-device', `vfio-pci,host=${address}`]),
  ];
  return {
    argv,
    contain: false,
    relay: false,
    wire: 'stream',
    disableTransparentHugePages: layout.disableTransparentHugePages,
    ...(boot.mounts === undefined ? {} : { mounts: boot.mounts }),
    beside: boot.beside,
    notes: [
      ...bridgeNotes(input),
      ...(boot.beside.length === 0 ? [] : virtiofsNotes(input)),
      ...(image.kind === 'linux' || input.interfaces.length === 0
        ? []
        : ['without an agent in it, the guest must set up its network (Intel e1000) itself']),
    ],
  };
}

/**
 * A network card on a stream to the keeper, which listens for the fabric. QEMU could do so itself, but then a fabric
 * that does not read stops the guest (seen with 7.2: its connections block). On a bridge of the kernel it is a TAP
 * device that the keeper has made.
 */
function interfaceArguments(
  { mac, mtuBytes, bridge }: InterfacePlan,
  index: number,
  model: 'virtio-net-pci' | 'e1000',
  vhostNet: boolean,
): string[] {
  const id = `net${index}`;
  // Nobody boots from it: without its ROM the firmware is faster.
  const device = [model, `netdev=${id}`, `mac=${mac}`, 'romfile='];
  if (model === 'virtio-net-pci') device.push(`host_mtu=${mtuBytes}`);
  // Descriptor 3 is nobody's here, and the channel's elsewhere.
  const fd = 4 + index;
  // QEMU opens /dev/vhost-net itself, as the same user.
  const tap = `tap,id=${id},fd=${fd}${vhostNet && model === 'virtio-net-pci' ? ',vhost=on' : ''}`;
  return [
    ...['-netdev', bridge === undefined ? `stream,id=${id},server=off,addr.type=fd,addr.str=${fd}` : tap],
    ...['-device', device.join(',')],
  ];
}

function bridgeNotes({ interfaces, vhostNet }: DriverInput): string[] {
  const networks = interfaces.flatMap(({ network, bridge }) => (bridge === undefined ? [] : [network]));
  if (networks.length === 0) return [];
  const way =
    vhostNet === true
      ? 'the kernel moves its frames itself (vhost)'
      : 'its frames go through QEMU, without vhost';
  return [`${networks.join(', ')}: on a bridge of the kernel; ${way}`];
}

interface LinuxBoot {
  arguments: string[];
  mounts: NonNullable<DriverPlan['mounts']>;
  beside: Beside[];
}

function linuxBoot(input: DriverInput): LinuxBoot {
  const { kernel, initramfsPath } = input.boot!;
  const { root } = input.image as Extract<Image, { kind: 'linux' }>;
  const argv: string[] = [
    ...['-kernel', kernel.vmlinuxPath, '-initrd', initramfsPath],
    ...['-append', linuxLine(kernelCommandLine(input))],
    ...[
      '-device',
      'virtio-serial-pci',
      '-chardev',
      `socket,id=channel,path=${guestFiles.channel},server=on,wait=off`,
    ],
    ...['-device', 'virtserialport,chardev=channel,name=lodge.0'],
    // The guest's kernel tells of its panic, so that it is not taken for a shutdown.
    ...['-device', 'pvpanic-pci', '-action', 'panic=exit-failure'],
  ];
  let shares = 0;
  const share = (path: string, readOnly: boolean): MountSource => {
    const tag = `share${shares++}`;
    // As root, files keep the owner the guest gives them; else the host's user owns all, and chown is refused.
    const security = input.user.uid === 0 ? 'passthrough' : 'none';
    const access = readOnly ? ',readonly=on' : '';
    argv.push(
      '-fsdev',
      `local,id=${tag},path=${quote(path)},security_model=${security},multidevs=remap${access}`,
    );
    argv.push('-device', `virtio-9p-pci,fsdev=${tag},mount_tag=${tag}`);
    // What never changes may be cached without asking; what the host may change is looked at each time.
    return { source: tag, type: '9p', options: `${ninep},cache=${readOnly ? 'loose' : 'mmap'}` };
  };
  let rootMount: MountSource;
  if (root.kind === 'host') {
    rootMount = share('/', true);
  } else {
    argv.push('-drive', `if=none,id=root,format=raw,readonly=on,file=${quote(root.path)}`);
    argv.push('-device', 'virtio-blk-pci,drive=root');
    rootMount = { source: '/dev/vda', type: root.filesystem, options: '' };
  }
  const beside: Beside[] = [];
  const volumes = input.volumes.map((volume) => {
    if (input.virtiofs === undefined) return share(volume.source, volume.readOnly);
    const served = shareByVirtiofs(`share${shares++}`, volume, input, input.virtiofs);
    argv.push(...served.arguments);
    beside.push(served.beside);
    return served.mount;
  });
  const mounts: LinuxBoot['mounts'] = { root: { kind: 'mounted', ...rootMount }, volumes };
  if (kernel.modulesPath !== undefined) {
    // Elsewhere a directory on the way may be one that this user may not list, and QEMU's 9p goes through no such.
    mounts.modules =
      root.kind === 'host' && kernel.modulesPath.startsWith('/lib/modules/')
        ? { source: `${lowerRoot}${kernel.modulesPath}`, type: '', flags: 'bind', options: '' }
        : share(kernel.modulesPath, true);
  }
  return { arguments: argv, mounts, beside };
}

/** Linux on x86 (COMMAND_LINE_SIZE, less the end). Where QEMU gives it more, it hangs and says nothing. */
const longestLine = 2047;

/** @throws LodgeError `driver-cannot` for a command line that is longer than Linux takes */
function linuxLine(words: readonly string[]): string {
  const line = words.join(' ');
  const over = Buffer.byteLength(line) - longestLine;
  if (over <= 0) return line;
  const message = `the kernel's command line is ${over + longestLine} bytes long, and Linux takes ${longestLine}`;
  throw new LodgeError('driver-cannot', message, {
    fix: fixWith`leave out ${String(over)} bytes or more of ${key('append')}`,
    asked: ['append'],
  });
}

function kernelCommandLine(input: DriverInput): string[] {
  return [
    'console=ttyS0',
    // Errors and the panic stay visible; the rest costs time on an emulated serial line.
    'quiet',
    'panic=-1',
    'lodge.channel=virtio',
    // Else the kernel tests its own ciphers: a tenth of an emulated boot.
    'cryptomgr.notests',
    // The emulated clock is right by construction: no need to calibrate against another emulated clock.
    ...(input.accelerator === 'tcg' ? ['tsc=reliable', 'mitigations=off'] : []),
    ...words(input.spec.append),
  ];
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}

/** Guests that lodge has no agent in: they get what common systems have drivers for. */
function foreignBoot(image: Exclude<Image, { kind: 'linux' }>, input: DriverInput): string[] {
  const append = words(input.spec.append);
  switch (image.kind) {
    case 'kernel': {
      const line =
        image.format === 'multiboot' ? append.join(' ') : linuxLine(['console=ttyS0', 'panic=-1', ...append]);
      return [
        ...['-kernel', image.kernelPath],
        // Multiboot kernels may have several modules, with commas between them.
        ...(image.initrdPath === undefined
          ? []
          : ['-initrd', image.format === 'multiboot' ? quote(image.initrdPath) : image.initrdPath]),
        ...(line === '' ? [] : ['-append', line]),
      ];
    }
    case 'disk':
      return [
        ...firmware(image.firmware, input),
        // SATA, because every system can boot from it; what is written goes to a throw-away file. Where there is no room
        // for that, writes fail, as on a disk that is broken: QEMU's own way is to stop the guest without a word.
        '-drive',
        `if=ide,media=disk,snapshot=on,werror=report,format=${image.format},file=${quote(image.path)}`,
      ];
    case 'iso':
      return [
        ...firmware(image.firmware, input),
        ...['-drive', `if=ide,media=cdrom,readonly=on,format=raw,file=${quote(image.path)}`, '-boot', 'd'],
      ];
  }
}

function firmware(kind: 'bios' | 'uefi', input: DriverInput): string[] {
  if (kind === 'bios' || input.uefi === undefined) return [];
  return [
    ...['-drive', `if=pflash,unit=0,format=raw,readonly=on,file=${quote(input.uefi.codePath)}`],
    ...['-drive', `if=pflash,unit=1,format=raw,snapshot=on,file=${quote(input.uefi.variablesPath)}`],
  ];
}

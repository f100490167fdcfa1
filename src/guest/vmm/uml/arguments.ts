/** The command line of user-mode Linux for a guest. Pure. Options: `linux.uml --help`. */

import { fixWith, key } from '../../../fix.ts';
import type { Image } from '../../../image/image.ts';
import { formatCpuList } from '../../../units.ts';
import { outermost } from '../../confinement.ts';
import { guestFiles } from '../../plan.ts';
import type { MountSource } from '../../setup.ts';
import type { DriverInput, DriverPlan, Refusal } from '../driver.ts';
import { lowerRoot } from '../driver.ts';

const leftOut = 'initcall_blacklist=';

/**
 * What the kernel measures at each boot, for longer than all else in it takes: which of its ways to compute checksums
 * of RAID is the fastest here. Without, it takes the first for RAID 5, and has no RAID 6 (lib/raid6/algos.c,
 * crypto/xor.c); both are in btrfs only, which in such a guest has no disk but loop devices.
 */
const measurements = ['raid6_select_algo', 'calibrate_xor_blocks'];

export function umlArguments(input: DriverInput): DriverPlan {
  const { kernel, initramfsPath } = input.boot!;
  const { root } = input.image as Extract<Image, { kind: 'linux' }>;
  const { hostCpus } = input.layout.vcpus[0]!;
  const ring = `${input.dir}/${guestFiles.ring}`;
  const shared = input.volumes.filter((volume) => !volume.readOnly).map((volume) => volume.source);
  const writable = outermost([ring, ...shared]);
  const words = input.spec.append.split(/\s+/).filter((word) => word !== '');
  const argv = [
    // All processes of the guest are its kernel's children, and stay where that is.
    ...(hostCpus.length === 0 ? [] : ['taskset', '-c', formatCpuList(hostCpus)]),
    kernel.vmlinuxPath,
    `mem=${input.layout.nodes[0]!.memoryBytes / 1024}K`,
    ...['umid=uml', 'con=null', 'con0=fd:0,fd:1', 'ssl=null', 'ssl0=fd:3'],
    ...['console=tty0', 'quiet', 'panic=-1', 'noreboot', 'lodge.channel=uml', 'rdinit=/init'],
    // Else more than half of its boot: tests of its own ciphers, and 512 devices for terminals as BSD had them.
    ...['cryptomgr.notests', 'pty.legacy_count=0'],
    ...(words.some((word) => word.startsWith(leftOut)) ? [] : [`${leftOut}${measurements.join(',')}`]),
    ...(root.kind === 'block' ? [`ubd0r=${root.path}`] : []),
    // The keeper's end of each is at netN.sock. Descriptor 3 is the channel.
    ...input.interfaces.map(
      ({ mac, mtuBytes }, i) => `vec${i}:transport=fd,fd=${4 + i},mac=${mac},mtu=${mtuBytes}`,
    ),
    ...words,
    // Last, as it reads them itself: its kernel reads all of the line once more, where what is in a path might hide
    // what comes after it. Its own files go to the guest's directory, not to the user's home.
    ...[`initrd=${initramfsPath}`, `iomem=mmapper,${ring}`, `uml_dir=${input.dir}/${guestFiles.scratch}/`],
  ];
  const hostfs = (path: string): MountSource => ({ source: 'hostfs', type: 'hostfs', options: path });
  return {
    argv,
    // Each process of the guest is one of the host, and survives the death of the kernel that traces it.
    contain: true,
    // The guest's root can mount any directory of the host, and again for writing what is mounted read-only.
    ...(writable === undefined ? {} : { writable }),
    relay: true,
    wire: 'datagrams',
    disableTransparentHugePages: false,
    mounts: {
      root: {
        kind: 'mounted',
        ...(root.kind === 'host' ? hostfs('/') : { source: '/dev/ubda', type: root.filesystem, options: '' }),
      },
      volumes: input.volumes.map((volume) => hostfs(volume.source)),
      ...(kernel.modulesPath === undefined
        ? {}
        : {
            modules:
              root.kind === 'host'
                ? { source: `${lowerRoot}${kernel.modulesPath}`, type: '', flags: 'bind', options: '' }
                : hostfs(kernel.modulesPath),
          }),
    },
    beside: [],
    notes: [
      `user-mode Linux: the guest runs with your rights on this host: its root can read what you can, and write ${
        writable === undefined
          ? 'what you can'
          : 'what is shared without :ro, where a mount namespace can be made'
      }`,
      ...(input.user.uid === 0 ? [] : ["in it, files of other users show as nobody's"]),
    ],
  };
}

/** Why user-mode Linux cannot give this guest; undefined when it can. */
export function umlRefusal({ spec, image }: Pick<DriverInput, 'spec' | 'image'>): Refusal | undefined {
  const fix = fixWith`use ${key('accelerator', 'kvm')} or tcg`;
  if (image.kind !== 'linux')
    return { what: `an image of kind '${image.kind}': it runs its own kernel only`, fix, key: 'image' };
  if (spec.kernel !== undefined) return { what: 'another kernel: it runs its own only', fix, key: 'kernel' };
  if (spec['mount-type'] !== undefined) {
    return {
      what: `directories by ${spec['mount-type']}: it has hostfs, by which it reads the host's files itself`,
      fix: fixWith`leave out ${key('mount-type')}, or ${fix}`,
      key: 'mount-type',
    };
  }
  if (spec.cpus > 1)
    return {
      what: `${spec.cpus} vCPUs: it has one`,
      fix: fixWith`${key('cpus', '1')}, or ${fix}`,
      key: 'cpus',
    };
  if (spec.pages.host === '2M' || spec.pages.host === '1G')
    return { what: `${spec.pages.host} pages`, fix, key: 'pages' };
  if (spec.numa === 'mirror') return { what: 'NUMA nodes', fix, key: 'numa' };
  if (spec.pci.length > 0) return { what: 'PCI functions of the host', fix, key: 'pci' };
  if (spec.memory < umlLeastMemoryBytes)
    return {
      what: 'less than 64M of memory',
      fix: fixWith`${key('memory', '64M')}, or ${fix}`,
      key: 'memory',
    };
  // Of a disk's file it takes no more than what is before one of these, and its kernel hides what follows a quotation mark.
  if (image.root.kind === 'block' && /[\s",:]/.test(image.root.path))
    return {
      what: `an image with a space, comma, colon or quotation mark in its path: ${image.root.path}`,
      fix: fixWith`give the file another path (ln -s will do; LODGE_DATA_DIR for an image in the store), or use ${key('accelerator', 'kvm')} or tcg`,
      key: 'image',
    };
  return undefined;
}

/** Below this, boots were seen to panic now and then. */
const umlLeastMemoryBytes = 64 * 1024 * 1024;

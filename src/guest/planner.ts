/** From what was asked and what was found to the plan of one guest. Pure: no file, clock, process or network. */

import { LodgeError } from '../errors.ts';
import { fixWith, key } from '../fix.ts';
import type { Image, Kernel } from '../image/image.ts';
import type { Accelerator } from '../machine/accelerators.ts';
import type { Machine, MachineBasics } from '../machine/machine.ts';
import type { PciFunction } from '../machine/pci.ts';
import { formatSize } from '../units.ts';
import { type Membership, maxInterfaces } from './interface.ts';
import { checkMemory, freeLayout, type Layout, planLayout } from './layout.ts';
import { checkPassThrough } from './pass-through.ts';
import type { DriverName, GuestPlan } from './plan.ts';
import { planSetup, planVolumeSetup } from './setup.ts';
import type { GuestSpec, Volume } from './spec.ts';
import type { HostUser } from './user.ts';
import type { DriverInput, DriverPlan, Refusal } from './vmm/driver.ts';
import { netnsArguments, netnsRefusal } from './vmm/netns/arguments.ts';
import { qemuArguments } from './vmm/qemu/arguments.ts';
import { umlArguments, umlRefusal } from './vmm/uml/arguments.ts';
import { planVolumes, waysToVolumes } from './volumes.ts';

/** 96 MiB were enough for the generic kernel of Debian 12 with all it needs, 64 were not. */
const leastLinuxBytes = 96 * 1024 * 1024;

/** All that a plan is made of. Whoever fills it looks; the planner only decides. */
export interface PlanInput {
  spec: GuestSpec;
  name: string;
  id: string;
  dir: string;
  image: Image;
  accelerator: Accelerator;
  /** Why other accelerators were passed over, for the notes. */
  passedOver: readonly string[];
  boot?: { kernel: Kernel; initramfsPath: string };
  basics: MachineBasics;
  /** The whole machine; needed where placement is asked for. */
  machine?: Machine;
  user: HostUser;
  cwd: string;
  /** Where the spec asks for virtiofs: what is there for it. */
  virtiofs?: NonNullable<DriverInput['virtiofs']>;
  /** See {@link planVolumes}. */
  sharedHome?: { source: string; target: string } | 'none';
  /** Of the directories that are or may be shared, and of those on the way to them: those that the user may not list. */
  unlisted?: readonly string[];
  /** Where the spec asks for PCI functions of the host: what they are, in its order. */
  pci?: readonly PciFunction[];
  /** For namespaces of the host: what they start with. */
  namespaces?: NonNullable<DriverInput['namespaces']>;
  /** Of a cluster: its interfaces and names. */
  member?: Membership;
  /** Host CPUs that other guests of this user are pinned to. */
  takenCpus: readonly number[];
  uefi?: NonNullable<DriverInput['uefi']>;
  /** See {@link DriverInput}. */
  vhostNet?: boolean;
  objects: readonly string[];
}

const bootTimeoutMs: Record<Accelerator, number> = { kvm: 60_000, uml: 60_000, tcg: 300_000, netns: 30_000 };

/** Whether a spec asks where on the host the guest sits. */
export function asksPlacement(spec: GuestSpec): boolean {
  return spec.pin !== false || spec.numa !== 'none' || spec.pages.host !== 'any';
}

const drivers: Readonly<Record<DriverName, (input: DriverInput) => DriverPlan>> = {
  qemu: qemuArguments,
  uml: umlArguments,
  netns: netnsArguments,
};

export function driverOf(accelerator: Accelerator): DriverName {
  return accelerator === 'uml' || accelerator === 'netns' ? accelerator : 'qemu';
}

/** Why guests of a kind can be on no bridge of the kernel; undefined when they can. */
export function bridgeRefusal(accelerator: Accelerator | 'auto'): Refusal | undefined {
  if (accelerator === 'auto' || driverOf(accelerator) === 'qemu') return undefined;
  return {
    what: 'a network that is a bridge of the kernel',
    fix: fixWith`${key('accelerator', 'kvm')} or tcg for its members, or leave out bridge: the user-space fabric joins all kinds`,
    key: 'accelerator',
  };
}

/** Whether any of its interfaces is on a bridge of the kernel. */
export function isOnBridge(member: Pick<Membership, 'interfaces'> | undefined): boolean {
  return member?.interfaces.some(({ bridge }) => bridge !== undefined) === true;
}

/**
 * Why the driver of an accelerator cannot give what is asked; undefined when it can.
 */
export function refusal(
  accelerator: Accelerator,
  spec: GuestSpec,
  image: Image,
  isOnBridge = false,
): Refusal | undefined {
  const noBridge = isOnBridge ? bridgeRefusal(accelerator) : undefined;
  if (noBridge !== undefined) return noBridge;
  if (accelerator === 'uml') return umlRefusal({ spec, image });
  if (accelerator === 'netns') return netnsRefusal({ spec, image });
  // With less, a Debian kernel hangs before it can say so.
  if (image.kind === 'linux' && spec.memory < leastLinuxBytes) {
    return {
      what: `less than ${formatSize(leastLinuxBytes)} of memory`,
      fix: fixWith`${key('memory', formatSize(leastLinuxBytes))}`,
      key: 'memory',
    };
  }
  return undefined;
}

/**
 * Plans a guest.
 * @throws LodgeError `driver-cannot`, `placement-unmet`, `not-enough-memory`, `share-unusable`
 */
export function planGuest(input: PlanInput): GuestPlan {
  const { spec, image, accelerator } = input;
  const cannot = refusal(accelerator, spec, image, isOnBridge(input.member));
  if (cannot !== undefined) {
    throw new LodgeError('driver-cannot', `${accelerator} cannot give ${cannot.what}`, {
      fix: cannot.fix,
      asked: [cannot.key],
    });
  }
  if (image.kind !== 'linux' && spec.volumes.length > 0) {
    throw new LodgeError('driver-cannot', `an image of kind '${image.kind}' has no agent to mount volumes`, {
      fix: fixWith`leave out ${key('volumes')}, or boot a Linux image`,
      asked: ['volumes'],
    });
  }
  if (image.kind !== 'linux' && spec['mount-type'] !== undefined) {
    throw new LodgeError('driver-cannot', `an image of kind '${image.kind}' has no agent to mount anything`, {
      fix: fixWith`leave out ${key('mount-type')}, or boot a Linux image`,
      asked: ['mount-type'],
    });
  }
  if (image.kind === 'kernel' && image.format === 'multiboot' && image.initrdPath?.includes(' ')) {
    throw new LodgeError('driver-cannot', 'QEMU reads the path of a multiboot module up to its first space', {
      fix: `put it at a path without one: '${image.initrdPath}'`,
      asked: ['image'],
    });
  }
  if (firmwareOf(image) === 'uefi' && input.uefi === undefined) {
    throw new LodgeError('missing-program', 'this image needs UEFI firmware, which is not installed', {
      fix: fixWith`apt-get install ovmf, or ${key('firmware', 'bios')}`,
      asked: [spec.firmware === undefined ? 'image' : 'firmware'],
    });
  }
  const interfaces = [...(input.member?.interfaces ?? [])];
  if (interfaces.length > maxInterfaces) {
    throw new LodgeError('driver-cannot', `a guest cannot have ${interfaces.length} network interfaces`, {
      fix: `put it in at most ${maxInterfaces} networks`,
      asked: [],
    });
  }
  // What is not set apart cannot be missing.
  if (accelerator !== 'netns') checkMemory(spec.memory, input.basics, spec.pages.host);
  checkPassThrough(input.pci ?? [], spec.memory, input.basics);
  const layout = layoutOf(input);
  const volumes =
    image.kind === 'linux'
      ? planVolumes({
          asked: spec.volumes,
          share: spec.share,
          home: input.user.home,
          cwd: input.cwd,
          ...(input.sharedHome === undefined ? {} : { sharedHome: input.sharedHome }),
          ...(isBy9p(input) ? { unlisted: input.unlisted ?? [] } : {}),
        })
      : [];
  const verifyPlacement = asksPlacement(spec);
  const driver = driverOf(accelerator);
  const driverInput: DriverInput = {
    ...input,
    layout,
    volumes,
    interfaces,
    startPaused: verifyPlacement && driver === 'qemu',
  };
  const drive = drivers[driver](driverInput);
  const rootKind = drive.mounts?.root.kind ?? 'mounted';
  return {
    version: 1,
    name: input.name,
    hostname: hostnameOf(input),
    id: input.id,
    driver,
    accelerator,
    image: { name: image.name, kind: image.kind, ...(image.kind === 'linux' ? { id: image.id } : {}) },
    dir: input.dir,
    argv: drive.argv,
    beside: drive.beside,
    contain: drive.contain,
    ...(drive.writable === undefined ? {} : { writable: drive.writable }),
    relay: drive.relay,
    interfaces,
    wire: drive.wire,
    ...(rootKind === 'mounted' ? {} : { namespaces: { layered: rootKind === 'layered' } }),
    ...(input.member?.cluster === undefined ? {} : { cluster: input.member.cluster }),
    disableTransparentHugePages: drive.disableTransparentHugePages,
    cpus: spec.cpus,
    memoryBytes: spec.memory,
    layout,
    verifyPlacement,
    volumes,
    isHostRoot: image.kind === 'linux' && image.root.kind === 'host',
    ...(image.kind === 'linux' && image.defaults !== undefined ? { defaults: image.defaults } : {}),
    agent: image.kind === 'linux',
    ...(image.kind === 'linux' ? stepsOf(input, volumes, drive.mounts!) : { setup: [], volumeSetup: [] }),
    bootTimeoutMs: spec['boot-timeout'] ?? bootTimeoutMs[accelerator],
    objects: [...input.objects],
    notes: [...input.passedOver, ...layout.notes, ...layout.shortfalls, ...drive.notes],
  };
}

function layoutOf({ spec, image, machine, takenCpus, virtiofs }: PlanInput): Layout {
  const sharedMemory = image.kind === 'linux' && virtiofs !== undefined;
  if (!asksPlacement(spec)) return freeLayout(spec.cpus, spec.memory, sharedMemory);
  const { cpus, memory: memoryBytes, pages, pin, numa, placement } = spec;
  return planLayout({ cpus, memoryBytes, pages, pin, numa, placement, sharedMemory, takenCpus }, machine!);
}

function stepsOf(
  input: PlanInput,
  volumes: readonly Volume[],
  mounts: NonNullable<DriverPlan['mounts']>,
): Pick<GuestPlan, 'setup' | 'volumeSetup'> {
  const modules =
    mounts.modules === undefined ? undefined : { release: input.boot!.kernel.release, mount: mounts.modules };
  return {
    setup: planSetup({
      hostname: hostnameOf(input),
      root: mounts.root,
      ...(modules === undefined ? {} : { modules }),
      // Half of the memory there is, which under namespaces would be half of the host's.
      layerSize: input.accelerator === 'netns' ? String(input.spec.memory) : '50%',
      ...(input.member === undefined ? {} : { member: input.member }),
    }),
    volumeSetup: planVolumeSetup(
      volumes.map((volume, i) => ({ ...volume, mount: mounts.volumes[i]! })),
      mounts.root.kind,
      modules,
      hasRootBy9p(input) ? waysToVolumes(volumes, input.unlisted ?? []) : [],
    ),
  };
}

/** Whether QEMU itself shares the volumes. */
function isBy9p({ accelerator, virtiofs }: PlanInput): boolean {
  return driverOf(accelerator) === 'qemu' && virtiofs === undefined;
}

function hasRootBy9p({ accelerator, image }: PlanInput): boolean {
  return driverOf(accelerator) === 'qemu' && image.kind === 'linux' && image.root.kind === 'host';
}

function hostnameOf({ name, member }: PlanInput): string {
  return member?.hostname ?? name;
}

function firmwareOf(image: Image): 'bios' | 'uefi' | undefined {
  return image.kind === 'disk' || image.kind === 'iso' ? image.firmware : undefined;
}

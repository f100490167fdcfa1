/** Looks at what a plan needs to know (image, kernel, accelerators, machine) and hands it to the planner. */

import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { LodgeError, retold } from '../errors.ts';
import { fixWith, key } from '../fix.ts';
import type { Image, Kernel, Root } from '../image/image.ts';
import { buildInitramfs } from '../image/initramfs.ts';
import { defaultKernel, umlKernel } from '../image/kernel.ts';
import type { Progress } from '../image/kernel-debian.ts';
import { kernelFromFile } from '../image/kernel-file.ts';
import { modulesForDevices } from '../image/modules.ts';
import { resolveImage } from '../image/resolve.ts';
import { requireUsable } from '../image/small-file.ts';
import type { Store } from '../image/store.ts';
import { builtFile } from '../installation.ts';
import { type Accelerator, accelerators, mayLayerRoot, proveAccelerator } from '../machine/accelerators.ts';
import { probeLimits } from '../machine/basics.ts';
import { lookAtPci, type PciFunction } from '../machine/pci.ts';
import { probeMachine } from '../machine/probe.ts';
import { aloneOnHost } from './alone.ts';
import type { Membership } from './interface.ts';
import type { GuestPlan } from './plan.ts';
import { asksPlacement, isOnBridge, type PlanInput, planGuest, refusal } from './planner.ts';
import type { GuestSpec } from './spec.ts';
import { guestDir, listGuests } from './state.ts';
import { type HostUser, thisUser } from './user.ts';
import type { Refusal } from './vmm/driver.ts';
import {
  checkSources,
  checkTargets,
  checkWorkingDirectory,
  realPath,
  unlistedOf,
  volumesHere,
} from './volume-sources.ts';

export interface ResolveOptions {
  store: Store;
  onProgress: Progress;
  cwd: string;
  /** What the guest is in a cluster; its name then is that of the member. */
  member?: Membership;
}

/** All that a plan needs, but for what is each guest's own. */
export type GuestLook = Omit<PlanInput, 'name' | 'id' | 'dir' | 'member'>;

/**
 * Completes a spec with what is found here, and plans it.
 * @throws LodgeError for whatever is missing or cannot be had; nothing is left behind
 */
export async function resolveGuest(spec: GuestSpec, options: ResolveOptions): Promise<GuestPlan> {
  const { member } = options;
  const look = await lookForGuest(spec, options, {
    hasInterfaces: (member?.interfaces.length ?? 0) > 0,
    isOnBridge: isOnBridge(member),
  });
  const plan = planFromLook(look, member === undefined ? {} : { member });
  options.onProgress(`${plan.accelerator} guest of ${plan.image.name}`);
  return plan;
}

/**
 * Plans a guest from what was found for its spec; many guests may have one look, unless they ask for a placement of
 * their own.
 * @throws LodgeError for what cannot be had
 */
export function planFromLook(look: GuestLook, { member }: { member?: Membership }): GuestPlan {
  const plan = planIgnoringSources(look, member);
  checkSources(look.spec.volumes);
  return plan;
}

/**
 * Refuses what this host could not give if no other guest were there. Whether shared directories are there is not
 * looked at: a guest that runs has them (`requireSources`).
 * @throws LodgeError for what cannot be had
 */
export function checkLook(look: GuestLook): void {
  planIgnoringSources(aloneOnHost(look));
}

function planIgnoringSources(look: GuestLook, member?: Membership): GuestPlan {
  const id = randomBytes(8).toString('hex');
  const name = member?.name ?? look.spec.name ?? `g-${id.slice(0, 8)}`;
  const plan = planGuest({
    ...look,
    name,
    id,
    dir: guestDir(name),
    ...(member === undefined ? {} : { member }),
  });
  if (plan.namespaces?.layered === false) checkTargets(plan.volumes, look.spec.volumes);
  return plan;
}

/** What of a guest's networks decides what it gets. */
export interface NetworkNeeds {
  hasInterfaces: boolean;
  /** On a bridge of the kernel. */
  isOnBridge: boolean;
}

/** Looks at what a guest of this spec would get here. @throws LodgeError for whatever is missing */
export async function lookForGuest(
  spec: GuestSpec,
  options: ResolveOptions,
  { hasInterfaces, isOnBridge }: NetworkNeeds,
): Promise<GuestLook> {
  const { store } = options;
  checkWorkingDirectory(spec, options.cwd);
  const image = withFirmware(await askedBy(['image'], () => resolveImage(spec.image, store)), spec);
  const { accelerator, passedOver } = await chooseAccelerator(spec, image, options, isOnBridge);
  const pci = await Promise.all(spec.pci.map((address, i) => askedBy(['pci', i], () => lookAtPci(address))));
  const boot =
    image.kind === 'linux' && accelerator !== 'netns'
      ? await bootOf(image, spec, accelerator, options, { hasInterfaces, pci })
      : undefined;
  const user = thisUser();
  const volumes = volumesHere(spec, options.cwd, user);
  const home = sharedHome(user.home, image);
  return {
    spec: { ...spec, volumes },
    image,
    accelerator,
    passedOver,
    ...(boot === undefined ? {} : { boot }),
    ...(accelerator === 'netns' ? { namespaces: lookAtRoot() } : {}),
    ...(pci.length === 0 ? {} : { pci }),
    basics: probeLimits(),
    ...(asksPlacement(spec) ? { machine: await probeMachine() } : {}),
    user,
    cwd: options.cwd,
    sharedHome: home,
    unlisted: unlistedOf([
      options.cwd,
      ...[...(home === 'none' ? [] : [home]), ...volumes].flatMap(({ source, target }) => [source, target]),
    ]),
    takenCpus: asksPlacement(spec) ? pinnedCpus() : [],
    ...findUefi(),
    ...(isOnBridge ? { vhostNet: accelerator === 'kvm' && opens('/dev/vhost-net') } : {}),
    ...(await findVirtiofs(spec, image, user)),
    objects: objectsOf(store, image, boot),
  };
}

/** What a key asked for: errors know it. */
async function askedBy<T>(
  asked: readonly [keyof GuestSpec, ...number[]],
  action: () => T | Promise<T>,
): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (!(error instanceof LodgeError) || error.asked !== undefined) throw error;
    throw retold(error, { asked });
  }
}

function withFirmware(image: Image, spec: GuestSpec): Image {
  const asked = spec.firmware;
  if (asked === undefined) return image;
  if (image.kind === 'disk' || image.kind === 'iso') return { ...image, firmware: asked };
  throw new LodgeError('spec-value', `an image of kind '${image.kind}' is booted without firmware`, {
    fix: fixWith`leave out ${key('firmware')}: it is for disks and ISOs`,
    asked: ['firmware'],
  });
}

/** The accelerator asked for, or the first that works here and can give what is asked. */
async function chooseAccelerator(
  spec: GuestSpec,
  image: Image,
  options: ResolveOptions,
  isOnBridge: boolean,
): Promise<{ accelerator: Accelerator; passedOver: string[] }> {
  const passedOver: string[] = [];
  const refusals: Refusal[] = [];
  const asked = spec.accelerator;
  for (const accelerator of asked === 'auto' ? accelerators : [asked]) {
    const cannot = refusal(accelerator, spec, image, isOnBridge);
    if (cannot !== undefined) {
      if (asked !== 'auto') {
        throw new LodgeError('driver-cannot', `${accelerator} cannot give ${cannot.what}`, {
          fix: cannot.fix,
          asked: [cannot.key],
        });
      }
      refusals.push(cannot);
      passedOver.push(`not ${accelerator}: it cannot give ${cannot.what}`);
      continue;
    }
    const verdict = await proveAccelerator(accelerator, {
      stateDir: join(options.store.path, 'accelerators'),
      onProbe: () => {
        requireUsable(options.store.path);
        options.onProgress(
          `finding out whether ${accelerator} works here, by booting a probe guest (once)`,
          true,
        );
      },
      kernel: async () => ({ path: (await defaultKernel(options.store, options)).vmlinuxPath }),
    });
    if (verdict.usable) return { accelerator, passedOver };
    if (asked !== 'auto') {
      throw new LodgeError('accelerator-unusable', `${accelerator} is not usable here: ${verdict.reason}`, {
        fix: verdict.fix ?? 'lodge doctor shows what is',
        asked: ['accelerator'],
      });
    }
    passedOver.push(`not ${accelerator}: ${verdict.reason}`);
  }
  // Where none could give it, on whatever host, the doctor has no advice.
  const beyondAll = refusals.length === passedOver.length ? refusals.at(-1) : undefined;
  throw new LodgeError('accelerator-unusable', 'no accelerator here can boot this guest', {
    detail: passedOver.join('\n'),
    fix: beyondAll?.fix ?? 'lodge doctor says what is missing',
    asked: [beyondAll?.key ?? 'accelerator'],
  });
}

/** File systems that a guest has of its own, or that mean nothing outside of the mounts that made them. */
const ownPlaces = /^\/(?:dev|proc|sys|run|tmp|lodge)(?:\/|$)/;

/** What a guest of namespaces shows of the host. */
function lookAtRoot(): NonNullable<PlanInput['namespaces']> {
  const layered = mayLayerRoot();
  return {
    agentPath: builtFile('agent'),
    layered,
    hostMounts: layered ? mountPoints(readFileSync('/proc/self/mountinfo', 'utf8')) : [],
    ownFiles: ['/etc/hostname', '/etc/hosts'].filter((path) => existsSync(path)),
  };
}

/** Where file systems are mounted that a guest is to see, parents first. Format of mountinfo: proc(5). */
export function mountPoints(mountinfo: string): string[] {
  const points = mountinfo.split('\n').flatMap((line) => {
    const [, , , , point, ...rest] = line.split(' ');
    const type = rest[rest.indexOf('-') + 1];
    if (point === undefined || point === '/' || ownPlaces.test(point) || type === 'autofs') return [];
    return [
      point.replaceAll(/\\([0-7]{3})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 8))),
    ];
  });
  // One that is mounted over another hides it. By its path a parent comes before what is in it.
  return [...new Set(points)].sort((a, b) => (a < b ? -1 : 1));
}

/** It only tells QEMU of a panic, which the console tells as well. */
const optionalModules = ['pvpanic-pci'];
const virtioModules = ['virtio_pci', 'virtio_console', 'pvpanic-pci', '9pnet_virtio', '9p', 'overlay'];

/** Modules that must be there before the guest's root is. */
function bootModules(
  accelerator: Accelerator,
  root: Root,
  spec: GuestSpec,
  hasInterfaces: boolean,
): string[] {
  const filesystem = root.kind === 'block' ? [root.filesystem] : [];
  if (accelerator === 'uml') return ['overlay', ...filesystem];
  return [
    ...virtioModules,
    ...(root.kind === 'block' ? ['virtio_blk', ...filesystem] : []),
    ...(spec['mount-type'] === 'virtiofs' ? ['virtiofs'] : []),
    ...(hasInterfaces ? ['virtio_net'] : []),
  ];
}

async function bootOf(
  image: Extract<Image, { kind: 'linux' }>,
  spec: GuestSpec,
  accelerator: Accelerator,
  options: ResolveOptions,
  { hasInterfaces, pci }: { hasInterfaces: boolean; pci: readonly PciFunction[] },
): Promise<NonNullable<PlanInput['boot']>> {
  const { store, onProgress } = options;
  let kernel: Kernel;
  if (accelerator === 'uml') {
    const uml = await umlKernel(store);
    kernel = { ...uml, vmlinuxPath: uml.path, source: 'host' };
  } else if (spec.kernel !== undefined) {
    const { kernel: file } = spec;
    kernel = { ...(await askedBy(['kernel'], () => kernelFromFile(store, file))), file };
  } else {
    kernel = image.kernel ?? (await defaultKernel(store, { onProgress }));
  }
  const passedOn = modulesOf(pci, kernel);
  const initramfs = await buildInitramfs({
    agentPath: builtFile('agent'),
    kernel,
    modules: [...bootModules(accelerator, image.root, spec, hasInterfaces), ...passedOn],
    optional: [...optionalModules, ...passedOn],
    store,
  });
  return { kernel, initramfsPath: initramfs.path };
}

/** Drivers of what is passed on, so that the guest has its device when it is up; one without a driver is its own affair. */
function modulesOf(pci: readonly PciFunction[], { modulesPath }: Kernel): string[] {
  const aliases = pci.map(({ modalias }) => modalias).filter((alias) => alias !== undefined);
  if (aliases.length === 0 || modulesPath === undefined) return [];
  return modulesForDevices(modulesPath, aliases);
}

function objectsOf(store: Store, image: Image, boot: PlanInput['boot']): string[] {
  const paths = [
    ...(image.kind === 'linux' ? (image.root.kind === 'block' ? [image.root.path] : []) : imagePaths(image)),
    ...(boot === undefined ? [] : [boot.kernel.vmlinuxPath, boot.initramfsPath]),
  ];
  return [...new Set(paths.map((path) => store.objectIdOf(path)).filter((id) => id !== undefined))];
}

function imagePaths(image: Exclude<Image, { kind: 'linux' }>): string[] {
  if (image.kind !== 'kernel') return [image.path];
  return image.initrdPath === undefined ? [image.kernelPath] : [image.kernelPath, image.initrdPath];
}

/** Two guests of one user must not be given the same CPUs; those of other users are kept apart by their jobs. */
function pinnedCpus(): number[] {
  return listGuests()
    .filter((guest) => guest.status !== 'exited')
    .flatMap((guest) => guest.plan.layout.vcpus.flatMap((vcpu) => vcpu.hostCpus));
}

/**
 * What serves directories by virtiofs, where that is asked for.
 * @throws LodgeError `missing-program`, `share-unusable` when it does not work here for this user
 */
async function findVirtiofs(
  spec: GuestSpec,
  image: Image,
  user: HostUser,
): Promise<Pick<PlanInput, 'virtiofs'>> {
  if (spec['mount-type'] !== 'virtiofs' || image.kind !== 'linux') return {};
  const { proveVirtiofsd } = await import('../machine/virtiofsd.ts');
  const { path, daemon, reason, fix } = await proveVirtiofsd(user);
  if (daemon !== undefined) return { virtiofs: { daemon, confinePath: builtFile('confine') } };
  throw new LodgeError(path === undefined ? 'missing-program' : 'share-unusable', reason, {
    asked: ['mount-type'],
    fix: fix ?? fixWith`leave out ${key('mount-type')}: directories then come over 9p`,
  });
}

/** Where Debian (ovmf) and Fedora (edk2-ovmf) put UEFI firmware for 64-bit PCs. */
const uefiPaths = [
  ['/usr/share/OVMF/OVMF_CODE_4M.fd', '/usr/share/OVMF/OVMF_VARS_4M.fd'],
  ['/usr/share/OVMF/OVMF_CODE.fd', '/usr/share/OVMF/OVMF_VARS.fd'],
  ['/usr/share/edk2/ovmf/OVMF_CODE.fd', '/usr/share/edk2/ovmf/OVMF_VARS.fd'],
] as const;

function opens(path: string): boolean {
  try {
    closeSync(openSync(path, 'r+'));
    return true;
  } catch {
    return false;
  }
}

function findUefi(): Pick<PlanInput, 'uefi'> {
  const found = uefiPaths.find(([code, variables]) => existsSync(code) && existsSync(variables));
  return found === undefined ? {} : { uefi: { codePath: found[0], variablesPath: found[1] } };
}

/**
 * The home may be reached through a link. The host's own root has that link too; in another root there is none, and
 * the home is put where it is looked for.
 */
function sharedHome(home: string, image: Image): { source: string; target: string } | 'none' {
  const source = isAbsolute(home) ? realPath(home) : undefined;
  if (source === undefined) return 'none';
  const isHostRoot = image.kind === 'linux' && image.root.kind === 'host';
  return { source, target: isHostRoot ? source : home };
}

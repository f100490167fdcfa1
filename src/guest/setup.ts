/** What the agent does in a Linux guest before commands run: mounts and names, as steps of the agent protocol. Pure. */

import { posix } from 'node:path';
import type { Step } from './channel/channel.ts';
import type { Membership } from './interface.ts';
import type { Volume } from './spec.ts';

/** How a driver gives a directory or disk of the host to the guest: what to mount, and how. */
export interface MountSource {
  source: string;
  /** Empty for a bind mount. */
  type: string;
  /** Mount flags as the agent protocol names them, separated by commas. */
  flags?: string;
  options: string;
}

/** How the root of a guest comes to be. */
export type RootSource =
  /** Mounted read-only by the agent, with a layer over it for what the guest writes. */
  | (MountSource & { kind: 'mounted' })
  /**
   * The host's, where the keeper has put it: at /lodge/lower its root, at /lodge/read-only the same with all that is
   * mounted in it; `mounts` are shown in the guest at their own paths.
   */
  | { kind: 'layered'; mounts: readonly string[] }
  /** The host's as it is, read-only; over these files, which are there, the guest's own are put. */
  | { kind: 'as-is'; ownFiles: readonly string[] };

export interface SetupInput {
  hostname: string;
  root: RootSource;
  /** Modules of the guest's kernel. */
  modules?: ModulesMount;
  /** Memory for what the guest writes to its root, as tmpfs takes it. */
  layerSize: string;
  member?: Pick<Membership, 'interfaces' | 'hosts' | 'routes' | 'forward'>;
}

/** Modules of a kernel: how they are given, or where they are on the host's root. */
export interface ModulesMount {
  release: string;
  mount: MountSource;
}

const lower = '/lodge/lower';
const layer = '/lodge/layer';
const root = '/lodge/root';
const own = '/lodge/own';

/** Where the keeper shows the host to a guest of namespaces: as it is, and so that nothing can be written. */
export const hostTree = '/lodge/host';
export const readOnlyHostTree = '/lodge/read-only';

/** Where the agent leaves the root that it started with, in namespaces, until all volumes are mounted. */
const startRoot = '/run/start';

/**
 * The steps up to a root of the guest's own, with its names in it. Volumes come later: what is written here must
 * not reach the host, whatever of it is shared and wherever links in an image lead.
 */
export function planSetup(input: SetupInput): Step[] {
  const files: [path: string, text: string][] = [
    ['/etc/hostname', `${input.hostname}\n`],
    ['/etc/hosts', hostsFile(input)],
  ];
  return [
    ...rootSteps(input, files),
    ['root', root],
    // What udev makes where there is one.
    ['symlink', '/proc/self/fd', '/dev/fd'],
    ['symlink', '/proc/self/fd/0', '/dev/stdin'],
    ['symlink', '/proc/self/fd/1', '/dev/stdout'],
    ['symlink', '/proc/self/fd/2', '/dev/stderr'],
    ['mkdir', '/run/lock', '1777'],
    ['hostname', input.hostname],
    ...(input.root.kind === 'as-is' ? [] : fileSteps(files)),
    ['up', 'lo'],
    ...networkSteps(input.member),
  ];
}

/** An image of one program, as containers are made, may have no /etc. */
function fileSteps(files: readonly [path: string, text: string][]): Step[] {
  return [['mkdir', '/etc', '755'], ...files.map(([path, text]): Step => ['write', path, '644', text])];
}

function rootSteps(input: SetupInput, files: readonly [path: string, text: string][]): Step[] {
  const source = input.root;
  // What the host has there belongs to the host's own programs, and a guest starts with none.
  const room = source.kind === 'mounted' ? 'mode=1777' : `size=${input.layerSize},mode=1777`;
  const temporary: Step = ['mount', 'tmp', `${root}/tmp`, 'tmpfs', 'nosuid,nodev', room];
  if (source.kind === 'as-is') {
    return [
      ['mount', readOnlyHostTree, root, '', 'bind,rec', ''],
      temporary,
      ['mount', 'tmp', `${root}/var/tmp`, 'tmpfs', 'nosuid,nodev', room],
      ['mkdir', own, '755'],
      ...files
        .filter(([path]) => source.ownFiles.includes(path))
        .flatMap(([path, text]): Step[] => [
          ['write', `${own}/${posix.basename(path)}`, '644', text],
          ['mount', `${own}/${posix.basename(path)}`, `${root}${path}`, '', 'bind', ''],
        ]),
    ];
  }
  return [
    ...(source.kind === 'mounted'
      ? [
          ['mkdir', lower, '755'] as Step,
          ['mount', source.source, lower, source.type, 'ro', source.options] as Step,
        ]
      : []),
    ['mount', 'layer', layer, 'tmpfs', '', `size=${input.layerSize},mode=755`],
    ['mkdir', `${layer}/upper`, '755'],
    ['mkdir', `${layer}/work`, '755'],
    ['mkdir', root, '755'],
    ['mount', 'root', root, 'overlay', '', `lowerdir=${lower},upperdir=${layer}/upper,workdir=${layer}/work`],
    temporary,
    ['mkdir', `${root}/var/tmp`, '1777'],
    ...(source.kind === 'layered'
      ? source.mounts.map(
          (path): Step => ['mount', `${readOnlyHostTree}${path}`, `${root}${path}`, '', 'bind', ''],
        )
      : []),
    // On the host's root they are reached only before it is hidden under the guest's own.
    ...(input.modules === undefined || !isOnRoot(input.modules) ? [] : [moduleStep(root, input.modules)]),
  ];
}

function hostsFile({ hostname, member }: SetupInput): string {
  const lines = ['127.0.0.1 localhost'];
  // A member is known by the address that others reach it at.
  if (member === undefined || member.interfaces.length === 0) lines.push(`127.0.1.1 ${hostname}`);
  return [...lines, '::1 localhost', ...(member?.hosts ?? [])].map((line) => `${line}\n`).join('');
}

function networkSteps(member: SetupInput['member']): Step[] {
  if (member === undefined) return [];
  const { interfaces, routes, forward } = member;
  return [
    ...interfaces.flatMap(({ mac, name, mtuBytes, address }): Step[] => [
      ['interface', mac, name, String(mtuBytes)],
      ['address', name, address],
      ['up', name],
    ]),
    ...routes.map(({ destination, gateway }): Step => ['route', destination, gateway]),
    ...(forward ? [['write', '/proc/sys/net/ipv4/ip_forward', '644', '1\n'] as Step] : []),
  ];
}

function isOnRoot({ mount }: ModulesMount): boolean {
  return mount.type === '';
}

function moduleStep(under: string, { release, mount }: ModulesMount): Step {
  return [
    'mount',
    mount.source,
    `${under}/lib/modules/${release}`,
    mount.type,
    flags('ro', mount),
    mount.options,
  ];
}

/**
 * The steps that make the host's directories seen in the guest: the last of all.
 * @param ways directories that are to be empty, for volumes to be mounted in them
 */
export function planVolumeSetup(
  volumes: readonly (Volume & { mount: MountSource })[],
  rootKind: RootSource['kind'],
  modules?: ModulesMount,
  ways: readonly string[] = [],
): Step[] {
  return [
    ...(modules === undefined || isOnRoot(modules) ? [] : [moduleStep('', modules)]),
    ...ways.map((path): Step => ['mount', 'way', path, 'tmpfs', 'nosuid,nodev', 'mode=755']),
    ...volumes.map(({ target, readOnly, mount }): Step => {
      const asked = readOnly ? 'nosuid,nodev,ro' : 'nosuid,nodev';
      const source = rootKind === 'mounted' ? mount.source : `${startRoot}${mount.source}`;
      return ['mount', source, target, mount.type, flags(asked, mount), mount.options];
    }),
    ...(rootKind === 'mounted' ? [] : [['unmount', startRoot] as Step]),
  ];
}

function flags(asked: string, mount: MountSource): string {
  return mount.flags === undefined ? asked : `${asked},${mount.flags}`;
}

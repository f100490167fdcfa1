/** What the agent does in a Linux guest before commands run: mounts and names, as steps of the agent protocol. Pure. */

import type { Step } from './channel/channel.ts';
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

export interface SetupInput {
  name: string;
  /** The root as the driver gives it. */
  rootSource: MountSource;
  /** Modules of the guest's kernel: how they are given, or where they are on the host's root. */
  modules?: { release: string; mount: MountSource };
  /** Memory for what the guest writes to its root, as tmpfs takes it. */
  layerSize: string;
}

const lower = '/lodge/lower';
const layer = '/lodge/layer';
const root = '/lodge/root';

/**
 * The steps up to a root of the guest's own, with its names in it. Volumes come later: what is written here must
 * not reach the host, whatever of it is shared and wherever links in an image lead.
 */
export function planSetup(input: SetupInput): Step[] {
  const { rootSource } = input;
  return [
    ['mkdir', lower, '755'],
    ['mount', rootSource.source, lower, rootSource.type, 'ro', rootSource.options],
    ['mount', 'layer', layer, 'tmpfs', '', `size=${input.layerSize},mode=755`],
    ['mkdir', `${layer}/upper`, '755'],
    ['mkdir', `${layer}/work`, '755'],
    ['mkdir', root, '755'],
    ['mount', 'root', root, 'overlay', '', `lowerdir=${lower},upperdir=${layer}/upper,workdir=${layer}/work`],
    // What the host has there belongs to the host's own programs, and a guest starts with none.
    ['mount', 'tmp', `${root}/tmp`, 'tmpfs', 'nosuid,nodev', 'mode=1777'],
    ['mkdir', `${root}/var/tmp`, '1777'],
    ...(input.modules === undefined ? [] : moduleSteps(input.modules.release, input.modules.mount)),
    ['root', root],
    // What udev makes where there is one.
    ['symlink', '/proc/self/fd', '/dev/fd'],
    ['symlink', '/proc/self/fd/0', '/dev/stdin'],
    ['symlink', '/proc/self/fd/1', '/dev/stdout'],
    ['symlink', '/proc/self/fd/2', '/dev/stderr'],
    ['mkdir', '/run/lock', '1777'],
    ['hostname', input.name],
    ['write', '/etc/hostname', '644', `${input.name}\n`],
    ['write', '/etc/hosts', '644', `127.0.0.1 localhost\n127.0.1.1 ${input.name}\n::1 localhost\n`],
    ['up', 'lo'],
  ];
}

function moduleSteps(release: string, mount: MountSource): Step[] {
  return [
    ['mount', mount.source, `${root}/lib/modules/${release}`, mount.type, flags('ro', mount), mount.options],
  ];
}

/** The steps that make the host's directories seen in the guest: the last of all. */
export function planVolumeSetup(volumes: readonly (Volume & { mount: MountSource })[]): Step[] {
  return volumes.map(({ target, readOnly, mount }) => {
    const asked = readOnly ? 'nosuid,nodev,ro' : 'nosuid,nodev';
    return ['mount', mount.source, target, mount.type, flags(asked, mount), mount.options];
  });
}

function flags(asked: string, mount: MountSource): string {
  return mount.flags === undefined ? asked : `${asked},${mount.flags}`;
}

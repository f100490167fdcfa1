/** Which directories of the host a guest sees, and where. Pure. */

import { posix } from 'node:path';
import { LodgeError } from '../errors.ts';
import type { SpecPath } from '../fix.ts';
import type { Volume } from './spec.ts';

export interface VolumeInput {
  /** As asked, in order. */
  asked: readonly Volume[];
  /** Whether home and working directory are shared without being asked for. */
  share: boolean;
  /** What `~` stands for. */
  home: string;
  cwd: string;
  /** Where the home really is and where the guest is to see it, when not at `home` both; `none` when there is none. */
  sharedHome?: { source: string; target: string } | 'none';
  /** Directories that cannot be shared, as the user may not list them. */
  unlisted?: readonly string[];
}

/** Of SRC:DST there is no way to write a colon that parts nothing; what a link leads to may have any name. */
export const colonFix =
  'a directory with a colon in its path is shared by a link without one: ln -s DIRECTORY LINK, and LINK:DST';

/** Directories that the guest has of its own; a volume there would take them away from it. */
const ownDirectories = ['/', '/dev', '/proc', '/sys', '/run', '/lodge'];

/**
 * All volumes of a guest, parents before what is mounted inside them.
 * @throws LodgeError `share-unusable`
 */
export function planVolumes(input: VolumeInput): Volume[] {
  const byTarget = new Map<string, Volume>();
  for (const [i, volume] of input.asked.entries()) {
    const asked = ['volumes', i];
    const target = posix.normalize(volume.target).replace(/(.)\/$/, '$1');
    const source = posix.resolve(input.cwd, expandHome(volume.source, input.home));
    if (!target.startsWith('/')) {
      throw new LodgeError('share-unusable', `the path in the guest must be absolute: '${volume.target}'`, {
        asked,
        // Of a directory alone, the same path in the guest was meant.
        fix:
          volume.target === volume.source
            ? `write ${source}`
            : `write ${volume.source}:${posix.resolve('/', expandHome(volume.target, input.home))}; ${colonFix}`,
      });
    }
    const own = ownDirectoryOf(target);
    if (own !== undefined) {
      throw new LodgeError('share-unusable', `the guest needs its own ${own}`, {
        asked,
        fix: 'share it at another path in the guest',
      });
    }
    const planned = { source, target, readOnly: volume.readOnly };
    if (input.unlisted?.includes(source) === true) throw unlistedSource(source, asked);
    requireFree(planned, byTarget.get(target), asked);
    byTarget.set(target, planned);
  }
  if (input.share) {
    // The home first: a working directory inside it is there already.
    const { sharedHome = { source: input.home, target: input.home } } = input;
    const shared = sharedHome === 'none' ? [] : [sharedHome];
    for (const { source, target } of [...shared, { source: input.cwd, target: input.cwd }]) {
      const isCovered = [...byTarget.values()].some((volume) => isInside(target, volume.target));
      const isUnlisted = input.unlisted?.includes(source) === true;
      if (!isCovered && !isUnlisted && ownDirectoryOf(target) === undefined) {
        byTarget.set(target, { source, target, readOnly: false });
      }
    }
  }
  return [...byTarget.values()].sort(
    (a, b) => depth(a.target) - depth(b.target) || compare(a.target, b.target),
  );
}

/** QEMU opens what it shares, where the kernel asks for no more than to pass through. */
function unlistedSource(source: string, asked: SpecPath): LodgeError {
  return new LodgeError('share-unusable', `you may not list '${source}', so that QEMU cannot share it`, {
    asked,
    fix: 'share the directories in it that you may list, each by itself',
  });
}

/**
 * The directories on the way to volumes that the user may only pass through. By 9p nothing in them is reached, so that
 * the guest gets empty ones in their places.
 * @param unlisted all that the user may not list
 */
export function waysToVolumes(volumes: readonly Volume[], unlisted: readonly string[]): string[] {
  const ways = volumes.flatMap(({ target }) =>
    unlisted.filter((path) => path !== target && isInside(target, path)),
  );
  return [...new Set(ways)].filter((way) => !ways.some((other) => other !== way && isInside(way, other)));
}

/** Of two volumes at one path, one would hide the other; the same one written twice hides nothing. */
function requireFree(volume: Volume, other: Volume | undefined, asked: SpecPath): void {
  if (other === undefined || (other.source === volume.source && other.readOnly === volume.readOnly)) return;
  const [first, second] =
    other.source === volume.source
      ? [other, volume].map(({ source, readOnly }) => `${source} ${readOnly ? 'read-only' : 'writable'}`)
      : [other.source, volume.source];
  throw new LodgeError(
    'share-unusable',
    `two volumes are at ${volume.target} in the guest: ${first} and ${second}`,
    { asked, fix: 'leave one of them out, or share it at another path in the guest' },
  );
}

/** The directory of the guest's own that a path is, or is in. */
function ownDirectoryOf(path: string): string | undefined {
  return ownDirectories.find((own) => (own === '/' ? path === own : isInside(path, own)));
}

export function expandHome(path: string, home: string): string {
  return path === '~' || path.startsWith('~/') ? `${home}${path.slice(1)}` : path;
}

function isInside(path: string, directory: string): boolean {
  return path === directory || path.startsWith(`${directory}/`);
}

function depth(path: string): number {
  return path.split('/').length;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

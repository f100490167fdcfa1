/** The directories that a guest is to share, looked at on this host. */

import { accessSync, constants, realpathSync, type Stats, statSync } from 'node:fs';
import { posix, resolve } from 'node:path';
import { LodgeError } from '../errors.ts';
import type { SpecPath } from '../fix.ts';
import type { GuestSpec, Volume } from './spec.ts';
import { type HostUser, thisUser } from './user.ts';
import { expandHome } from './volumes.ts';

/** Without links, as a driver may take the text of a link for a path of its own; undefined when nothing is there. */
export function realPath(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}

/** Of some directories and all that lead to them, those that this user may not list. */
export function unlistedOf(paths: readonly string[]): string[] {
  const all = paths.filter((path) => posix.isAbsolute(path)).flatMap(withParents);
  return [...new Set(all)].filter((path) => isDirectory(path) && !mayList(path));
}

/** A path and its parents, but for `/`. */
function withParents(path: string): string[] {
  const parent = posix.dirname(path);
  return parent === path ? [] : [...withParents(parent), path];
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

function mayList(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

/** On a root that nobody can write to, volumes need a place that is there. @throws LodgeError `share-unusable` */
export function checkTargets(volumes: readonly Volume[], asked: readonly Volume[]): void {
  for (const { target } of volumes) {
    if (statSync(target, { throwIfNoEntry: false })?.isDirectory() === true || target.startsWith('/tmp/'))
      continue;
    throw new LodgeError('share-unusable', `there is no directory '${target}' to mount on in the guest`, {
      fix: 'without root, a guest of namespaces has the root of this host: share at a path that is there, or under /tmp',
      asked: askedVolume(target, asked),
    });
  }
}

/** The directories that a guest is to share, where they are on this host. */
export function volumesHere(
  { volumes }: Pick<GuestSpec, 'volumes'>,
  cwd: string,
  { home }: HostUser,
): Volume[] {
  return volumes.map((volume) => ({
    ...volume,
    source: realPath(resolve(cwd, expandHome(volume.source, home))) ?? volume.source,
  }));
}

/**
 * A name that is not UTF-8 is not what Node.js makes of it.
 * @throws LodgeError `share-unusable` when the working directory is to be shared and has one
 */
export function checkWorkingDirectory({ share }: Pick<GuestSpec, 'share'>, cwd: string): void {
  if (!share || !cwd.includes('\u{fffd}') || realPath(cwd) !== undefined) return;
  throw new LodgeError('share-unusable', 'the working directory has a name that is not UTF-8', {
    where: cwd,
    fix: 'cd to another directory',
  });
}

/** What asked for a volume of a plan: none of the keys for home and working directory. */
function askedVolume(target: string, asked: readonly Volume[]): SpecPath {
  const at = asked.findLastIndex(
    (volume) => posix.normalize(`${volume.target}/`) === posix.normalize(`${target}/`),
  );
  return at < 0 ? ['share'] : ['volumes', at];
}

/** Whether the directories that a spec shares are there. @throws LodgeError `share-unusable` */
export function requireSources(spec: Pick<GuestSpec, 'volumes'>, cwd: string): void {
  checkSources(volumesHere(spec, cwd, thisUser()));
}

/** The same of volumes as {@link volumesHere} gives them. @throws LodgeError `share-unusable` */
export function checkSources(volumes: readonly Volume[]): void {
  for (const [i, volume] of volumes.entries()) checkVolume(volume, ['volumes', i]);
}

function checkVolume(volume: Volume, asked: SpecPath): void {
  const stats = statsOf(volume.source, asked);
  if (stats === undefined) {
    throw new LodgeError('share-unusable', `there is no directory '${volume.source}' on this host`, {
      fix: `mkdir -p ${volume.source}`,
      asked,
    });
  }
  if (!stats.isDirectory()) {
    throw new LodgeError(
      'share-unusable',
      `'${volume.source}' is not a directory, and only directories can be shared`,
      {
        fix: 'share the directory it is in',
        asked,
      },
    );
  }
}

function statsOf(source: string, asked: SpecPath): Stats | undefined {
  try {
    return statSync(source, { throwIfNoEntry: false });
  } catch (cause) {
    throw new LodgeError('share-unusable', `'${source}' cannot be looked at: ${(cause as Error).message}`, {
      fix: 'share a directory that you can get to',
      asked,
      cause,
    });
  }
}

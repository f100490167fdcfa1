/** The files that a recipe puts into its image: found, checked, and laid out as a tar archive. */

import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync, type Stats } from 'node:fs';
import { join, resolve } from 'node:path';
import { LodgeError } from '../../errors.ts';
import type { Recipe } from './recipe-schema.ts';
import type { TreeEntry } from './tree-stream.ts';

/**
 * The files as root owns them in the image, directories before what is in them.
 * @param directory what `from` is relative to
 * @throws LodgeError `image-build` for a file that is not there
 */
export function recipeEntries(files: Recipe['files'], directory: string): TreeEntry[] {
  const entries = new Map<string, TreeEntry>();
  const add = (entry: TreeEntry): void => {
    entries.set(entry.path, entry);
  };
  for (const file of files) {
    const to = file.to.replace(/\/+$/, '');
    const mode = file.mode === undefined ? undefined : Number.parseInt(file.mode, 8);
    if (file.content !== undefined) {
      add({ kind: 'file', path: to, mode: mode ?? 0o644, data: Buffer.from(file.content), ...byRoot });
    } else addTree(resolve(directory, file.from!), to, mode, add);
  }
  return [...entries.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

const byRoot = { uid: 0, gid: 0, mtimeSeconds: 0 };

function addTree(from: string, to: string, mode: number | undefined, add: (entry: TreeEntry) => void): void {
  const stats = statsOf(from);
  if (stats.isSymbolicLink()) add({ kind: 'symlink', path: to, target: readlinkSync(from), ...byRoot });
  else if (stats.isFile()) {
    const usual = (stats.mode & 0o100) === 0 ? 0o644 : 0o755;
    add({ kind: 'file', path: to, mode: mode ?? usual, bytes: stats.size, from, ...byRoot });
  } else if (stats.isDirectory()) {
    add({ kind: 'directory', path: to, mode: 0o755, ...byRoot });
    for (const name of readdirSync(from).sort()) addTree(join(from, name), join(to, name), mode, add);
  } else {
    throw new LodgeError('image-build', 'a recipe can put files, directories and links into an image only', {
      where: from,
    });
  }
}

function statsOf(path: string): Stats {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats !== undefined) return stats;
  throw new LodgeError('image-build', 'a file of the recipe is not there', {
    where: path,
    fix: 'paths in `from` are relative to the recipe',
  });
}

/** What the entries hold, as one number: the same for the same files, whenever they were written. */
export function digestOf(entries: readonly TreeEntry[]): string {
  const hash = createHash('sha256');
  for (const entry of entries) {
    const mode = entry.kind === 'symlink' ? 0 : entry.mode;
    const target = entry.kind === 'symlink' ? entry.target : '';
    const data = entry.kind !== 'file' ? '' : 'data' in entry ? entry.data : readFileSync(entry.from);
    hash.update(JSON.stringify([entry.path, entry.kind, mode, target, data.length])).update(data);
  }
  return hash.digest('hex');
}

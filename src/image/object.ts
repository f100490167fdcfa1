/**
 * One immutable object of the store: a directory with `object.json`, its manifest, which lists every file
 * with size and sha256. The object's id is the sha256 of what the manifest says of kind and content, so the
 * same content has the same id on every host.
 */

import { createHash } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { chmod, open, readdir, readFile, readlink, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hostIoError, LodgeError } from '../errors.ts';
import { runProgram } from '../process.ts';

export type ObjectFile =
  | { path: string; bytes: number; sha256: string; executable?: true }
  | { path: string; link: string }
  | { path: string; directory: true };

export interface Manifest {
  /** Version of this format. */
  format: 1;
  kind: string;
  /** When it was made, ISO 8601. */
  created: string;
  /** What it was made from, for people. */
  source: string;
  /** Other objects without which this one is of no use. */
  references: string[];
  /** In the order of their paths. */
  files: ObjectFile[];
}

const hashPieceBytes = 1 << 20;
/** With more files than this, one flush of the whole filesystem is cheaper than one per file. */
const mostFilesFlushedSingly = 64;

/**
 * Lists and hashes everything in a directory except the manifest itself.
 * @param signal gives up: the promise is rejected with its reason
 */
export async function describeFiles(directory: string, signal?: AbortSignal): Promise<ObjectFile[]> {
  const files: ObjectFile[] = [];
  const walk = async (inside: string): Promise<void> => {
    const entries = await readdir(join(directory, inside), { withFileTypes: true });
    for (const entry of entries.sort(byName)) {
      const path = inside === '' ? entry.name : `${inside}/${entry.name}`;
      if (path === 'object.json') continue;
      files.push(await describeEntry(directory, path, entry, signal));
      if (entry.isDirectory()) await walk(path);
    }
  };
  await walk('');
  return files;
}

async function describeEntry(
  directory: string,
  path: string,
  entry: Dirent,
  signal: AbortSignal | undefined,
): Promise<ObjectFile> {
  const full = join(directory, path);
  if (entry.isDirectory()) return { path, directory: true };
  if (entry.isSymbolicLink()) return { path, link: await readlink(full) };
  if (!entry.isFile()) {
    throw new LodgeError('image-unreadable', 'an image can hold files, directories and links only', {
      where: full,
    });
  }
  const { bytes, sha256 } = await hashFile(full, signal);
  const { mode } = await stat(full);
  return { path, bytes, sha256, ...((mode & 0o111) === 0 ? {} : { executable: true }) };
}

function byName(a: Dirent, b: Dirent): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}

/** The sha256 (hex) and size of a file. */
export async function hashFile(
  path: string,
  signal?: AbortSignal,
): Promise<{ bytes: number; sha256: string }> {
  const handle = await open(path, 'r');
  try {
    const hash = createHash('sha256');
    const piece = Buffer.allocUnsafe(hashPieceBytes);
    let bytes = 0;
    for (;;) {
      signal?.throwIfAborted();
      const { bytesRead } = await handle.read(piece, 0, piece.length, null);
      if (bytesRead === 0) return { bytes, sha256: hash.digest('hex') };
      hash.update(piece.subarray(0, bytesRead));
      bytes += bytesRead;
    }
  } finally {
    await handle.close();
  }
}

/** The id of an object with this kind and content; when and from what it was made does not count. */
export function objectIdOf(kind: string, files: readonly ObjectFile[]): string {
  return createHash('sha256')
    .update(JSON.stringify([1, kind, files]))
    .digest('hex');
}

/** Writes the manifest, takes away write permission, and flushes everything to the disk. */
export async function sealObject(directory: string, manifest: Manifest): Promise<void> {
  await writeFile(join(directory, 'object.json'), `${JSON.stringify(manifest)}\n`);
  const regular = manifest.files.filter((file) => 'sha256' in file);
  for (const file of regular) {
    await chmod(join(directory, file.path), 'executable' in file ? 0o555 : 0o444);
  }
  await chmod(join(directory, 'object.json'), 0o444);
  if (regular.length > mostFilesFlushedSingly) {
    const { code, stderr } = await runProgram(['sync', '-f', directory]);
    if (code !== 0) throw hostIoError('flushing', directory, new Error(stderr.trim()));
    return;
  }
  const directories = manifest.files.filter((file) => 'directory' in file).map(({ path }) => path);
  for (const path of [...regular.map((file) => file.path), 'object.json', ...directories, '.']) {
    await flush(join(directory, path));
  }
}

/** fsync of a file or directory. Filesystems that cannot flush a directory (some NFS servers) are let off. */
export async function flush(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code !== 'EINVAL' && code !== 'ENOTSUP') throw cause;
  } finally {
    await handle.close();
  }
}

/**
 * Reads a manifest.
 * @throws LodgeError `image-unreadable` when it is missing or damaged
 */
export async function readManifest(directory: string): Promise<Manifest> {
  const path = join(directory, 'object.json');
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw hostIoError('reading', path, cause);
    throw damaged(directory, 'its manifest object.json is missing');
  }
  const manifest = parseManifest(text);
  if (manifest === undefined) throw damaged(directory, 'its manifest object.json is damaged');
  return manifest;
}

function parseManifest(text: string): Manifest | undefined {
  try {
    const value = JSON.parse(text) as Partial<Manifest> | null;
    const sound =
      value?.format === 1 &&
      [value.kind, value.created, value.source].every((field) => typeof field === 'string') &&
      Array.isArray(value.references) &&
      Array.isArray(value.files) &&
      value.files.every((file) => typeof file?.path === 'string' && isInside(file.path));
    return sound ? (value as Manifest) : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a relative path stays in the directory it is relative to. */
export function isInside(path: string): boolean {
  return (
    path !== '' &&
    !path.startsWith('/') &&
    !path.includes('\0') &&
    !path.split('/').some((part) => part === '..')
  );
}

/** The error for an object that is not what it was when it was stored. */
export function damaged(directory: string, what: string): LodgeError {
  return new LodgeError('image-unreadable', `a stored image is damaged: ${what}`, {
    where: directory,
    fix: `remove it (rm -rf ${directory}) and import or build the image again; a kernel is fetched again by itself`,
  });
}

/**
 * What of an object's files is not as its manifest says; empty when it is sound.
 * @param signal gives up: the promise is rejected with its reason
 */
export async function damageOf(directory: string, id: string, signal?: AbortSignal): Promise<string[]> {
  let manifest: Manifest;
  let present: ObjectFile[];
  try {
    manifest = await readManifest(directory);
    present = await describeFiles(directory, signal);
  } catch (error) {
    signal?.throwIfAborted();
    // A disk that cannot be read any more is damage too.
    return [(error as Error).message];
  }
  const found = new Map(present.map((file) => [file.path, JSON.stringify(file)]));
  const faults: string[] = [];
  for (const file of manifest.files) {
    const now = found.get(file.path);
    found.delete(file.path);
    if (now === undefined) faults.push(`${file.path} is missing`);
    else if (now !== JSON.stringify(file)) faults.push(`${file.path} was changed`);
  }
  for (const path of found.keys()) faults.push(`${path} does not belong there`);
  if (faults.length === 0 && objectIdOf(manifest.kind, manifest.files) !== id) {
    faults.push('the manifest does not match the name of the object');
  }
  return faults;
}

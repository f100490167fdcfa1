/** Small JSON files that several processes on several hosts read and write, and the directories they are in. */

import { accessSync, closeSync, constants, existsSync, openSync, readFileSync, statSync } from 'node:fs';
import { open, readdir, rename, rm, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { hostIoError, LodgeError, otherPlaceFix } from '../errors.ts';
import { makeDirectory } from '../make-directory.ts';
import { runProgram } from '../process.ts';
import { shellWord } from '../shell-words.ts';

/**
 * Refuses a data directory that could not be read and written, before anything is done whose result would be lost.
 * @throws LodgeError `host-io`
 */
export function requireUsable(directory: string): void {
  // What is not there yet is made, in the nearest that is.
  let nearest = directory;
  while (!existsSync(nearest) && nearest !== dirname(nearest)) nearest = dirname(nearest);
  try {
    accessSync(`${nearest}/.`, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (cause) {
    const stats = statSync(nearest, { throwIfNoEntry: false });
    const isOurs = stats?.isDirectory() === true && stats.uid === process.getuid!();
    const open = isOurs && nearest === directory ? `chmod u+rwx ${shellWord(directory)}, or ` : '';
    throw new LodgeError('host-io', 'you may not read and write what is to hold images and kernels', {
      where: nearest,
      fix: `${open}set LODGE_DATA_DIR to a directory of your own`,
      cause,
    });
  }
}

/**
 * Writes a file by way of `temporary`, which must be on the same filesystem, so that readers see the old or the
 * new one, never a part.
 * @param options.durable whether it is to be there after a crash of the host; costs a flush
 */
export async function writeJson(
  path: string,
  value: unknown,
  temporary: string,
  options: { durable: boolean } = { durable: true },
): Promise<void> {
  try {
    makeDirectory(dirname(temporary));
    makeDirectory(dirname(path));
    const handle = await open(temporary, 'wx');
    try {
      await handle.writeFile(`${JSON.stringify(value)}\n`);
      if (options.durable) await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (cause) {
    await removeTree(temporary);
    throw hostIoError('writing', path, cause, otherPlaceFix);
  }
}

/** A JSON file, or nothing when it is missing or not JSON. */
export function readJson(path: string, onOpen?: (descriptor: number, path: string) => void): unknown {
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw hostIoError('reading', path, cause, otherPlaceFix);
  }
  try {
    onOpen?.(descriptor, path);
    return JSON.parse(readFileSync(descriptor, 'utf8'));
  } catch {
    return undefined;
  } finally {
    closeSync(descriptor);
  }
}

export async function listDirectory(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw hostIoError('listing', path, cause, otherPlaceFix);
  }
}

export async function removeFile(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    // On a read-only filesystem, Linux refuses before it looks whether there is anything to remove.
    if (code === 'ENOENT' || (code === 'EROFS' && !existsSync(path))) return;
    throw hostIoError('removing', path, cause, otherPlaceFix);
  }
}

/** Removes a tree as far as it can be; what stays is found by the next cleaning. */
export async function removeTree(path: string): Promise<void> {
  const remove = (): Promise<void> => rm(path, { recursive: true, force: true, maxRetries: 2 });
  await remove().catch(async () => {
    await openTree(path).catch(() => {});
    await remove().catch(() => {});
  });
}

/** Lets this user into all of a tree: what came out of an archive may shut its own owner out. */
export async function openTree(path: string): Promise<void> {
  await runProgram(['chmod', '--recursive', 'u+rwX', '--', path]);
}

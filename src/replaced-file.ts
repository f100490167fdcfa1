/** Where a file that a person named is put, once it is whole. */

import {
  closeSync,
  lstatSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { hostIoError, LodgeError, retold } from './errors.ts';
import { mountPointOf } from './mount-point.ts';
import { shellWord } from './shell-words.ts';

/**
 * What a rename may replace: the file that is there, or that a link leads to. A device, a pipe or a directory in that
 * place is never taken away.
 * @throws LodgeError `host-io` when there is no file; Error of the operating system
 */
export function replacedFile(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found?.isFile() === true) return realpathSync(path);
  if (found === undefined && lstatSync(path, { throwIfNoEntry: false }) === undefined) return path;
  throw new LodgeError('host-io', 'what is there is no file, and is left as it is', {
    where: path,
    fix: 'give another name',
  });
}

/**
 * Writes pieces of text to a file, which nobody ever sees a part of.
 * @param doing what this is, for the error
 * @throws LodgeError `host-io`, `disk-full`; what was there is left as it is
 */
export function writeReplacing(path: string, pieces: Iterable<string>, doing: string): void {
  let aside: string | undefined;
  try {
    const target = replacedFile(path);
    aside = `${target}.${process.pid}.new`;
    const descriptor = openSync(aside, 'wx');
    try {
      for (const piece of pieces) writeFileSync(descriptor, piece);
    } finally {
      closeSync(descriptor);
    }
    renameSync(aside, target);
  } catch (cause) {
    if (aside !== undefined) rmSync(aside, { force: true });
    throw cause instanceof LodgeError ? cause : ownFileError(doing, path, cause);
  }
}

/**
 * The error of a failed write to a file that a person named: lodge's directories have nothing to do with its place.
 * @param doing what was done, for the message: `writing the report`
 */
export function ownFileError(doing: string, path: string, cause: unknown): LodgeError {
  const error = hostIoError(doing, path, cause);
  if (error.code !== 'disk-full') return error;
  const fix = `free space there (\`df -h ${shellWord(mountPointOf(path))}\`), or write it elsewhere`;
  return retold(error, { fix });
}

/**
 * From files to a file system in a file, as guests boot from it.
 *
 * squashfs with plain lz4 is the default. Measured in a TCG guest (docs/guides/images.md): it is read as quickly as
 * with no compression at all and in three quarters of the time zstd takes, and is packed forty times as quickly as
 * lz4 at its best.
 */

import { rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import type { Readable } from 'node:stream';
import { LodgeError } from '../../errors.ts';
import { checkNotFull } from '../full-disk.ts';
import { type LongRun, type LongRunEnd, runLong } from './long-run.ts';

export type Filesystem = 'squashfs' | 'erofs';

export const filesystems = ['squashfs', 'erofs'] as const satisfies readonly Filesystem[];

/** By default it takes a quarter of the host's memory for its queues, whatever this job may use. */
const squashfsArgs: readonly string[] = ['-comp', 'lz4', '-mem', '512M', '-quiet', '-no-progress'];

/**
 * Packs a stream of a tar archive (GNU format) as squashfs. The same archive gives the same bytes.
 * @param newestSeconds the time of the newest file in the archive, seconds since 1970
 * @throws LodgeError `missing-program`, `disk-full`, `image-build`; whatever the stream fails with. Nothing is left
 *   at `output` then.
 */
export async function packStream(
  archive: Readable,
  output: string,
  options: { newestSeconds: number; signal?: AbortSignal },
): Promise<void> {
  const threads = ['-processors', String(availableParallelism())];
  const root = ['-root-mode', '755'];
  const argv = [
    'sh',
    '-c',
    asRoot,
    'sqfstar',
    ...squashfsArgs,
    ...threads,
    ...root,
    '-exit-on-error',
    output,
  ];
  // The time of the root directory is now, whatever is asked for, except that nothing is newer than this.
  const env = { SOURCE_DATE_EPOCH: String(options.newestSeconds) };
  const { signal } = options;
  await pack({ argv, env, input: archive, ...(signal === undefined ? {} : { signal }) }, output);
}

/**
 * The root directory belongs to whoever runs sqfstar 4.5, whatever is asked for: root, if this user may be that in a
 * namespace. Guests that do without see their `/` belong to the user.
 */
const asRoot = `
  if [ "$(id -u)" != 0 ] && unshare --user --map-root-user true 2> /dev/null; then
    exec unshare --user --map-root-user sqfstar "$@"
  fi
  exec sqfstar "$@"`;

/**
 * Packs a directory tree with root as the owner of all of it.
 * @throws LodgeError `missing-program`, `disk-full`, `image-build`. Nothing is left at `output` then.
 */
export async function packTree(
  directory: string,
  output: string,
  options: { filesystem?: Filesystem; signal?: AbortSignal } = {},
): Promise<void> {
  const { filesystem = 'squashfs', signal } = options;
  const argv = treePackerArgv(directory, output, filesystem, 'root');
  await pack({ argv, ...(signal === undefined ? {} : { signal }) }, output);
}

/** The program that packs a tree, with the owners it sees or with root as the only one. Times are kept. */
export function treePackerArgv(
  directory: string,
  output: string,
  filesystem: Filesystem,
  owners: 'kept' | 'root',
): string[] {
  if (filesystem === 'erofs') {
    const ids = ['-U00000000-0000-0000-0000-000000000000', '--preserve-mtime'];
    const allRoot = owners === 'root' ? ['--all-root'] : [];
    return ['mkfs.erofs', '-zlz4hc', '-C65536', ...ids, ...allRoot, '--quiet', output, directory];
  }
  const threads = ['-processors', String(availableParallelism())];
  const allRoot = owners === 'root' ? ['-all-root'] : [];
  return [
    'mksquashfs',
    directory,
    output,
    ...squashfsArgs,
    ...threads,
    '-mkfs-time',
    '0',
    '-noappend',
    ...allRoot,
  ];
}

/** What sh(1) ends with when there is no such program. */
const notFoundCode = 127;

async function pack(packer: LongRun, output: string): Promise<void> {
  let end: LongRunEnd;
  try {
    end = await runLong(packer);
    if (end.code === 0) return;
  } catch (error) {
    await rm(output, { force: true });
    throw error;
  }
  await rm(output, { force: true });
  if (end.code === notFoundCode) {
    const fix = 'apt-get install squashfs-tools (4.5 or newer)';
    throw new LodgeError('missing-program', "the program 'sqfstar' is not installed", { fix });
  }
  checkNotFull('packing an image', output, end);
  throw new LodgeError('image-build', `the image could not be packed (exit code ${end.code})`, {
    detail: lastLines(end.stderr, 10),
  });
}

/** The end of what a program said. */
export function lastLines(text: string, count: number): string {
  return text.trim().split('\n').slice(-count).join('\n');
}

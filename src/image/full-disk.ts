/** Disks that are full, or about to be: by the words of the program that met it, and by looking beforehand. */

import { statfs } from 'node:fs/promises';
import { hostIoError } from '../errors.ts';
import type { ProgramResult } from '../process.ts';
import { formatSize } from '../units.ts';

/** What is packed can unpack to a thousand times its size: the host keeps at least this much of its disk. */
const leastFreeBytes = 1 << 30;
const watchMs = 500;

/** @throws LodgeError `disk-full` when that is what a program complained about */
export function checkNotFull(doing: string, path: string, { stderr }: Pick<ProgramResult, 'stderr'>): void {
  if (!/No space left on device|Disk quota exceeded|enough free space/i.test(stderr)) return;
  throw fullDisk(doing, path, stderr.trim());
}

/**
 * Does work that unpacks what others packed, and ends it when the disk is about to be full.
 * @param doing for the error: `unpacking a container image`
 * @param path where it is unpacked
 * @param work is to end, and be rejected, when its signal is aborted
 * @throws LodgeError `disk-full`; whatever the work throws; the reason of `signal`
 */
export async function whileDiskHasRoom<T>(
  doing: string,
  path: string,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const stop = new AbortController();
  const watch = setInterval(async () => {
    // Where there is nothing to be looked at, the work itself meets the fault, and tells it.
    const free = await freeBytes(path).catch(() => leastFreeBytes);
    if (free >= leastFreeBytes) return;
    stop.abort(fullDisk(doing, path, `less than ${formatSize(leastFreeBytes)} would be left on the disk`));
  }, watchMs);
  try {
    return await work(AbortSignal.any([stop.signal, ...(signal === undefined ? [] : [signal])]));
  } finally {
    clearInterval(watch);
  }
}

/** Bytes free for this user on the filesystem of `path`. */
async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}

function fullDisk(doing: string, path: string, why: string): Error {
  return hostIoError(doing, path, Object.assign(new Error(why), { code: 'ENOSPC' }));
}

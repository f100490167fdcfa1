/** Telling a full disk by the words of the program that met it. */

import { hostIoError } from '../errors.ts';
import type { ProgramResult } from '../process.ts';

/** @throws LodgeError `disk-full` when that is what a program complained about */
export function checkNotFull(doing: string, path: string, { stderr }: Pick<ProgramResult, 'stderr'>): void {
  if (!/No space left on device|Disk quota exceeded|enough free space/i.test(stderr)) return;
  throw hostIoError(doing, path, Object.assign(new Error(stderr.trim()), { code: 'ENOSPC' }));
}

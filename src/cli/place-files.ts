/** Files of `lodge place`: what it reads, and what it writes whole or not at all. */

import { readAtMost } from '../bounded-file.ts';
import { LodgeError } from '../errors.ts';
import { writeReplacing } from '../replaced-file.ts';

const mostBytes = 2 ** 29;

/** @throws LodgeError `usage` */
export function readPlaceText(file: string): string {
  let bytes: Buffer | undefined;
  try {
    bytes = readAtMost(file, mostBytes);
  } catch (cause) {
    throw new LodgeError('usage', `it cannot be read: ${(cause as Error).message}`, { where: file, cause });
  }
  if (bytes !== undefined) return bytes.toString('utf8');
  throw new LodgeError('usage', 'it is larger than 512 MiB', { where: file });
}

/**
 * A whole number that a flag gives.
 * @throws LodgeError `usage`
 */
export function wholeFlag(flag: string, text: string, least: number, most: number): number {
  const number = Number(text);
  if (/^\d{1,16}$/.test(text) && number >= least && number <= most) return number;
  throw new LodgeError('usage', `'${text}' is no number for ${flag}`, {
    where: flag,
    fix: `a whole number from ${least} to ${most}`,
  });
}

/** Writes pieces of text to a file, or to standard output for `-`. A file that is there is replaced when all is written. */
export function writeResult(file: string, pieces: Iterable<string>): void {
  if (file === '-') {
    for (const piece of pieces) process.stdout.write(piece);
    return;
  }
  writeReplacing(file, pieces, 'writing a result');
}

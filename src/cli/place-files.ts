/** Files of `lodge place`: what it reads, and what it writes whole or not at all. */

import { readAtMost } from '../bounded-file.ts';
import { LodgeError } from '../errors.ts';
import type { HostNetwork } from '../machine/network/network.ts';
import type { Placement } from '../placement/mapper/problem.ts';
import { csvMapping, hostList, scotchMapping } from '../placement/mapping-file.ts';
import type { Traffic } from '../placement/traffic/graph.ts';
import { writeReplacing } from '../replaced-file.ts';
import { parseTimeMs } from '../units.ts';
import type { GlobalOptions } from './program.ts';

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

/** In the form that the name's ending tells. */
export function writePlacement(
  file: string,
  traffic: Traffic,
  network: HostNetwork,
  placement: Placement,
): void {
  const ending = /\.([a-z]+)$/i.exec(file)?.[1]?.toLowerCase();
  const form =
    ending === 'map'
      ? scotchMapping(placement)
      : ending === 'hosts'
        ? hostList(network, placement)
        : csvMapping(traffic, network, placement);
  writeResult(file, form);
}

/**
 * Standard output takes one thing: records, a placement or a plot.
 * @throws LodgeError `usage`
 */
export function requireOneOutput(flags: { output?: string; plot?: string }, globals: GlobalOptions): void {
  const all = [
    ...(globals.json ? ['--json'] : []),
    ...(flags.output === '-' ? ['-o -'] : []),
    ...(flags.plot === '-' ? ['--plot -'] : []),
  ];
  if (all.length < 2) return;
  throw new LodgeError('usage', `${all.join(' and ')} would be mixed in standard output`, {
    fix: 'name a file for all but one',
  });
}

/**
 * Milliseconds of `--time-limit`.
 * @throws LodgeError `spec-value`
 */
export function timeLimitMs(text: string): number {
  const limitMs = parseTimeMs(text, '--time-limit');
  if (limitMs <= 0) throw new LodgeError('spec-value', 'a search needs some time', { where: '--time-limit' });
  return limitMs;
}

/** Part of a time limit that is left to the search and what follows it, however long reading took. */
const leastShare = 0.05;

/** What is left of a time limit, in milliseconds: the clock of a process begins with it, so that starting and reading count. */
export function leftOfLimitMs(limitMs: number): number {
  return Math.max(limitMs * leastShare, limitMs - performance.now());
}

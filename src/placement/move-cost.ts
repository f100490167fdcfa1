/** What a move costs. Pure. */

import { LodgeError } from '../errors.ts';
import { parseBandwidthBitsPerSecond, parseDelayMs, parseSizeBytes } from '../units.ts';

export interface MoveCost {
  /** Memory of a guest, where its own is not told. */
  memoryBytes: number;
  bandwidthBytesPerSecond: number;
  /** Memory that a guest writes anew while it is moved. */
  dirtyBytesPerSecond: number;
  /** How long it stands still at the end of a move. */
  pauseSeconds: number;
}

export const usualMoveCost: MoveCost = {
  memoryBytes: 2 ** 30,
  bandwidthBytesPerSecond: 10e9 / 8,
  dirtyBytesPerSecond: 0,
  pauseSeconds: 0.05,
};

/**
 * Reads `memory=4G,bandwidth=10Gbit,dirty=100M,pause=50ms`, each of them optional; `dirty` is a size per second.
 * @throws LodgeError `spec-value`; also for guests that write faster than they can be sent, whose move never ends
 */
export function parseMoveCost(text: string, where = '--move-cost'): MoveCost {
  const cost = { ...usualMoveCost };
  for (const part of text.split(',').filter((one) => one.trim() !== '')) {
    const [, key = '', value = ''] = /^\s*([a-z]+)=(.*?)\s*$/.exec(part) ?? [];
    switch (key) {
      case 'memory':
        cost.memoryBytes = parseSizeBytes(value, where);
        break;
      case 'bandwidth':
        cost.bandwidthBytesPerSecond = parseBandwidthBitsPerSecond(value, where) / 8;
        break;
      case 'dirty':
        cost.dirtyBytesPerSecond = parseSizeBytes(value.replace(/\/s$/, ''), where);
        break;
      case 'pause':
        cost.pauseSeconds = parseDelayMs(value, where) / 1000;
        break;
      default:
        throw new LodgeError('spec-value', `'${part}' says nothing about a move`, {
          where,
          fix: 'memory=4G,bandwidth=10Gbit,dirty=100M,pause=50ms',
        });
    }
  }
  if (cost.dirtyBytesPerSecond >= cost.bandwidthBytesPerSecond) {
    throw new LodgeError(
      'spec-value',
      'memory is written faster than it can be sent: such a move never ends',
      {
        where,
        fix: 'more bandwidth, or guests that write less',
      },
    );
  }
  return cost;
}

/**
 * Seconds that a live move takes: the memory, then what was written meanwhile, then what was written meanwhile again …
 */
export function moveSeconds(
  { bandwidthBytesPerSecond, dirtyBytesPerSecond }: MoveCost,
  memoryBytes: number,
): number {
  return memoryBytes / bandwidthBytesPerSecond / (1 - dirtyBytesPerSecond / bandwidthBytesPerSecond);
}

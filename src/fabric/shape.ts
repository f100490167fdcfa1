/** Shapes of links in words, and what they have where nothing is said. Pure. */

import { formatBandwidth, formatDelay, formatPercentage, formatSize } from '../units.ts';
import type { Shape } from './plan.ts';

const leastQueueBytes = 64 * 1024;
const mostQueueBytes = 4 * 1024 * 1024;

/** What may wait where nothing is said: 100 ms worth, as far as that makes sense. */
export function defaultQueueBytes(bitsPerSecond: number): number {
  return Math.round(Math.min(Math.max(bitsPerSecond / 80, leastQueueBytes), mostQueueBytes));
}

/**
 * `10Gbit, 40ms ±1ms, loss 0.1%`, in the words of specs; the queue where it is not what it would be anyway. `-` for a
 * shape that does nothing to frames.
 */
export function formatShape(shape: Shape): string {
  const { bandwidthBitsPerSecond, queueBytes, delayMs, jitterMs, loss, duplicate, reorder } = shape;
  const hasOwnQueue =
    bandwidthBitsPerSecond !== undefined && queueBytes !== defaultQueueBytes(bandwidthBitsPerSecond);
  const parts = [
    bandwidthBitsPerSecond === undefined ? undefined : formatBandwidth(bandwidthBitsPerSecond),
    hasOwnQueue && queueBytes !== undefined ? `queue ${formatSize(queueBytes)}` : undefined,
    delayMs === undefined
      ? undefined
      : `${formatDelay(delayMs)}${jitterMs === undefined ? '' : ` ±${formatDelay(jitterMs)}`}`,
    loss === undefined ? undefined : `loss ${formatPercentage(loss)}`,
    duplicate === undefined ? undefined : `duplicate ${formatPercentage(duplicate)}`,
    reorder === undefined ? undefined : `reorder ${formatPercentage(reorder)}`,
  ].filter((part) => part !== undefined);
  return parts.length === 0 ? '-' : parts.join(', ');
}

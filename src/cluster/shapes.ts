/** From the shapes that people write to those of links, per direction. Pure. */

import { LodgeError } from '../errors.ts';
import type { Shape } from '../fabric/plan.ts';
import { formatBandwidth, formatDelay, formatPercentage } from '../units.ts';
import type { MemberSpec, ShapeSpec } from './spec.ts';

export interface LinkShapes {
  out: Shape;
  in: Shape;
}

/** Keys that hold in both directions wherever they stand; the others act once on a frame that crosses a network. */
const bothWays = ['bandwidth', 'queue'] as const;
const oneWay = ['delay', 'jitter', 'loss', 'duplicate', 'reorder'] as const;

/**
 * The link of a member. On a LAN the network's delay, loss and so on act on the way out of the sender; on a graph of
 * switches they act between the switches, and members' links have its bandwidth only.
 * @throws LodgeError `spec-value` for shapes that contradict themselves
 */
export function memberShapes(
  network: ShapeSpec,
  member: MemberSpec,
  isLan: boolean,
  where: string,
): LinkShapes {
  const rate = pick(network, bothWays);
  const own = { rate: pick(member, bothWays), way: pick(member, oneWay) };
  return {
    out: shapeOf(
      { ...rate, ...(isLan ? pick(network, oneWay) : {}), ...own.rate, ...own.way, ...given(member.out) },
      where,
    ),
    in: shapeOf({ ...rate, ...own.rate, ...given(member.in) }, where),
  };
}

/** A link between two switches: all that the network says, in both directions. */
export function switchLinkShapes(network: ShapeSpec, where: string): LinkShapes {
  const shape = shapeOf(pick(network, [...bothWays, ...oneWay]), where);
  return { out: shape, in: { ...shape } };
}

function pick(spec: ShapeSpec, keys: readonly (keyof ShapeSpec)[]): ShapeSpec {
  return Object.fromEntries(
    keys.map((key) => [key, spec[key]]).filter(([, value]) => value !== undefined),
  ) as ShapeSpec;
}

function given(spec: ShapeSpec | undefined): ShapeSpec {
  return spec === undefined ? {} : pick(spec, [...bothWays, ...oneWay]);
}

const leastQueueBytes = 64 * 1024;
const mostQueueBytes = 4 * 1024 * 1024;

/** What may wait where nothing is said: 100 ms worth, as far as that makes sense. */
export function defaultQueueBytes(bitsPerSecond: number): number {
  return Math.round(Math.min(Math.max(bitsPerSecond / 80, leastQueueBytes), mostQueueBytes));
}

/**
 * A shape, without what does nothing.
 * @throws LodgeError `spec-value`
 */
export function shapeOf(spec: ShapeSpec, where: string): Shape {
  const { bandwidth, queue, delay = 0, jitter = 0, loss = 0, duplicate = 0, reorder = 0 } = spec;
  if (jitter > delay) {
    throw new LodgeError(
      'spec-value',
      `the jitter (${formatDelay(jitter)}) is more than the delay (${formatDelay(delay)})`,
      { where, fix: 'frames cannot come before they were sent: lengthen the delay' },
    );
  }
  if (reorder > 0 && delay === 0) {
    throw new LodgeError('spec-value', 'reorder without a delay does nothing', {
      where,
      fix: 'give a delay too: frames go before those that wait for it',
    });
  }
  if (queue !== undefined && bandwidth === undefined) {
    throw new LodgeError('spec-value', 'a queue without a bandwidth is never used', {
      where,
      fix: 'give a bandwidth too',
    });
  }
  return {
    ...(bandwidth === undefined
      ? {}
      : { bandwidthBitsPerSecond: bandwidth, queueBytes: queue ?? defaultQueueBytes(bandwidth) }),
    ...(delay > 0 ? { delayMs: delay } : {}),
    ...(jitter > 0 ? { jitterMs: jitter } : {}),
    ...(loss > 0 ? { loss } : {}),
    ...(duplicate > 0 ? { duplicate } : {}),
    ...(reorder > 0 ? { reorder } : {}),
  };
}

/** `10Gbit, 40ms ±1ms, loss 0.1%`; `-` for one that does nothing to frames. */
export function formatLinkShape(shape: Shape): string {
  const { bandwidthBitsPerSecond, delayMs, jitterMs, loss, duplicate, reorder } = shape;
  const parts = [
    bandwidthBitsPerSecond === undefined ? undefined : formatBandwidth(bandwidthBitsPerSecond),
    delayMs === undefined
      ? undefined
      : `${formatDelay(delayMs)}${jitterMs === undefined ? '' : ` ±${formatDelay(jitterMs)}`}`,
    loss === undefined ? undefined : `loss ${formatPercentage(loss)}`,
    duplicate === undefined ? undefined : `duplicate ${formatPercentage(duplicate)}`,
    reorder === undefined ? undefined : `reorder ${formatPercentage(reorder)}`,
  ].filter((part) => part !== undefined);
  return parts.length === 0 ? '-' : parts.join(', ');
}

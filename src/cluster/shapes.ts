/** From the shapes that people write to those of links, per direction. Pure. */

import { LodgeError } from '../errors.ts';
import type { Shape } from '../fabric/plan.ts';
import { defaultQueueBytes } from '../fabric/shape.ts';
import { formatDelay } from '../units.ts';
import type { Locate } from '../value-faults.ts';
import type { MemberSpec, ShapeSpec } from './spec.ts';

export interface LinkShapes {
  out: Shape;
  in: Shape;
}

/** Keys that hold in both directions wherever they stand; the others act once on a frame that crosses a network. */
const bothWays = ['bandwidth', 'queue'] as const;
const oneWay = ['delay', 'jitter', 'loss', 'duplicate', 'reorder'] as const;
const allKeys = [...bothWays, ...oneWay];

type ShapeKey = keyof ShapeSpec;

/** Of Ethernet, without its check sequence. */
const leastFrameBytes = 60;

/** What is said of a shape in one place. Later ones win over earlier ones. */
interface Layer {
  spec: ShapeSpec | undefined;
  keys: readonly ShapeKey[];
  /** Where one of its keys is written. */
  whereOf(key: ShapeKey): string;
}

/**
 * The link of a member. On a LAN the network's delay, loss and so on act on the way out of the sender; on a graph of
 * switches they act between the switches, and members' links have its bandwidth only.
 * @param places locate paths within the network and within what it says of the member
 * @throws LodgeError `spec-value` for shapes that contradict themselves, at the key that does
 */
export function memberShapes(
  network: ShapeSpec,
  member: MemberSpec,
  isLan: boolean,
  places: { network: Locate; member: Locate },
): LinkShapes {
  const shared = (keys: readonly ShapeKey[]): Layer => ({
    spec: network,
    keys,
    whereOf: (key) => places.network([key]),
  });
  const own = (keys: readonly ShapeKey[]): Layer => ({
    spec: member,
    keys,
    whereOf: (key) => places.member([key]),
  });
  const directed = (direction: 'out' | 'in'): Layer => ({
    spec: member[direction],
    keys: allKeys,
    whereOf: (key) => places.member([direction, key]),
  });
  return {
    out: shapeOfLayers([shared(isLan ? allKeys : bothWays), own(allKeys), directed('out')]),
    in: shapeOfLayers([shared(bothWays), own(bothWays), directed('in')]),
  };
}

/** A link between two switches: all that the network says, in both directions. */
export function switchLinkShapes(network: ShapeSpec, locate: Locate): LinkShapes {
  const shape = shapeOf(network, (key) => locate([key]));
  return { out: shape, in: { ...shape } };
}

/**
 * A shape, without what does nothing.
 * @param whereOf where a key of it is written
 * @throws LodgeError `spec-value`
 */
export function shapeOf(spec: ShapeSpec, whereOf: (key: ShapeKey) => string): Shape {
  return shapeOfLayers([{ spec, keys: allKeys, whereOf }]);
}

function shapeOfLayers(layers: readonly Layer[]): Shape {
  const spec: ShapeSpec = {};
  /** Numbers of the layers that keys come from. */
  const from: Partial<Record<ShapeKey, number>> = {};
  layers.forEach((layer, i) => {
    for (const key of layer.keys) {
      const value = layer.spec?.[key];
      if (value === undefined) continue;
      spec[key] = value;
      from[key] = i;
    }
  });
  const placeOf = (key: ShapeKey): string => layers[from[key]!]!.whereOf(key);
  /** Of two keys that contradict each other, the one that was said of fewer links is wrong. */
  const contradiction = (key: ShapeKey, needs: ShapeKey, what: string, fix: string): LodgeError => {
    const isWrong = (from[needs] ?? -1) > from[key]!;
    const other = isWrong ? key : needs;
    return new LodgeError('spec-value', what, {
      where: placeOf(isWrong ? needs : key),
      ...(from[needs] === undefined || from[needs] === from[key]
        ? {}
        : { detail: `the ${other}: ${placeOf(other)}` }),
      fix,
    });
  };
  const { bandwidth, queue, delay = 0, jitter = 0, loss = 0, duplicate = 0, reorder = 0 } = spec;
  if (jitter > delay) {
    throw contradiction(
      'jitter',
      'delay',
      delay === 0
        ? `jitter (${formatDelay(jitter)}) needs a delay that is as long at least`
        : `the jitter (${formatDelay(jitter)}) is more than the delay (${formatDelay(delay)})`,
      'frames cannot come before they were sent: lengthen the delay, or shorten the jitter',
    );
  }
  if (reorder > 0 && delay === 0) {
    throw contradiction(
      'reorder',
      'delay',
      'reorder without a delay does nothing',
      'give a delay too: frames go before those that wait for it',
    );
  }
  if (queue !== undefined && queue < leastFrameBytes) {
    throw new LodgeError('spec-value', `a queue of ${queue} bytes holds no frame`, {
      where: placeOf('queue'),
      fix: 'give room for some frames of 1514 bytes, such as 64K, or leave out queue',
    });
  }
  if (queue !== undefined && bandwidth === undefined) {
    throw contradiction(
      'queue',
      'bandwidth',
      'a queue without a bandwidth is never used',
      'give a bandwidth too, or leave out queue',
    );
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

/** What `ip`, `tc` say as JSON, as devices and as the states of links. Pure. */

import type { DirectionState, LinkState } from '../control.ts';
import type { Shape } from '../plan.ts';
import { type BridgedPort, type Devices, outDevice } from './devices.ts';

/** Of `ip -json -statistics link show`. */
export interface LinkRecord {
  ifname: string;
  master?: string;
  flags: string[];
  stats64?: { rx: Counters; tx: Counters };
}

interface Counters {
  bytes: number;
  packets: number;
  dropped: number;
}

/** Of `tc -json -statistics qdisc show`. */
export interface QueueRecord {
  kind: string;
  dev: string;
  root?: boolean;
  drops?: number;
  backlog?: number;
  qlen?: number;
}

export function devicesOf(links: readonly LinkRecord[], queues: readonly QueueRecord[]): Devices {
  const kinds = new Map<string, string[]>();
  for (const { kind, dev, root } of queues) {
    if (kind !== 'tbf' && kind !== 'netem') continue;
    const known = kinds.get(dev) ?? [];
    kinds.set(dev, root === true ? [kind, ...known] : [...known, kind]);
  }
  return { masters: new Map(links.map(({ ifname, master }) => [ifname, master])), queues: kinds };
}

/**
 * The links, with counters since their guests were started. Of the kernel's frames one may hold many segments of a
 * TCP connection.
 */
export function linkStates(
  ports: readonly BridgedPort[],
  links: readonly LinkRecord[],
  queues: readonly QueueRecord[],
): LinkState[] {
  const byName = new Map(links.map((link) => [link.ifname, link]));
  const roots = new Map(queues.filter(({ root }) => root === true).map((queue) => [queue.dev, queue]));
  return ports.map(({ port, end, network, tap }) => {
    const { link } = port;
    const found = byName.get(tap);
    const { rx, tx } = found?.stats64 ?? { rx: none, tx: none };
    const isConnected = found?.flags.includes('LOWER_UP') === true;
    const [outQueue, inQueue] = [roots.get(outDevice(tap)), roots.get(tap)];
    const passed = { frames: tx.packets, bytes: tx.bytes };
    return {
      name: link.name,
      network: network.name,
      port: { isConnected, switch: network.name, macs: [end.interface.mac] },
      out: direction(
        link.out,
        link.isCut,
        { frames: rx.packets, bytes: rx.bytes },
        { frames: Math.max(rx.packets - (outQueue?.drops ?? 0), 0), bytes: rx.bytes },
        outQueue,
        0,
      ),
      in: direction(
        link.in,
        link.isCut,
        { ...passed, frames: passed.frames + (inQueue?.drops ?? 0) },
        passed,
        inQueue,
        tx.dropped,
      ),
    };
  });
}

const none: Counters = { bytes: 0, packets: 0, dropped: 0 };

interface Count {
  frames: number;
  bytes: number;
}

/** @param unread frames that the guest did not take */
function direction(
  shape: Shape,
  isCut: boolean,
  came: Count,
  delivered: Count,
  queue: QueueRecord | undefined,
  unread: number,
): DirectionState {
  const drops = queue?.drops ?? 0;
  // The kernel counts what netem loses and what finds no place together.
  const reason = shape.loss === undefined ? 'queue' : 'loss';
  return {
    ...came,
    deliveredFrames: delivered.frames,
    deliveredBytes: delivered.bytes,
    dropped: { ...(drops > 0 ? { [reason]: drops } : {}), ...(unread > 0 ? { overflow: unread } : {}) },
    queueBytes: queue?.backlog ?? 0,
    heldFrames: queue?.qlen ?? 0,
    shape,
    isCut,
  };
}

/** Between a fabric that is frozen and its checkpoint: everything on its way, what was learnt, counters, chance. */

import { LodgeError } from '../errors.ts';
import { Random } from '../random.ts';
import { checkShape } from './check-plan.ts';
import {
  type Checkpoint,
  decodeCheckpoint,
  encodeCheckpoint,
  type SavedDirection,
  type SavedEvent,
  unreadable,
} from './checkpoint.ts';
import type { MatrixEndpoint } from './control.ts';
import type { Direction } from './direction.ts';
import { type DropReason, drop, dropReasons } from './drops.ts';
import { largestFrameBytes } from './fabric.ts';
import type { Graph } from './graph.ts';
import type { Link } from './network.ts';
import type { Shape } from './plan.ts';

export function saveFabric(graph: Graph): Uint8Array<ArrayBuffer> {
  const { fabric } = graph;
  const { pool, macs } = fabric;
  const nowNs = fabric.clock.now();
  const frames: Uint8Array[] = [];
  const frameOf = new Map<number, number>();
  const events = fabric.wheel.events().map(({ direction: id, slot, root, deadlineNs }): SavedEvent => {
    let frame = frameOf.get(slot);
    if (frame === undefined) {
      frame = frames.push(pool.bytes.subarray(pool.offset(slot), pool.offset(slot) + pool.length(slot))) - 1;
      frameOf.set(slot, frame);
    }
    const direction = fabric.directions[id]!;
    const remainingNs = Math.max(0, deadlineNs - nowNs);
    return { frame, link: direction.link, direction: direction.isOut ? 'out' : 'in', root, remainingNs };
  });
  const links = [...graph.links.values()];
  return encodeCheckpoint({
    links: links.map((link) => ({
      name: link.name,
      switch: link.port?.switch.name ?? '',
      out: saveDirection(link.out, nowNs),
      in: saveDirection(link.in, nowNs),
      waiting: link.port?.end.waiting?.() ?? new Uint8Array(0),
    })),
    macs: links.flatMap(({ port, network, name }) => {
      if (port === undefined) return [];
      return [...macs.ofPort(port.id)].map((entry) => ({
        network: network.name,
        ...macs.key(entry),
        link: name,
      }));
    }),
    endpoints: graph.endpoints.map((endpoint) => JSON.stringify(endpoint)),
    matrix: [...fabric.matrix.read(nowNs)].filter(({ source }) => source >= 0),
    frames,
    events,
  });
}

/**
 * Takes back what was saved. What the fabric had on its way and had learnt is forgotten.
 * @throws LodgeError `checkpoint-unreadable`, `not-enough-memory`; then nothing is changed
 */
export function loadFabric(graph: Graph, bytes: Uint8Array): void {
  const saved = decodeCheckpoint(bytes);
  const links = checkLinks(graph, saved);
  const endpoints = saved.endpoints.map(parseEndpoint);
  const waiting = saved.links.map(({ waiting: stream }) => splitFrames(stream));
  const slots = putAll(graph, [...saved.frames, ...waiting.flat()]);
  const { fabric } = graph;
  const nowNs = fabric.clock.now();
  fabric.travel.dropHeld();
  let nextWaiting = saved.frames.length;
  for (const [index, link] of saved.links.entries()) {
    const live = links.get(link.name)!;
    if (live.port !== undefined) graph.move(live, link.switch);
    for (const name of ['out', 'in'] as const) loadDirection(graph, live, name, link[name], nowNs);
    // What the guest had not read goes to it first, and was counted as delivered before.
    for (const frame of waiting[index]!) {
      fabric.travel.restoreHeld(live.in, nowNs, -1, slots[nextWaiting++]!);
      live.in.deliveredFrames--;
      live.in.deliveredBytes -= frame.length;
    }
  }
  loadMacs(graph, saved);
  graph.takeAllForRouters();
  const ids = endpoints.map((endpoint) => graph.endpointId(endpoint));
  fabric.matrix.restore(
    saved.matrix.map((row) => ({
      ...row,
      source: ids[row.source]!,
      destination: row.destination < 0 ? -1 : ids[row.destination]!,
    })),
    nowNs,
  );
  for (const { frame, link, direction, root, remainingNs } of saved.events) {
    fabric.travel.restoreHeld(links.get(link)![direction], nowNs + remainingNs, root, slots[frame]!);
  }
  for (const slot of slots) fabric.pool.release(slot);
}

function saveDirection(direction: Direction, nowNs: number): SavedDirection {
  const { frames, bytes, deliveredFrames, deliveredBytes, shape, isCut } = direction;
  return {
    random: direction.random.state(),
    busyNs: Math.max(0, direction.freeNs - nowNs),
    frames,
    bytes,
    deliveredFrames,
    deliveredBytes,
    dropped: dropReasons
      .map((reason): [string, number] => [reason, direction.dropped[drop[reason]]!])
      .filter(([, count]) => count > 0),
    shape: JSON.stringify(shape),
    isCut,
  };
}

function loadDirection(
  graph: Graph,
  link: Link,
  name: 'out' | 'in',
  saved: SavedDirection,
  nowNs: number,
): void {
  const direction = link[name];
  graph.setShape(link, name, JSON.parse(saved.shape) as Shape);
  graph.setCut(link, name, saved.isCut);
  direction.random = new Random(...saved.random);
  direction.freeNs = nowNs + saved.busyNs;
  direction.frames = saved.frames;
  direction.bytes = saved.bytes;
  direction.deliveredFrames = saved.deliveredFrames;
  direction.deliveredBytes = saved.deliveredBytes;
  direction.dropped.fill(0);
  for (const [reason, count] of saved.dropped) {
    // A reason that is no more is nothing to fail for.
    const index = drop[reason as DropReason];
    if (index !== undefined) direction.dropped[index] = count;
  }
}

/** Finds the links of a checkpoint. */
function checkLinks(graph: Graph, saved: Checkpoint): Map<string, Link> {
  const links = new Map<string, Link>();
  for (const link of saved.links) {
    const live = graph.links.get(link.name);
    if (live === undefined) unreadable(`the fabric has no link '${link.name}'`);
    if ((live.port === undefined) !== (link.switch === ''))
      unreadable(`'${link.name}' is another kind of link`);
    if (live.port !== undefined && !live.network.switches.some(({ name }) => name === link.switch)) {
      unreadable(`the network '${live.network.name}' has no switch '${link.switch}'`);
    }
    if (links.has(link.name)) unreadable(`it has the link '${link.name}' twice`);
    for (const { shape, random } of [link.out, link.in]) {
      checkShape(parseShape(shape), link.name);
      if (random.every((word) => word === 0)) unreadable('a state of random numbers is all zero');
    }
    links.set(link.name, live);
    if (link.waiting.length > 0 && live.port === undefined) unreadable(`nobody reads at '${link.name}'`);
  }
  for (const { network, link } of saved.macs) {
    const live = links.get(link);
    if (live?.port === undefined || live.network.name !== network) unreadable(`an address is at '${link}'`);
  }
  return links;
}

function parseShape(text: string): Shape {
  const shape = parseObject(text);
  for (const value of Object.values(shape)) if (typeof value !== 'number') unreadable(`a shape is ${text}`);
  return shape as Shape;
}

function parseEndpoint(text: string): MatrixEndpoint {
  const { network, link, guest, mac } = parseObject(text);
  if (typeof network !== 'string' || typeof link !== 'string') unreadable(`an endpoint is ${text}`);
  return {
    network,
    link,
    ...(typeof guest === 'string' ? { guest } : {}),
    ...(typeof mac === 'string' ? { mac } : {}),
  };
}

function parseObject(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    unreadable('a text in it is no JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) unreadable(`${text} is no object`);
  return value as Record<string, unknown>;
}

function splitFrames(stream: Uint8Array): Uint8Array[] {
  const view = new DataView(stream.buffer, stream.byteOffset, stream.byteLength);
  const frames: Uint8Array[] = [];
  for (let at = 0; at < stream.length; ) {
    const length = at + 4 <= stream.length ? view.getUint32(at) : largestFrameBytes + 1;
    if (length > largestFrameBytes || at + 4 + length > stream.length) unreadable('frames that wait are cut');
    frames.push(stream.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return frames;
}

/** @returns slots of frames, each with one holder */
function putAll(graph: Graph, frames: readonly Uint8Array[]): number[] {
  const { pool } = graph.fabric;
  const slots: number[] = [];
  for (const frame of frames) {
    const slot = pool.allocate(frame.length);
    if (slot < 0) {
      for (const taken of slots) pool.release(taken);
      throw new LodgeError('not-enough-memory', 'the frames of the checkpoint do not fit into the fabric', {
        fix: 'give the fabric as much memory as it had when it was saved',
      });
    }
    pool.bytes.set(frame, pool.offset(slot));
    slots.push(slot);
  }
  return slots;
}

function loadMacs(graph: Graph, saved: Checkpoint): void {
  const { fabric } = graph;
  graph.forgetAddresses();
  for (const { hi, lo, link } of saved.macs) {
    const { port, network } = graph.link(link);
    if (port === undefined || fabric.macs.find(network.id, hi, lo) >= 0) continue;
    fabric.macs.add(network.id, hi, lo, port.id, fabric.endpointFor(port, hi, lo), false, fabric.clock.now());
    port.macs++;
  }
}

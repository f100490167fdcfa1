/**
 * The form of a frozen fabric on disk: one binary value, little-endian. It begins with `LODGEFAB` and a version; texts
 * have their length in two bytes before them, lists their count in four. It ends with the CRC-32 of all before, which
 * version 1 had not. Reading checks every length against what is there, and every number against what it may be: the
 * file may be damaged, or made by somebody else.
 */

import { crc32 } from 'node:zlib';
import { LodgeError } from '../errors.ts';
import type { DirectionName } from './control.ts';
import { largestFrameBytes } from './fabric.ts';
import type { MatrixRow } from './traffic-matrix.ts';

const magic = 0x424146454744_4f4cn; // 'LODGEFAB'
const version = 2;
/** Of the sum at the end. */
const sumBytes = 4;

export interface SavedDirection {
  random: [number, number, number, number];
  /** Until what came so far will have left, as far as bandwidth goes. */
  busyNs: number;
  frames: number;
  bytes: number;
  deliveredFrames: number;
  deliveredBytes: number;
  /** Reasons by name. */
  dropped: [reason: string, frames: number][];
  /** As JSON: shapes may have changed since the plan. */
  shape: string;
  isCut: boolean;
}

export interface SavedLink {
  name: string;
  /** Of a port, else empty. */
  switch: string;
  out: SavedDirection;
  in: SavedDirection;
  /** Frames, each after its length, that the guest had not read. */
  waiting: Uint8Array;
}

export interface SavedMac {
  network: string;
  hi: number;
  lo: number;
  link: string;
}

export interface SavedEvent {
  /** Index into `frames`. */
  frame: number;
  link: string;
  direction: DirectionName;
  root: number;
  remainingNs: number;
}

export interface Checkpoint {
  links: SavedLink[];
  macs: SavedMac[];
  /** JSON of MatrixEndpoint; `matrix` has indices into it, or -1. */
  endpoints: string[];
  matrix: MatrixRow[];
  /** A frame that is on several links is here once. */
  frames: Uint8Array[];
  /** In the order in which they are due. */
  events: SavedEvent[];
}

export function encodeCheckpoint(checkpoint: Checkpoint): Uint8Array<ArrayBuffer> {
  const to = new Writer();
  to.u64(magic);
  to.u32(version);
  const linkIndex = new Map(checkpoint.links.map(({ name }, index) => [name, index]));
  to.list(checkpoint.links, (link) => {
    to.text(link.name);
    to.text(link.switch);
    for (const direction of [link.out, link.in]) encodeDirection(to, direction);
    to.bytes(link.waiting);
  });
  to.list(checkpoint.macs, ({ network, hi, lo, link }) => {
    to.text(network);
    to.u32(hi);
    to.u32(lo);
    to.text(link);
  });
  to.list(checkpoint.endpoints, (endpoint) => to.text(endpoint));
  to.list(checkpoint.matrix, ({ source, destination, frames, bytes, bytesPerSecond }) => {
    for (const index of [source, destination]) to.u32(index + 1);
    for (const amount of [frames, bytes, bytesPerSecond]) to.f64(amount);
  });
  to.list(checkpoint.frames, (frame) => to.bytes(frame));
  to.list(checkpoint.events, ({ frame, link, direction, root, remainingNs }) => {
    to.u32(frame);
    to.u32(linkIndex.get(link)! * 2 + (direction === 'out' ? 0 : 1));
    to.u32(root + 1);
    to.f64(remainingNs);
  });
  return to.done();
}

function encodeDirection(to: Writer, direction: SavedDirection): void {
  for (const word of direction.random) to.u32(word >>> 0);
  const { busyNs, frames, bytes, deliveredFrames, deliveredBytes } = direction;
  for (const amount of [busyNs, frames, bytes, deliveredFrames, deliveredBytes]) to.f64(amount);
  to.list(direction.dropped, ([reason, count]) => {
    to.text(reason);
    to.f64(count);
  });
  to.text(direction.shape);
  to.u32(direction.isCut ? 1 : 0);
}

/** @throws LodgeError `checkpoint-unreadable` */
export function decodeCheckpoint(bytes: Uint8Array): Checkpoint {
  const from = new Reader(bytes);
  if (from.u64() !== magic) unreadable('it does not begin as a saved fabric does');
  const found = from.u32();
  if (found < 1 || found > version)
    unreadable(`it has version ${found}, and this lodge reads versions 1 to ${version}`);
  if (found > 1) from.takeSum();
  const links = from.list(120, () => ({
    name: from.text(),
    switch: from.text(),
    out: decodeDirection(from),
    in: decodeDirection(from),
    waiting: from.bytes(),
  }));
  const macs = from.list(12, () => ({
    network: from.text(),
    hi: from.u32(0xffff),
    lo: from.u32(),
    link: from.text(),
  }));
  const endpoints = from.list(2, () => from.text());
  const matrix = from.list(32, () => ({
    source: from.u32(endpoints.length) - 1,
    destination: from.u32(endpoints.length) - 1,
    frames: from.f64(),
    bytes: from.f64(),
    bytesPerSecond: from.f64(),
  }));
  const frames = from.list(4, () => from.bytes(largestFrameBytes));
  const events = from.list(20, () => {
    const frame = from.u32(frames.length - 1);
    const direction = from.u32(links.length * 2 - 1);
    return {
      frame,
      link: links[direction >>> 1]!.name,
      direction: (direction & 1) === 0 ? ('out' as const) : ('in' as const),
      root: from.u32(0x20000) - 1,
      remainingNs: from.f64(),
    };
  });
  from.end();
  return { links, macs, endpoints, matrix, frames, events };
}

function decodeDirection(from: Reader): SavedDirection {
  return {
    random: [from.u32(), from.u32(), from.u32(), from.u32()],
    busyNs: from.f64(),
    frames: from.f64(),
    bytes: from.f64(),
    deliveredFrames: from.f64(),
    deliveredBytes: from.f64(),
    dropped: from.list(10, () => [from.text(), from.f64()]),
    shape: from.text(),
    isCut: from.u32(1) === 1,
  };
}

export function unreadable(message: string): never {
  throw new LodgeError('checkpoint-unreadable', `the saved fabric cannot be read: ${message}`, {
    fix: 'go on from another checkpoint, or from a copy of this one that is whole',
  });
}

class Writer {
  #bytes = new Uint8Array(65536);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;

  u32(value: number): void {
    const at = this.#room(4);
    this.#view.setUint32(at, value, true);
  }

  u64(value: bigint): void {
    const at = this.#room(8);
    this.#view.setBigUint64(at, value, true);
  }

  f64(value: number): void {
    const at = this.#room(8);
    this.#view.setFloat64(at, value, true);
  }

  text(value: string): void {
    const bytes = Buffer.from(value);
    const at = this.#room(2 + bytes.length);
    this.#view.setUint16(at, bytes.length, true);
    this.#bytes.set(bytes, at + 2);
  }

  bytes(value: Uint8Array): void {
    this.u32(value.length);
    const at = this.#room(value.length);
    this.#bytes.set(value, at);
  }

  list<T>(items: readonly T[], encode: (item: T) => void): void {
    this.u32(items.length);
    for (const item of items) encode(item);
  }

  done(): Uint8Array<ArrayBuffer> {
    this.u32(crc32(this.#bytes.subarray(0, this.#at)));
    return this.#bytes.slice(0, this.#at);
  }

  /** Where the next so many bytes go; `#bytes` and `#view` may be others after it. */
  #room(bytes: number): number {
    const at = this.#at;
    this.#at += bytes;
    if (this.#at > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#at, this.#bytes.length * 2));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }
}

class Reader {
  #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Takes the sum away from the end, where it is right. */
  takeSum(): void {
    const end = this.#bytes.length - sumBytes;
    if (end < this.#at || this.#view.getUint32(end, true) !== crc32(this.#bytes.subarray(0, end)))
      unreadable('it has changed since it was saved, and is damaged');
    this.#bytes = this.#bytes.subarray(0, end);
  }

  u32(most = 0xffffffff): number {
    const value = this.#view.getUint32(this.#take(4), true);
    if (value > most) unreadable(`a number at byte ${this.#at - 4} is ${value}, and ${most} is the most`);
    return value;
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8), true);
  }

  /** An amount: neither negative nor infinite. */
  f64(): number {
    const value = this.#view.getFloat64(this.#take(8), true);
    if (!(value >= 0 && value <= Number.MAX_SAFE_INTEGER))
      unreadable(`a number at byte ${this.#at - 8} is ${value}`);
    return value;
  }

  text(): string {
    const length = this.#view.getUint16(this.#take(2), true);
    const at = this.#take(length);
    return Buffer.from(this.#bytes.subarray(at, at + length)).toString();
  }

  bytes(most = 0xffffffff): Uint8Array {
    const length = this.u32(most);
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  /** @param leastBytes of an item: so that a count alone cannot fill the memory */
  list<T>(leastBytes: number, decode: () => T): T[] {
    const count = this.u32();
    if (count * leastBytes > this.#bytes.length - this.#at)
      unreadable(`it ends before the ${count} items of a list`);
    const items: T[] = [];
    for (let i = 0; i < count; i++) items.push(decode());
    return items;
  }

  end(): void {
    if (this.#at !== this.#bytes.length)
      unreadable(`${this.#bytes.length - this.#at} bytes follow after its end`);
  }

  #take(bytes: number): number {
    const at = this.#at;
    if (bytes > this.#bytes.length - at)
      unreadable(`it ends at byte ${this.#bytes.length}, in the middle of a value`);
    this.#at += bytes;
    return at;
  }
}

/**
 * What goes over a trunk, inside of TLS: messages, each `u32 length | u16 id | payload`, big-endian, where the length
 * counts the id and the payload.
 *
 * An id below 65,535 is a network of the sender, as its last hello numbered them, and the payload a frame. Id 65,535 is
 * for the trunk itself; the first byte of the payload tells what it is:
 *
 * - 1, hello: `u32 magic | u16 version | cluster | host | digest | u16 count | network…`, each text a `u8` length and
 *   UTF-8. It is the first message of each side. It may come again, when the networks of a side have changed: then
 *   with the same cluster and host. Magic and version stay in this place in all versions.
 * - 2, still here: nothing more. Sent every few seconds.
 * - 3, refused: the reason, as UTF-8. The last message.
 * - 4, mark: a name of 1 to 32 bytes. All that the sender had for this trunk when it stopped its time came before it.
 *
 * Pure.
 */

export const trunkVersion = 2;
const magic = 0x4c445452;

export const controlId = 0xffff;
/** Length and id. */
export const messageHeaderBytes = 6;
/** The longest frame of any network; see fabric.ts. */
const longestPayloadBytes = 65_553;
const longestMessageBytes = 2 + longestPayloadBytes;

const helloType = 1;
const aliveType = 2;
const refusedType = 3;
const markType = 4;

export interface Hello {
  version: number;
  cluster: string;
  host: string;
  /** Of the cluster's plan. */
  digest: string;
  /** Names, in the order of their ids; an empty one is an id without a network. */
  networks: string[];
}

const longestTextBytes = 200;
/** So that a hello is never longer than a message may be. */
const mostNetworks = 254;
const longestReasonBytes = 300;
const longestMarkBytes = 32;

export function encodeHello(hello: Omit<Hello, 'version'>, version = trunkVersion): Buffer {
  const fixed = Buffer.alloc(7);
  fixed[0] = helloType;
  fixed.writeUInt32BE(magic, 1);
  fixed.writeUInt16BE(version, 5);
  const count = Buffer.alloc(2);
  count.writeUInt16BE(hello.networks.length);
  const { cluster, host, digest, networks } = hello;
  return control(
    Buffer.concat([fixed, text(cluster), text(host), text(digest), count, ...networks.map(text)]),
  );
}

export const aliveMessage = control(Buffer.of(aliveType));

export function encodeRefused(reason: string): Buffer {
  return control(
    Buffer.concat([Buffer.of(refusedType), Buffer.from(reason).subarray(0, longestReasonBytes)]),
  );
}

/** @param mark 1 to 32 bytes of ASCII */
export function encodeMark(mark: string): Buffer {
  const bytes = Buffer.from(mark);
  if (bytes.length < 1 || bytes.length > longestMarkBytes)
    throw new RangeError(`a mark of ${bytes.length} bytes`);
  return control(Buffer.concat([Buffer.of(markType), bytes]));
}

function control(payload: Buffer): Buffer {
  const header = Buffer.alloc(messageHeaderBytes);
  header.writeUInt32BE(2 + payload.length, 0);
  header.writeUInt16BE(controlId, 4);
  return Buffer.concat([header, payload]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  if (bytes.length > longestTextBytes) throw new RangeError(`a name of ${bytes.length} bytes`);
  return Buffer.concat([Buffer.of(bytes.length), bytes]);
}

export type Control =
  | { kind: 'hello'; hello: Hello }
  /** Of another version, of which nothing more is known. */
  | { kind: 'other-version'; version: number }
  | { kind: 'alive' }
  | { kind: 'refused'; reason: string }
  | { kind: 'mark'; mark: string };

/** Reads the payload of a control message; undefined when it is none. */
export function parseControl(payload: Buffer): Control | undefined {
  switch (payload[0]) {
    case helloType:
      return parseHello(payload);
    case aliveType:
      return payload.length === 1 ? { kind: 'alive' } : undefined;
    case refusedType:
      if (payload.length > 1 + longestReasonBytes) return undefined;
      return { kind: 'refused', reason: payload.toString('utf8', 1) };
    case markType:
      if (payload.length < 2 || payload.length > 1 + longestMarkBytes) return undefined;
      return { kind: 'mark', mark: payload.toString('latin1', 1) };
    default:
      return undefined;
  }
}

function parseHello(payload: Buffer): Control | undefined {
  if (payload.length < 7 || payload.readUInt32BE(1) !== magic) return undefined;
  const version = payload.readUInt16BE(5);
  if (version !== trunkVersion) return { kind: 'other-version', version };
  let at = 7;
  const next = (): string | undefined => {
    const length = payload[at];
    if (length === undefined || length > longestTextBytes || at + 1 + length > payload.length)
      return undefined;
    const value = payload.toString('utf8', at + 1, at + 1 + length);
    at += 1 + length;
    return value;
  };
  const [cluster, host, digest] = [next(), next(), next()];
  if (cluster === undefined || host === undefined || digest === undefined) return undefined;
  if (at + 2 > payload.length) return undefined;
  const count = payload.readUInt16BE(at);
  at += 2;
  if (count > mostNetworks) return undefined;
  const networks: string[] = [];
  for (let i = 0; i < count; i++) {
    const name = next();
    if (name === undefined || (name !== '' && networks.includes(name))) return undefined;
    networks.push(name);
  }
  if (at !== payload.length) return undefined;
  return { kind: 'hello', hello: { version, cluster, host, digest, networks } };
}

export interface TrunkReceiver {
  /** A frame of the sender's network `id`; the bytes are valid during the call. */
  frame(id: number, buffer: Buffer, offset: number, length: number): void;
  /** @returns false to stop: nothing more is taken from this stream */
  control(payload: Buffer): boolean;
}

/** Takes the stream of a trunk apart; it may be cut anywhere, and hold anything. No allocation for a whole frame. */
export class TrunkParser {
  readonly #receiver: TrunkReceiver;
  /** A message that was cut, from its length on. */
  readonly #cut = Buffer.allocUnsafe(4 + longestMessageBytes);
  #cutBytes = 0;

  constructor(receiver: TrunkReceiver) {
    this.#receiver = receiver;
  }

  /** @returns false when this is no stream of messages, or the receiver stopped: never call it again then */
  feed(buffer: Buffer, offset: number, bytes: number): boolean {
    const end = offset + bytes;
    let at = offset;
    if (this.#cutBytes > 0) {
      at = this.#complete(buffer, at, end);
      if (at < 0) return false;
      // All went into the message that is still cut.
      if (this.#cutBytes > 0) return true;
    }
    while (end - at >= 4) {
      const messageBytes = lengthAt(buffer, at);
      if (!isLength(messageBytes)) return false;
      if (end - at < 4 + messageBytes) break;
      if (!this.#deliver(buffer, at, messageBytes)) return false;
      at += 4 + messageBytes;
    }
    if (at < end) {
      buffer.copy(this.#cut, 0, at, end);
      this.#cutBytes = end - at;
    }
    return true;
  }

  /** Fills up the message that was cut. @returns where to go on, or -1 */
  #complete(buffer: Buffer, from: number, end: number): number {
    let at = from;
    if (this.#cutBytes < 4) {
      const taken = Math.min(4 - this.#cutBytes, end - at);
      buffer.copy(this.#cut, this.#cutBytes, at, at + taken);
      this.#cutBytes += taken;
      at += taken;
      if (this.#cutBytes < 4) return at;
    }
    const messageBytes = lengthAt(this.#cut, 0);
    if (!isLength(messageBytes)) return -1;
    const taken = Math.min(4 + messageBytes - this.#cutBytes, end - at);
    buffer.copy(this.#cut, this.#cutBytes, at, at + taken);
    this.#cutBytes += taken;
    at += taken;
    if (this.#cutBytes < 4 + messageBytes) return at;
    this.#cutBytes = 0;
    return this.#deliver(this.#cut, 0, messageBytes) ? at : -1;
  }

  #deliver(buffer: Buffer, at: number, messageBytes: number): boolean {
    const id = (buffer[at + 4]! << 8) | buffer[at + 5]!;
    const begin = at + messageHeaderBytes;
    if (id === controlId) return this.#receiver.control(buffer.subarray(begin, at + 4 + messageBytes));
    this.#receiver.frame(id, buffer, begin, messageBytes - 2);
    return true;
  }
}

function lengthAt(buffer: Buffer, at: number): number {
  return ((buffer[at]! << 24) | (buffer[at + 1]! << 16) | (buffer[at + 2]! << 8) | buffer[at + 3]!) >>> 0;
}

function isLength(messageBytes: number): boolean {
  return messageBytes >= 2 && messageBytes <= longestMessageBytes;
}

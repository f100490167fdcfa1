/**
 * Blocks of the pcapng capture format, written into memory that is there already.
 *
 * Source: draft-ietf-opsawg-pcapng, "PCAP Now Generic (pcapng) Capture File Format". Blocks are multiples of four
 * bytes in the byte order of the writer (a mark in the section's header tells which). lodge runs on little-endian
 * hosts only.
 *
 * Each function writes one block at byte `at` (a multiple of four) and returns the byte after it. Nothing checks that
 * there is room: ask for the size first.
 */

/** Memory for blocks, seen as bytes and as words. */
export interface BlockMemory {
  readonly bytes: Buffer;
  readonly words: Uint32Array;
}

/** @param bytes a multiple of four */
export function blockMemory(bytes: number): BlockMemory {
  const memory = Buffer.allocUnsafeSlow(bytes);
  return { bytes: memory, words: new Uint32Array(memory.buffer, memory.byteOffset, bytes / 4) };
}

/** First word of a file of blocks, and the byte-order mark at its third word. */
export const sectionHeaderType = 0x0a0d0d0a;
export const byteOrderMark = 0x1a2b3c4d;

const interfaceType = 1;
const statisticsType = 5;
const packetType = 6;
const linkTypeEthernet = 1;
/** Timestamps in units of 10^-9 seconds. */
const nanosecondResolution = 9;

/** Values of {@link writePacket}'s `direction`: as the guest (or switch `a`) at the near end of the link sees it. */
export const inbound = 1;
export const outbound = 2;

interface Option {
  code: number;
  value: Uint8Array;
}

const paddedLength = (bytes: number) => (bytes + 3) & ~3;
const text = (code: number, value: string): Option => ({ code, value: Buffer.from(value, 'utf8') });

/** The header that begins a section; what is in one file by several writers is several sections. */
export function sectionHeader(application: string): Buffer {
  const fixed = Buffer.alloc(16);
  fixed.writeUInt32LE(byteOrderMark, 0);
  fixed.writeUInt16LE(1, 4);
  // Length of the section: not known, as it is written once and forward.
  fixed.writeBigInt64LE(-1n, 8);
  return block(sectionHeaderType, fixed, [text(4, application)]);
}

export interface CaptureInterface {
  name: string;
  snapLengthBytes: number;
  filter?: string | undefined;
}

export function interfaceDescription({ name, snapLengthBytes, filter }: CaptureInterface): Buffer {
  const fixed = Buffer.alloc(8);
  fixed.writeUInt16LE(linkTypeEthernet, 0);
  fixed.writeUInt32LE(snapLengthBytes, 4);
  const options = [text(2, name), { code: 9, value: Uint8Array.of(nanosecondResolution) }];
  // A filter begins with a byte that tells its kind: 0 is a string of libpcap's language.
  if (filter !== undefined) options.push(text(11, `\0${filter}`));
  return block(interfaceType, fixed, options);
}

function block(type: number, fixed: Buffer, options: readonly Option[]): Buffer {
  const parts = [Buffer.alloc(8), fixed];
  for (const { code, value } of options) {
    const option = Buffer.alloc(4 + paddedLength(value.length));
    option.writeUInt16LE(code, 0);
    option.writeUInt16LE(value.length, 2);
    option.set(value, 4);
    parts.push(option);
  }
  // The end of options, and the length once more.
  parts.push(Buffer.alloc(8));
  const whole = Buffer.concat(parts);
  whole.writeUInt32LE(type, 0);
  whole.writeUInt32LE(whole.length, 4);
  whole.writeUInt32LE(whole.length, whole.length - 4);
  return whole;
}

/** An option's code and length as one word. */
const option = (code: number, bytes: number) => code | (bytes << 16);

/** Bytes of a packet's block that are not the packet. */
const packetOverheadBytes = 28 + 8 + 4 + 4;

export function packetBlockBytes(capturedBytes: number): number {
  return packetOverheadBytes + paddedLength(capturedBytes);
}

/** An Enhanced Packet Block with the first `capturedBytes` of a frame that is `lengthBytes` long. */
export function writePacket(
  memory: BlockMemory,
  at: number,
  interfaceId: number,
  seconds: number,
  nanoseconds: number,
  frame: Buffer,
  offset: number,
  capturedBytes: number,
  lengthBytes: number,
  direction: typeof inbound | typeof outbound,
): number {
  const { bytes, words } = memory;
  const blockBytes = packetBlockBytes(capturedBytes);
  let word = at >>> 2;
  words[word] = packetType;
  words[word + 1] = blockBytes;
  words[word + 2] = interfaceId;
  writeTime(words, word + 3, seconds, nanoseconds);
  words[word + 5] = capturedBytes;
  words[word + 6] = lengthBytes;
  word += 7 + (paddedLength(capturedBytes) >>> 2);
  // Zero the padding before the data goes over it.
  words[word - 1] = capturedBytes === 0 ? words[word - 1]! : 0;
  copyBytes(frame, offset, bytes, at + 28, capturedBytes);
  words[word] = option(2, 4);
  words[word + 1] = direction;
  words[word + 2] = 0;
  words[word + 3] = blockBytes;
  return at + blockBytes;
}

/** Calls with the interface of each packet among the whole blocks in `memory[from … to)`. */
export function eachPacket(
  { words }: BlockMemory,
  from: number,
  to: number,
  found: (interfaceId: number) => void,
): void {
  for (let at = from; at < to; at += words[(at >>> 2) + 1]!) {
    if (words[at >>> 2] === packetType) found(words[(at >>> 2) + 2]!);
  }
}

/** Below this many bytes a loop is quicker than the view that a copy makes first. */
const shortCopyBytes = 64;

function copyBytes(from: Buffer, offset: number, to: Buffer, at: number, bytes: number): void {
  if (bytes > shortCopyBytes) {
    from.copy(to, at, offset, offset + bytes);
    return;
  }
  for (let i = 0; i < bytes; i++) to[at + i] = from[offset + i]!;
}

export interface InterfaceStatistics {
  /** Frames of the link, those that the filter let through, and those of them that could not be written. */
  seen: number;
  accepted: number;
  dropped: number;
}

export const statisticsBlockBytes = 20 + 4 * 12 + 4 + 4;

/** An Interface Statistics Block with counts since the capture began. */
export function writeStatistics(
  memory: BlockMemory,
  at: number,
  interfaceId: number,
  seconds: number,
  nanoseconds: number,
  { seen, accepted, dropped }: InterfaceStatistics,
): number {
  const { words } = memory;
  let word = at >>> 2;
  words[word] = statisticsType;
  words[word + 1] = statisticsBlockBytes;
  words[word + 2] = interfaceId;
  writeTime(words, word + 3, seconds, nanoseconds);
  word += 5;
  word = writeCount(words, word, 4, seen);
  word = writeCount(words, word, 5, dropped);
  word = writeCount(words, word, 6, accepted);
  word = writeCount(words, word, 8, accepted - dropped);
  words[word] = 0;
  words[word + 1] = statisticsBlockBytes;
  return at + statisticsBlockBytes;
}

function writeCount(words: Uint32Array, word: number, code: number, count: number): number {
  words[word] = option(code, 8);
  words[word + 1] = count % 2 ** 32;
  words[word + 2] = Math.floor(count / 2 ** 32);
  return word + 3;
}

/**
 * A time in nanoseconds since 1970 as two words, the high one first. It has 61 bits, so it is put together of parts
 * that a double holds exactly: seconds × 10^9 = (high half × 10^9) × 2^16 + low half × 10^9.
 */
function writeTime(words: Uint32Array, word: number, seconds: number, nanoseconds: number): void {
  const upper = Math.floor(seconds / 65_536) * 1e9;
  const lower = (seconds % 65_536) * 1e9 + nanoseconds + (upper % 65_536) * 65_536;
  words[word] = Math.floor(upper / 65_536) + Math.floor(lower / 2 ** 32);
  words[word + 1] = lower % 2 ** 32;
}

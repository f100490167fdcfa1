/**
 * What the dynamic linker reads of an ELF file: its interpreter and the libraries it names.
 * Format: System V ABI, chapter "Program Loading and Dynamic Linking"; elf(5). Little-endian, 32 and 64 bits.
 * The file may be damaged or hostile: nothing outside of it is read, and no table without end.
 */

import type { Bytes } from '../bytes.ts';

export interface DynamicElf {
  bits: 32 | 64;
  /** e_machine: 62 is x86-64, 183 is AArch64. */
  machine: number;
  /** The dynamic linker, as a path; absent in libraries and static programs. */
  interpreter?: string;
  /** DT_NEEDED, in order. */
  needed: string[];
  /** DT_RPATH and DT_RUNPATH, split at their colons, `$ORIGIN` as written. */
  rpath: string[];
  runpath: string[];
}

interface Segment {
  type: number;
  offset: number;
  address: number;
  bytes: number;
}

const segmentTypes = { load: 1, dynamic: 2, interpreter: 3 } as const;
const tags = { end: 0, needed: 1, stringTable: 5, stringTableBytes: 10, rpath: 15, runpath: 29 } as const;
const mostSegments = 4096;
const mostDynamicBytes = 1 << 20;
const longestStringBytes = 4096;

/** Reads a program or library; nothing when it is not a sound ELF file. */
export function readDynamic(bytes: Bytes): DynamicElf | undefined {
  const head = bytes.read(0, 64);
  if (head.length < 52 || head.readUInt32BE(0) !== 0x7f454c46 || head[5] !== 1) return undefined;
  const bits = head[4] === 2 ? 64 : head[4] === 1 ? 32 : undefined;
  if (bits === undefined || (bits === 64 && head.length < 64)) return undefined;
  const segments = readSegments(bytes, head, bits === 64);
  if (segments === undefined) return undefined;
  const elf: DynamicElf = { bits, machine: head.readUInt16LE(18), needed: [], rpath: [], runpath: [] };
  const interpreter = segments.find(({ type }) => type === segmentTypes.interpreter);
  const path = interpreter === undefined ? undefined : stringAt(bytes, interpreter.offset, interpreter.bytes);
  if (path !== undefined) elf.interpreter = path;
  const dynamic = segments.find(({ type }) => type === segmentTypes.dynamic);
  if (dynamic !== undefined) readTable(bytes, segments, dynamic, elf);
  return elf;
}

function readSegments(bytes: Bytes, head: Buffer, wide: boolean): Segment[] | undefined {
  const offset = wide ? number64(head, 32) : head.readUInt32LE(28);
  const rowBytes = head.readUInt16LE(wide ? 54 : 42);
  const count = head.readUInt16LE(wide ? 56 : 44);
  if (count === 0) return [];
  if (rowBytes < (wide ? 56 : 32) || count > mostSegments) return undefined;
  const table = bytes.read(offset, rowBytes * count);
  if (table.length < rowBytes * count) return undefined;
  return Array.from({ length: count }, (_, i) => {
    const row = table.subarray(i * rowBytes);
    return wide
      ? {
          type: row.readUInt32LE(0),
          offset: number64(row, 8),
          address: number64(row, 16),
          bytes: number64(row, 32),
        }
      : {
          type: row.readUInt32LE(0),
          offset: row.readUInt32LE(4),
          address: row.readUInt32LE(8),
          bytes: row.readUInt32LE(16),
        };
  });
}

/** Reads the dynamic table into `elf`. */
function readTable(bytes: Bytes, segments: readonly Segment[], dynamic: Segment, elf: DynamicElf): void {
  const wide = elf.bits === 64;
  const rowBytes = wide ? 16 : 8;
  const table = bytes.read(dynamic.offset, Math.min(dynamic.bytes, mostDynamicBytes));
  const rows: { tag: number; value: number }[] = [];
  for (let at = 0; at + rowBytes <= table.length; at += rowBytes) {
    const tag = wide ? number64(table, at) : table.readUInt32LE(at);
    if (tag === tags.end) break;
    rows.push({ tag, value: wide ? number64(table, at + 8) : table.readUInt32LE(at + 4) });
  }
  const valueWith = (wanted: number): number | undefined => rows.find(({ tag }) => tag === wanted)?.value;
  const address = valueWith(tags.stringTable);
  const strings = address === undefined ? undefined : fileOffsetOf(segments, address);
  if (strings === undefined) return;
  const stringsBytes = valueWith(tags.stringTableBytes) ?? 0;
  for (const { tag, value } of rows) {
    if (tag !== tags.needed && tag !== tags.rpath && tag !== tags.runpath) continue;
    const text = stringAt(bytes, strings + value, stringsBytes - value);
    if (text === undefined) continue;
    if (tag === tags.needed) elf.needed.push(text);
    else
      (tag === tags.rpath ? elf.rpath : elf.runpath).push(...text.split(':').filter((part) => part !== ''));
  }
}

/** Where in the file the byte lies that is loaded at an address. */
function fileOffsetOf(segments: readonly Segment[], address: number): number | undefined {
  const segment = segments.find(
    ({ type, address: start, bytes }) =>
      type === segmentTypes.load && address >= start && address < start + bytes,
  );
  return segment === undefined ? undefined : segment.offset + (address - segment.address);
}

/** The string that begins at an offset and ends with a NUL before `limit` bytes; nothing when it is empty. */
function stringAt(bytes: Bytes, offset: number, limit: number): string | undefined {
  const raw = bytes.read(offset, Math.min(limit, longestStringBytes));
  const end = raw.indexOf(0);
  return end <= 0 ? undefined : raw.toString('utf8', 0, end);
}

/** A 64-bit number; one past what a double holds exactly is as good as outside of any file. */
function number64(buffer: Buffer, offset: number): number {
  return Number(buffer.readBigUInt64LE(offset));
}

/**
 * Reads what lodge needs of an ELF file: segments, sections, notes.
 * Format: System V ABI, chapters "Object Files" and "Program Loading"; elf(5). Little-endian only, as x86 is.
 */

import type { Bytes } from './bytes.ts';

interface ElfPart {
  type: number;
  offset: number;
  bytes: number;
}

export interface Elf {
  bits: 32 | 64;
  /** e_machine: 3 is i386, 62 is x86-64. */
  machine: number;
  /** e_type: 1 relocatable, 2 executable, 3 shared. */
  type: number;
  segments: ElfPart[];
  sections: (ElfPart & { nameOffset: number })[];
  /** Which section holds the names of the sections. */
  namesIndex: number;
}

export interface ElfNote {
  name: string;
  type: number;
  description: Buffer;
}

export const elfMachine = { i386: 3, x86_64: 62 } as const;
export const elfType = { relocatable: 1, executable: 2, shared: 3 } as const;

/** Program header type of notes, and of what is loaded. */
const segmentType = { load: 1, note: 4 } as const;
const sectionTypeNothing = 8;
const mostNoteBytes = 1 << 20;
const mostSectionBytes = 4 << 20;
const mostHeaders = 65_535;

/** The headers of an ELF file; nothing when it is not one, or its tables lie outside of it. */
export function readElf(bytes: Bytes): Elf | undefined {
  const head = bytes.read(0, 64);
  if (head.length < 52 || head.readUInt32BE(0) !== 0x7f454c46 || head[5] !== 1) return undefined;
  const bits = head[4] === 2 ? 64 : head[4] === 1 ? 32 : undefined;
  if (bits === undefined || (bits === 64 && head.length < 64)) return undefined;
  const wide = bits === 64;
  const segmentTable = wide ? number64(head, 32) : head.readUInt32LE(28);
  const sectionTable = wide ? number64(head, 40) : head.readUInt32LE(32);
  const counts = wide ? 54 : 42;
  const segments = readTable(
    bytes,
    segmentTable,
    head.readUInt16LE(counts),
    head.readUInt16LE(counts + 2),
    (row) =>
      wide
        ? { type: row.readUInt32LE(0), offset: number64(row, 8), bytes: number64(row, 32) }
        : { type: row.readUInt32LE(0), offset: row.readUInt32LE(4), bytes: row.readUInt32LE(16) },
  );
  const sections = readTable(
    bytes,
    sectionTable,
    head.readUInt16LE(counts + 4),
    head.readUInt16LE(counts + 6),
    (row) => {
      const common = { nameOffset: row.readUInt32LE(0), type: row.readUInt32LE(4) };
      return wide
        ? { ...common, offset: number64(row, 24), bytes: number64(row, 32) }
        : { ...common, offset: row.readUInt32LE(16), bytes: row.readUInt32LE(20) };
    },
  );
  if (segments === undefined || sections === undefined) return undefined;
  const type = head.readUInt16LE(16);
  const machine = head.readUInt16LE(18);
  return { bits, machine, type, segments, sections, namesIndex: head.readUInt16LE(counts + 8) };
}

/** Rows of a table of headers; `undefined` when the table is not wholly in the file. */
function readTable<T>(
  bytes: Bytes,
  offset: number,
  rowBytes: number,
  count: number,
  parse: (row: Buffer) => T,
): T[] | undefined {
  if (count === 0 || offset === 0) return [];
  const table = bytes.read(offset, rowBytes * Math.min(count, mostHeaders));
  if (rowBytes < 32 || table.length < rowBytes * count) return undefined;
  try {
    return Array.from({ length: count }, (_, i) => parse(table.subarray(i * rowBytes, (i + 1) * rowBytes)));
  } catch {
    return undefined; // rows too short for their class
  }
}

/** Where the last loaded or listed part of the file ends: a shorter file is truncated. */
export function elfEndBytes(elf: Elf): number {
  const loaded = elf.segments.filter((segment) => segment.type === segmentType.load);
  const listed = elf.sections.filter((section) => section.type !== sectionTypeNothing);
  return [...loaded, ...listed].reduce((end, part) => Math.max(end, part.offset + part.bytes), 0);
}

/** Every note in the note segments. */
export function elfNotes(bytes: Bytes, elf: Elf): ElfNote[] {
  const notes: ElfNote[] = [];
  for (const segment of elf.segments) {
    if (segment.type !== segmentType.note) continue;
    const data = bytes.read(segment.offset, Math.min(segment.bytes, mostNoteBytes));
    for (let at = 0; at + 12 <= data.length; ) {
      const nameBytes = data.readUInt32LE(at);
      const descriptionBytes = data.readUInt32LE(at + 4);
      const descriptionAt = at + 12 + roundUp4(nameBytes);
      const end = descriptionAt + descriptionBytes;
      if (end > data.length) break;
      notes.push({
        name: data.toString('latin1', at + 12, at + 12 + Math.max(0, nameBytes - 1)),
        type: data.readUInt32LE(at + 8),
        description: data.subarray(descriptionAt, end),
      });
      at = descriptionAt + roundUp4(descriptionBytes);
    }
  }
  return notes;
}

/** The section of that name, at most 4 MiB of it. */
export function elfSection(bytes: Bytes, elf: Elf, name: string): Buffer | undefined {
  const names = elf.sections[elf.namesIndex];
  if (names === undefined) return undefined;
  const text = bytes.read(names.offset, Math.min(names.bytes, mostSectionBytes)).toString('latin1');
  const section = elf.sections.find(({ nameOffset }) => text.startsWith(`${name}\0`, nameOffset));
  return section === undefined
    ? undefined
    : bytes.read(section.offset, Math.min(section.bytes, mostSectionBytes));
}

/**
 * Whether the kernel says where a Xen-style (PVH) loader is to enter it: the note XEN_ELFNOTE_PHYS32_ENTRY.
 * Source: include/xen/interface/elfnote.h of Linux.
 */
export function hasPvhEntry(bytes: Bytes, elf: Elf): boolean {
  return elfNotes(bytes, elf).some(
    ({ name, type, description }) => name === 'Xen' && type === 18 && description.length >= 4,
  );
}

/** A 64-bit number; one past what a double holds exactly is as good as outside of any file. */
function number64(buffer: Buffer, offset: number): number {
  return Number(buffer.readBigUInt64LE(offset));
}

function roundUp4(value: number): number {
  return Math.ceil(value / 4) * 4;
}

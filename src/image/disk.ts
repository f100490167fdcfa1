/**
 * Reads what is on a disk or CD image: partition tables, what boots it, whether all of it is there.
 * Sources: UEFI Specification 2.10 chapter 5 (GPT, protective MBR); ECMA-119 (ISO 9660); "El Torito" Bootable
 * CD-ROM Format Specification 1.0.
 */

import type { Bytes } from './bytes.ts';
import type { Firmware } from './image.ts';

export interface DiskContent {
  table: 'gpt' | 'mbr';
  firmware: Firmware;
  /** The least size in bytes that its tables speak of. */
  endBytes: number;
}

export interface IsoContent {
  /** What can boot it; nothing for a CD of data. */
  firmware: Firmware | undefined;
  /** Also has a partition table, so that it boots from a disk or stick. */
  hybrid: boolean;
  endBytes: number;
}

const sectorBytes = 512;
const isoSectorBytes = 2048;
/** Type C12A7328-F81F-11D2-BA4B-00A0C93EC93B as it lies on the disk. */
const efiSystemPartition = '28732ac11ff8d211ba4b00a0c93ec93b';
const protectiveType = 0xee;
/** Partition entries looked at; a table has 128 unless somebody asked for more. */
const mostGptEntries = 1024;
const mostDescriptors = 64;
const elToritoBytes = 2048;

/** The partition table of a disk; nothing when its first sector is not a boot sector. */
export function readDisk(bytes: Bytes): DiskContent | undefined {
  const first = bytes.read(0, sectorBytes);
  if (first.length < sectorBytes || first.readUInt16LE(510) !== 0xaa55) return undefined;
  const gpt = readGpt(bytes);
  const hasBootCode = first.subarray(0, 440).some((byte) => byte !== 0);
  if (gpt === undefined) return { table: 'mbr', firmware: 'bios', endBytes: mbrEnd(first) };
  return {
    table: 'gpt',
    firmware: gpt.hasEfiSystem && !hasBootCode ? 'uefi' : 'bios',
    endBytes: gpt.endBytes,
  };
}

function mbrEnd(first: Buffer): number {
  let end = 0;
  for (let entry = 446; entry < 510; entry += 16) {
    const [type, start, count] = [
      first[entry + 4]!,
      first.readUInt32LE(entry + 8),
      first.readUInt32LE(entry + 12),
    ];
    // Only 0 and 0x80 are flags: otherwise this is a boot sector without a table (a floppy), its code lies here.
    if (first[entry] !== 0 && first[entry] !== 0x80) return 0;
    if (type !== 0 && type !== protectiveType) end = Math.max(end, (start + count) * sectorBytes);
  }
  return end;
}

function readGpt(bytes: Bytes): { hasEfiSystem: boolean; endBytes: number } | undefined {
  for (const blockBytes of [512, 4096]) {
    const header = bytes.read(blockBytes, 92);
    if (header.length < 92 || header.toString('latin1', 0, 8) !== 'EFI PART') continue;
    const entriesAt = Number(header.readBigUInt64LE(72)) * blockBytes;
    const entryBytes = header.readUInt32LE(84);
    const count = Math.min(header.readUInt32LE(80), mostGptEntries);
    const backup = Number(header.readBigUInt64LE(32));
    const sound = entryBytes >= 128 && entryBytes <= 4096 && entryBytes % 8 === 0;
    const table = sound ? bytes.read(entriesAt, count * entryBytes) : Buffer.alloc(0);
    let hasEfiSystem = false;
    for (let at = 0; at + 16 <= table.length; at += entryBytes) {
      if (table.toString('hex', at, at + 16) === efiSystemPartition) hasEfiSystem = true;
    }
    return { hasEfiSystem, endBytes: (backup + 1) * blockBytes };
  }
  return undefined;
}

/** A CD image; nothing when there is no ISO 9660 volume. */
export function readIso(bytes: Bytes): IsoContent | undefined {
  const primary = bytes.read(16 * isoSectorBytes, isoSectorBytes);
  if (primary.length < isoSectorBytes || primary.toString('latin1', 1, 6) !== 'CD001') return undefined;
  const hybrid = readDisk(bytes) !== undefined;
  const platforms = bootPlatforms(bytes);
  const firmware = platforms.has('bios')
    ? 'bios'
    : platforms.has('uefi')
      ? 'uefi'
      : hybrid
        ? 'bios'
        : undefined;
  return { firmware, hybrid, endBytes: primary.readUInt32LE(80) * primary.readUInt16LE(128) };
}

/** Which firmware finds something to boot in the El Torito boot catalogue. */
function bootPlatforms(bytes: Bytes): Set<Firmware> {
  const platforms = new Set<Firmware>();
  const catalogue = bootCatalogue(bytes);
  // The first entry validates the catalogue and names the platform of the second; headers name those that follow.
  if (catalogue.length < 64 || catalogue[0] !== 1 || catalogue.readUInt16LE(30) !== 0xaa55) return platforms;
  let platform = catalogue[1]!;
  for (let at = 32; at + 32 <= catalogue.length; at += 32) {
    const kind = catalogue[at]!;
    if (kind === 0x90 || kind === 0x91) platform = catalogue[at + 1]!;
    else if (kind === 0x88) platforms.add(platform === 0xef ? 'uefi' : 'bios');
    else if (kind === 0 && at > 32) break;
  }
  return platforms;
}

function bootCatalogue(bytes: Bytes): Buffer {
  for (let sector = 17; sector < 17 + mostDescriptors; sector++) {
    const descriptor = bytes.read(sector * isoSectorBytes, 0x4b);
    if (descriptor.length < 0x4b || descriptor.toString('latin1', 1, 6) !== 'CD001' || descriptor[0] === 255)
      break;
    if (descriptor[0] === 0 && descriptor.toString('latin1', 7, 30) === 'EL TORITO SPECIFICATION') {
      return bytes.read(descriptor.readUInt32LE(0x47) * isoSectorBytes, elToritoBytes);
    }
  }
  return Buffer.alloc(0);
}

/**
 * Reads the structure of a qcow2 image far enough to tell a whole one from a damaged or truncated one, and to see
 * the first sectors of the disk in it.
 * Format: docs/interop/qcow2.txt of QEMU.
 */

import { constants, inflateRawSync } from 'node:zlib';
import type { Bytes } from './bytes.ts';

export interface Qcow2 {
  version: 2 | 3;
  /** Size of the disk in it. */
  virtualBytes: number;
  clusterBytes: number;
  /** The file that holds what this one does not; named by the image itself, so not to be trusted. */
  backing?: string;
  /** The disk's data are in another file. */
  hasDataFile: boolean;
  /** What is wrong with it; nothing for a sound one. */
  problem?: string;
}

interface Header extends Qcow2 {
  clusterBits: number;
  l1At: number;
  l1Entries: number;
  refcountTableAt: number;
  refcountTableBytes: number;
  refcountBits: number;
  /** Refcounts may be behind the truth: QEMU did not close the image. */
  dirty: boolean;
  wideL2: boolean;
  zstd: boolean;
}

const magic = 0x514649fb;
/** Bits 9 to 55 of an L1, L2 or refcount table entry hold an offset in the file. */
const offsetMask = 0x00ff_ffff_ffff_fe00n;
const compressedFlag = 1n << 62n;
const zeroFlag = 1n;
const incompatible = { dirty: 1n, corrupt: 2n, dataFile: 4n, zstd: 8n, wideL2: 16n };
/** QEMU itself takes no larger tables (block/qcow2.h). */
const mostTableBytes = 32 << 20;

/** The header of a qcow2 image; nothing when it is not one. */
export function readQcow2(bytes: Bytes): Qcow2 | undefined {
  const header = readHeader(bytes);
  if (header === undefined) return undefined;
  const { version, virtualBytes, clusterBytes, backing, hasDataFile } = header;
  const problem = header.problem ?? truncation(bytes, header);
  return {
    version,
    virtualBytes,
    clusterBytes,
    hasDataFile,
    ...(backing === undefined ? {} : { backing }),
    ...(problem === undefined ? {} : { problem }),
  };
}

function readHeader(bytes: Bytes): Header | undefined {
  const head = bytes.read(0, 112);
  if (head.length < 8 || head.readUInt32BE(0) !== magic) return undefined;
  const versionNumber = head.readUInt32BE(4);
  const short = head.length < (versionNumber === 2 ? 72 : 104);
  const field = Buffer.concat([head, Buffer.alloc(112 - head.length)]);
  const clusterBits = field.readUInt32BE(20);
  const features = versionNumber === 3 ? field.readBigUInt64BE(72) : 0n;
  const header: Header = {
    version: versionNumber === 2 ? 2 : 3,
    virtualBytes: Number(field.readBigUInt64BE(24)),
    clusterBits,
    clusterBytes: 2 ** clusterBits,
    l1Entries: field.readUInt32BE(36),
    l1At: Number(field.readBigUInt64BE(40)),
    refcountTableAt: Number(field.readBigUInt64BE(48)),
    refcountTableBytes: field.readUInt32BE(56) * 2 ** clusterBits,
    refcountBits: versionNumber === 3 ? 2 ** field.readUInt32BE(96) : 16,
    hasDataFile: (features & incompatible.dataFile) !== 0n,
    dirty: (features & incompatible.dirty) !== 0n,
    wideL2: (features & incompatible.wideL2) !== 0n,
    zstd: (features & incompatible.zstd) !== 0n && field[104] === 1,
  };
  const problem = headerProblem(header, versionNumber, features, short, field.readUInt32BE(32));
  if (problem !== undefined) return { ...header, problem };
  const backingAt = Number(field.readBigUInt64BE(8));
  const backing =
    backingAt === 0 ? undefined : bytes.read(backingAt, Math.min(field.readUInt32BE(16), 1023)).toString();
  return { ...header, ...(backing === undefined ? {} : { backing }) };
}

function headerProblem(
  header: Header,
  version: number,
  features: bigint,
  short: boolean,
  encryption: number,
): string | undefined {
  if (version !== 2 && version !== 3) return `qcow2 version ${version} is not known`;
  if (short) return 'cut short within its header';
  if (header.clusterBits < 9 || header.clusterBits > 21)
    return `damaged: clusters of 2^${header.clusterBits} bytes`;
  if (header.refcountBits > 64) return 'damaged: impossible reference counts';
  if ((features & incompatible.corrupt) !== 0n) return 'marked as corrupt by QEMU';
  if (features >= 32n) return 'made with features of a newer QEMU';
  if (encryption !== 0) return 'encrypted, which lodge has no key for';
  if (header.l1Entries * 8 > mostTableBytes || header.refcountTableBytes > mostTableBytes) {
    return 'damaged: its tables are larger than possible';
  }
  const perL1Entry = (header.clusterBytes * header.clusterBytes) / (header.wideL2 ? 16 : 8);
  if (header.l1Entries < Math.ceil(header.virtualBytes / perL1Entry))
    return 'damaged: its table is too small for its disk';
  return undefined;
}

/** Looks for tables and clusters that should be in the file but lie past its end. */
function truncation(bytes: Bytes, header: Header): string | undefined {
  const { l1At, l1Entries, refcountTableAt, refcountTableBytes, clusterBytes } = header;
  const l1 = bytes.read(l1At, l1Entries * 8);
  if (l1.length < l1Entries * 8) return cutShort(bytes.size, l1At + l1Entries * 8);
  for (let at = 0; at < l1.length; at += 8) {
    const l2At = Number(l1.readBigUInt64BE(at) & offsetMask);
    if (l2At !== 0 && l2At + clusterBytes > bytes.size) return cutShort(bytes.size, l2At + clusterBytes);
  }
  const table = bytes.read(refcountTableAt, refcountTableBytes);
  if (table.length === 0) return cutShort(bytes.size, refcountTableAt + refcountTableBytes);
  const last = header.dirty ? 0 : lastClusterAt(bytes, header, table);
  // The last cluster itself need not be whole: QEMU reads zeros past the end.
  return last >= bytes.size ? cutShort(bytes.size, last + 1) : undefined;
}

/** Where the last cluster begins that has a reference count: the file must reach it. */
function lastClusterAt(bytes: Bytes, header: Header, table: Buffer): number {
  const { clusterBytes, refcountBits } = header;
  const perBlock = (clusterBytes * 8) / refcountBits;
  for (let index = Math.floor(table.length / 8) - 1; index >= 0; index--) {
    const blockAt = Number(table.readBigUInt64BE(index * 8) & offsetMask);
    if (blockAt === 0) continue;
    const block = bytes.read(blockAt, clusterBytes);
    if (block.length < clusterBytes) return Math.max(blockAt, bytes.size);
    const lastByte = block.findLastIndex((byte) => byte !== 0);
    // A block without any count in use is left over: look at the one before.
    if (lastByte === -1) continue;
    // Counts of less than a byte fill it from its lowest bit.
    const lastBit = lastByte * 8 + (refcountBits < 8 ? 31 - Math.clz32(block[lastByte]!) : 0);
    return (index * perBlock + Math.floor(lastBit / refcountBits)) * clusterBytes;
  }
  return 0;
}

function cutShort(size: number, needed: number): string {
  return `cut short: it has ${size} bytes and needs at least ${needed}`;
}

/**
 * The first bytes of the disk in a sound image: at most `length`, and at most one cluster. Empty where the image
 * has none of its own or packs them in a way that Node cannot unpack.
 */
export function qcow2DiskStart(bytes: Bytes, length: number): Buffer {
  const header = readHeader(bytes);
  if (header === undefined || header.problem !== undefined || header.hasDataFile) return Buffer.alloc(0);
  const entryOf = (at: number): bigint => {
    const entry = bytes.read(at, 8);
    return entry.length === 8 ? entry.readBigUInt64BE(0) : 0n;
  };
  const l2At = Number(entryOf(header.l1At) & offsetMask);
  const entry = l2At === 0 ? 0n : entryOf(l2At);
  const wanted = Math.min(length, header.clusterBytes);
  if ((entry & compressedFlag) !== 0n)
    return header.zstd ? Buffer.alloc(0) : inflate(bytes, header, entry, wanted);
  const offset = Number(entry & offsetMask);
  return offset === 0 || (entry & zeroFlag) !== 0n ? Buffer.alloc(0) : bytes.read(offset, wanted);
}

function inflate(bytes: Bytes, header: Header, entry: bigint, wanted: number): Buffer {
  const offsetBits = BigInt(62 - (header.clusterBits - 8));
  const offset = entry & ((1n << offsetBits) - 1n);
  const sectors = Number((entry & (compressedFlag - 1n)) >> offsetBits) + 1;
  const packed = bytes.read(Number(offset), sectors * 512 - Number(offset & 511n));
  try {
    const options = { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: header.clusterBytes };
    return inflateRawSync(packed, options).subarray(0, wanted);
  } catch {
    return Buffer.alloc(0);
  }
}

/**
 * Writes cpio archives of the kind Linux unpacks as its first root.
 * Format: "newc", Documentation/driver-api/early-userspace/buffer-format.rst of Linux.
 */

import { LodgeError } from '../errors.ts';

/** One thing in the archive. Paths are relative to the root; directories must come before what is in them. */
export type CpioEntry =
  | { kind: 'directory'; path: string; mode?: number }
  | { kind: 'file'; path: string; data: Uint8Array; mode?: number }
  | { kind: 'symlink'; path: string; target: string }
  | {
      kind: 'device';
      path: string;
      type: 'character' | 'block';
      major: number;
      minor: number;
      mode?: number;
    };

const typeBits = {
  directory: 0o040000,
  file: 0o100000,
  symlink: 0o120000,
  character: 0o020000,
  block: 0o060000,
};
const defaultModes = { directory: 0o755, file: 0o644, symlink: 0o777, device: 0o600 };
const headerBytes = 110;
/** The kernel takes a name of at most PATH_MAX bytes, its NUL included. */
const longestNameBytes = 4096;
const largestFileBytes = 0xffff_ffff;

/**
 * The archive as one buffer. The same entries give the same bytes on every machine: owner root, time 0,
 * inode numbers by position.
 * @throws LodgeError `internal` for a path that the format cannot hold
 */
export function writeCpio(entries: readonly CpioEntry[]): Buffer {
  const pieces: Uint8Array[] = [];
  let totalBytes = 0;
  const append = (piece: Uint8Array): void => {
    const padding = Buffer.alloc(-(totalBytes + piece.length) & 3);
    pieces.push(piece, padding);
    totalBytes += piece.length + padding.length;
  };
  entries.forEach((entry, index) => {
    const data = dataOf(entry);
    append(headerOf(entry, index + 1, data.length));
    append(data);
  });
  append(rawHeader({ name: 'TRAILER!!!', links: 1 }));
  // Boot loaders read whole sectors; the kernel skips zeros between and after archives.
  pieces.push(Buffer.alloc(-totalBytes & 511));
  return Buffer.concat(pieces);
}

function dataOf(entry: CpioEntry): Uint8Array {
  if (entry.kind === 'file') return entry.data;
  return entry.kind === 'symlink' ? Buffer.from(entry.target) : Buffer.alloc(0);
}

function headerOf(entry: CpioEntry, inode: number, dataBytes: number): Buffer {
  const name = entry.path.replace(/^\/+/, '');
  const nameBytes = Buffer.byteLength(name) + 1;
  if (name === '' || name.includes('\0') || nameBytes > longestNameBytes || dataBytes > largestFileBytes) {
    throw new LodgeError('internal', `'${entry.path}' does not fit into a cpio archive`);
  }
  const type = typeBits[entry.kind === 'device' ? entry.type : entry.kind];
  const permissions = (entry.kind === 'symlink' ? undefined : entry.mode) ?? defaultModes[entry.kind];
  return rawHeader({
    name,
    inode,
    mode: type | permissions,
    links: entry.kind === 'directory' ? 2 : 1,
    dataBytes,
    ...(entry.kind === 'device' ? { major: entry.major, minor: entry.minor } : {}),
  });
}

interface RawHeader {
  name: string;
  inode?: number;
  mode?: number;
  links?: number;
  dataBytes?: number;
  major?: number;
  minor?: number;
}

function rawHeader(header: RawHeader): Buffer {
  const { name, inode = 0, mode = 0, links = 0, dataBytes = 0, major = 0, minor = 0 } = header;
  const nameBytes = Buffer.byteLength(name) + 1;
  // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
  const fields = [inode, mode, 0, 0, links, 0, dataBytes, 0, 0, major, minor, nameBytes, 0];
  const text = `070701${fields.map((field) => field.toString(16).toUpperCase().padStart(8, '0')).join('')}`;
  const buffer = Buffer.alloc(headerBytes + nameBytes);
  buffer.write(text, 'latin1');
  buffer.write(name, headerBytes);
  return buffer;
}

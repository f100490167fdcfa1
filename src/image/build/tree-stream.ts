/**
 * A tree of files from many places as one tar archive, written as it is read: nothing is copied first.
 * Unlike lodge's own archives (`image/tar.ts`) it keeps owners, times and names of any length.
 *
 * Format: GNU tar, "Basic Tar Format". Not pax, because sqfstar 4.5 takes the first `/` off link targets in pax
 * headers and takes whole seconds in them for damage.
 */

import { open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { LodgeError } from '../../errors.ts';

interface Common {
  /** Absolute, as in the guest, and not the root itself. A directory comes before what is in it. */
  path: string;
  uid: number;
  gid: number;
  /** Seconds since 1970. */
  mtimeSeconds: number;
}

export type TreeEntry =
  | (Common & { kind: 'directory'; mode: number })
  | (Common & { kind: 'symlink'; target: string })
  | (Common & { kind: 'file'; mode: number; bytes: number; from: string })
  | (Common & { kind: 'file'; mode: number; data: Buffer });

const blockBytes = 512;
const nameBytes = 100;
const pieceBytes = 1 << 20;
const typeFlags = { directory: '5', symlink: '2', file: '0' } as const;

/**
 * The archive of the entries, in their order.
 * The stream fails with LodgeError `image-build` when a file is not as long as its entry says.
 */
export function treeStream(entries: Iterable<TreeEntry>, onBytes?: (bytes: number) => void): Readable {
  return Readable.from(archive(entries, onBytes ?? (() => {})), {
    objectMode: false,
    highWaterMark: pieceBytes,
  });
}

async function* archive(
  entries: Iterable<TreeEntry>,
  onBytes: (bytes: number) => void,
): AsyncGenerator<Buffer> {
  for (const entry of entries) {
    const bytes = sizeOf(entry);
    yield headersOf(entry, bytes);
    if (entry.kind !== 'file') continue;
    if ('data' in entry) yield entry.data;
    else yield* contentOf(entry.from, bytes, onBytes);
    yield Buffer.alloc(-bytes & (blockBytes - 1));
  }
  yield Buffer.alloc(2 * blockBytes);
}

function sizeOf(entry: TreeEntry): number {
  if (entry.kind !== 'file') return 0;
  return 'data' in entry ? entry.data.length : entry.bytes;
}

async function* contentOf(
  path: string,
  bytes: number,
  onBytes: (bytes: number) => void,
): AsyncGenerator<Buffer> {
  const file = await open(path, 'r').catch((cause: unknown) => {
    throw changed(path, cause);
  });
  try {
    for (let at = 0; at < bytes; ) {
      const piece = Buffer.allocUnsafe(Math.min(pieceBytes, bytes - at));
      const { bytesRead } = await file.read(piece, 0, piece.length, at);
      if (bytesRead === 0) throw changed(path);
      at += bytesRead;
      onBytes(bytesRead);
      yield piece.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

function changed(path: string, cause?: unknown): LodgeError {
  return new LodgeError('image-build', 'a file changed while it was read', {
    where: path,
    fix: 'try again when nothing is being installed',
    cause,
  });
}

function headersOf(entry: TreeEntry, bytes: number): Buffer {
  const name = Buffer.from(entry.path.slice(1) + (entry.kind === 'directory' ? '/' : ''));
  const target = Buffer.from(entry.kind === 'symlink' ? entry.target : '');
  const mode = entry.kind === 'symlink' ? 0o777 : entry.mode & 0o7777;
  const header = Buffer.alloc(blockBytes);
  name.copy(header, 0, 0, nameBytes);
  target.copy(header, 157, 0, nameBytes);
  writeNumber(header, 100, 8, mode);
  writeNumber(header, 108, 8, entry.uid);
  writeNumber(header, 116, 8, entry.gid);
  writeNumber(header, 124, 12, bytes);
  writeNumber(header, 136, 12, Math.max(0, entry.mtimeSeconds));
  const long = [longName('L', name), longName('K', target)];
  return Buffer.concat([...long, finish(header, typeFlags[entry.kind])]);
}

/** A member of its own before the one whose name or target does not fit into its header. */
function longName(type: 'L' | 'K', name: Buffer): Buffer {
  if (name.length <= nameBytes) return Buffer.alloc(0);
  const header = Buffer.alloc(blockBytes);
  header.write('././@LongLink', 0);
  for (const at of [100, 108, 116]) writeNumber(header, at, 8, 0);
  writeNumber(header, 124, 12, name.length + 1);
  writeNumber(header, 136, 12, 0);
  const padding = Buffer.alloc(blockBytes - (name.length & (blockBytes - 1)));
  return Buffer.concat([finish(header, type), name, padding]);
}

/** Octal, or, when that does not fit, big-endian with the top bit set. */
function writeNumber(header: Buffer, at: number, length: number, value: number): void {
  if (value < 8 ** (length - 1)) {
    header.write(value.toString(8).padStart(length - 1, '0'), at);
    return;
  }
  header[at] = 0x80;
  header.writeUIntBE(value, at + length - 6, 6);
}

function finish(header: Buffer, type: string): Buffer {
  header.fill(' ', 148, 156);
  header.write(type, 156);
  header.write('ustar  \0', 257, 'latin1');
  const checksum = header.reduce((sum, byte) => sum + byte, 0);
  header.write(`${checksum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

/** Reading what somebody named: whatever it is, it ends, and takes no more memory than it may. */

import { closeSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';

const pieceBytes = 1024 * 1024;

/**
 * The bytes of a file or pipe.
 * @returns undefined when there are more than `mostBytes`
 * @throws Error of the operating system; and for a device, which might never end
 */
export function readAtMost(path: string, mostBytes: number): Buffer | undefined {
  const descriptor = openSync(path, 'r');
  try {
    const stats = fstatSync(descriptor);
    if (stats.isCharacterDevice() || stats.isBlockDevice()) throw new Error('it is a device, not a file');
    if (stats.isFile() && stats.size > mostBytes) return undefined;
    // Files of the kernel tell no size; what is read of them and of pipes is counted as it comes.
    if (stats.isFile() && stats.size > 0) return readFileSync(descriptor);
    const pieces: Buffer[] = [];
    for (let bytes = 0; bytes <= mostBytes; ) {
      const piece = Buffer.allocUnsafe(pieceBytes);
      const got = readSync(descriptor, piece, 0, pieceBytes, null);
      if (got === 0) return Buffer.concat(pieces);
      pieces.push(piece.subarray(0, got));
      bytes += got;
    }
    return undefined;
  } finally {
    closeSync(descriptor);
  }
}

/** What a killed writer leaves of a capture file, and where a next one goes on. */

import type { FileHandle } from 'node:fs/promises';
import { byteOrderMark, sectionHeaderType } from './pcapng.ts';

const chunkBytes = 1 << 20;
/** Smallest block: type, length, length. */
const leastBlockBytes = 12;

/** Whether the file begins as those that lodge writes. An empty file does. */
export function isCaptureStart(start: Buffer): boolean {
  if (start.length === 0) return true;
  return (
    start.length >= leastBlockBytes &&
    start.readUInt32LE(0) === sectionHeaderType &&
    start.readUInt32LE(8) === byteOrderMark
  );
}

/** Where the last whole block of a file ends, in bytes. The file is one that lodge wrote, up to an unknown point. */
export async function endOfWholeBlocks(file: FileHandle): Promise<number> {
  const { size } = await file.stat();
  const chunk = Buffer.allocUnsafe(Math.min(chunkBytes, size));
  let chunkStart = 0;
  let chunkLength = 0;
  let end = 0;
  while (end + leastBlockBytes <= size) {
    if (end + 8 > chunkStart + chunkLength || end < chunkStart) {
      chunkStart = end;
      chunkLength = (await file.read(chunk, 0, chunk.length, end)).bytesRead;
      if (chunkLength < 8) break;
    }
    const blockBytes = chunk.readUInt32LE(end - chunkStart + 4);
    if (blockBytes < leastBlockBytes || blockBytes % 4 !== 0 || end + blockBytes > size) break;
    end += blockBytes;
  }
  return end;
}

/** The end of the last whole block within the first `bytes` of memory that holds whole blocks. */
export function wholeBlocksWithin(memory: Buffer, bytes: number): number {
  let end = 0;
  while (end + 8 <= bytes) {
    const next = end + memory.readUInt32LE(end + 4);
    if (next > bytes) break;
    end = next;
  }
  return end;
}

/** Reading parts of a file or buffer that may be short, damaged or hostile: never past the end, never unbounded. */

import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { hostIoError } from '../errors.ts';

/** Bytes that can be read in pieces. */
export interface Bytes {
  readonly size: number;
  /** The bytes from `offset`, at most `length` of them: fewer at the end, none outside. */
  read(offset: number, length: number): Buffer;
}

export function bytesOfBuffer(buffer: Buffer): Bytes {
  return {
    size: buffer.length,
    read: (offset, length) =>
      offset < 0 || length <= 0 ? Buffer.alloc(0) : buffer.subarray(offset, offset + length),
  };
}

/**
 * Opens a file for the time of one call.
 * @throws LodgeError `host-io` when it cannot be read
 */
export function withFileBytes<T>(path: string, use: (bytes: Bytes) => T): T {
  const bytes = openFileBytes(path);
  try {
    return use(bytes);
  } finally {
    bytes.close();
  }
}

/**
 * Opens a file; the caller closes it.
 * @throws LodgeError `host-io` when it cannot be read
 */
export function openFileBytes(path: string): Bytes & { close(): void } {
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch (cause) {
    throw hostIoError('reading', path, cause);
  }
  const { size } = fstatSync(descriptor);
  return {
    size,
    read: (offset, length) => readPart(descriptor, size, offset, length),
    close: () => closeSync(descriptor),
  };
}

function readPart(descriptor: number, size: number, offset: number, length: number): Buffer {
  const wanted = Math.min(length, size - offset);
  if (!(offset >= 0) || !(wanted > 0)) return Buffer.alloc(0);
  const buffer = Buffer.alloc(wanted);
  let got = 0;
  while (got < wanted) {
    const count = readSync(descriptor, buffer, got, wanted - got, offset + got);
    if (count === 0) break;
    got += count;
  }
  return buffer.subarray(0, got);
}

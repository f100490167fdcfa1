/**
 * A file of blocks, or a ring of files, that is written behind the back of whoever fills it: blocks go into pooled
 * memory at once, and from there to the disk when it can take them. When it cannot keep up there is no room, and the
 * caller drops and counts; nothing ever waits.
 */

import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { hostIoError, LodgeError } from '../../errors.ts';
import { makeDirectory } from '../../make-directory.ts';
import { type BlockMemory, blockMemory } from './pcapng.ts';
import { endOfWholeBlocks, isCaptureStart, wholeBlocksWithin } from './tail.ts';

/** Memory is handed to the disk in pieces of this size; each holds whole blocks of one file. */
export const pieceBytes = 128 * 1024;
/** What one capture may hold while the disk is away, and what all captures of the process may hold. */
const mostPiecesOfOne = 32;
const mostPiecesOfAll = 1024;
/** Frames are on the disk after this time even if few come. */
const flushAfterMs = 200;

const freePieces: BlockMemory[] = [];
/** A few pieces are kept for the next that needs one; the rest goes back to the system. */
const mostFreePieces = 64;
let piecesOut = 0;

function takePiece(): BlockMemory | undefined {
  if (piecesOut >= mostPiecesOfAll) return undefined;
  piecesOut++;
  return freePieces.pop() ?? blockMemory(pieceBytes);
}

function givePiece(piece: BlockMemory): void {
  piecesOut--;
  if (freePieces.length < mostFreePieces) freePieces.push(piece);
}

export interface BlockFileOptions {
  /** The newest file; older ones of a ring have `.1`, `.2`… before their ending `.pcapng`. */
  path: string;
  /** 1 is one file, which ends when it is full. */
  files: number;
  fileBytes: number;
  /** Blocks that every file begins with. */
  header: Buffer;
  /** Size of what `writeTrailer` writes. */
  trailerBytes: number;
  /** Writes the blocks that a file ends with. @returns the byte after them */
  writeTrailer: (memory: BlockMemory, at: number) => number;
  /** Told of whole blocks, `memory[from … to)`, that could not be written. */
  onLost: (memory: BlockMemory, from: number, to: number) => void;
  /** Called once when the file is full or cannot be written; nothing is written after. */
  onEnd: (error: LodgeError) => void;
}

interface Piece {
  memory: BlockMemory;
  bytes: number;
  /** The file ends with this piece. */
  isLast: boolean;
}

export interface BlockFile {
  /**
   * Memory for a block of `bytes` at its byte {@link BlockFile.at}, to be filled and confirmed by `advance` at once;
   * undefined when there is no room now, or the file has ended.
   */
  reserve(bytes: number): BlockMemory | undefined;
  readonly at: number;
  advance(to: number): void;
  /** Writes all there is, then the trailer. Never throws; what goes wrong is told by `onEnd`. */
  close(): Promise<void>;
}

/** The name of an older file of a ring; 0 is the newest. */
export function ringPath(path: string, age: number): string {
  return age === 0 ? path : path.replace(/\.pcapng$/, `.${age}.pcapng`);
}

/**
 * Opens the file, or goes on at the end of one that is there: what is captured is never overwritten but by a ring.
 * @throws LodgeError `host-io` or `disk-full` when it cannot be opened, or is not a capture of lodge, or is full
 */
export function openBlockFile(options: BlockFileOptions): BlockFile {
  const { path, files, fileBytes, header, trailerBytes, writeTrailer, onLost, onEnd } = options;
  const queue: Piece[] = [];
  let current: BlockMemory | undefined;
  let at = 0;
  let pieces = 0;
  /** Bytes that the current file has or will have. */
  let filled = existingBytes(path);
  let needsHeader = true;
  let needsRotation = false;
  let hasEnded = false;
  let hasFailed = false;
  let pumping: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let file: FileHandle | undefined;
  let position = 0;

  if (filled + header.length + trailerBytes + pieceBytes / 2 > fileBytes && filled > 0) {
    if (files === 1) {
      throw new LodgeError('host-io', 'the capture file is full already', {
        where: path,
        fix: 'move it away, or capture into more or larger files',
      });
    }
    needsRotation = true;
    filled = 0;
  }

  function end(error: LodgeError): void {
    if (hasEnded) return;
    hasEnded = true;
    clearTimeout(timer);
    if (current !== undefined) {
      givePiece(current);
      current = undefined;
    }
    onEnd(error);
  }

  /** Gives the current piece to the disk. */
  function flush(isLast: boolean): void {
    clearTimeout(timer);
    timer = undefined;
    if (current === undefined) return;
    queue.push({ memory: current, bytes: at, isLast });
    current = undefined;
    pumping ??= pump();
  }

  function take(): boolean {
    if (pieces >= mostPiecesOfOne) return false;
    current = takePiece();
    if (current === undefined) return false;
    pieces++;
    at = 0;
    if (needsHeader) {
      header.copy(current.bytes, 0);
      at = header.length;
      filled += at;
      needsHeader = false;
    }
    timer ??= setTimeout(flush, flushAfterMs, false).unref();
    return true;
  }

  function reserve(bytes: number): BlockMemory | undefined {
    if (hasEnded) return undefined;
    // Every file and every piece keeps room for the trailer, so that ending one never needs more memory.
    if (!needsHeader && filled + bytes + trailerBytes > fileBytes) {
      if (current === undefined && !take()) return undefined;
      filled += writeTrailer(current!, at) - at;
      at += trailerBytes;
      flush(true);
      if (files === 1) {
        hasEnded = true;
        void pumping?.then(() =>
          onEnd(
            new LodgeError('host-io', `the capture file has its ${fileBytes} bytes; the capture has ended`, {
              where: path,
              fix: 'capture into more or larger files',
            }),
          ),
        );
        return undefined;
      }
      needsHeader = true;
      filled = 0;
    }
    if (current !== undefined && at + bytes + trailerBytes > pieceBytes) flush(false);
    if (current === undefined && !take()) return undefined;
    return current;
  }

  async function openNewest(): Promise<FileHandle> {
    if (needsRotation) {
      await rm(ringPath(path, files - 1), { force: true });
      for (let age = files - 2; age >= 0; age--) {
        await rename(ringPath(path, age), ringPath(path, age + 1)).catch(ignoreMissing);
      }
    }
    needsRotation = true;
    const opened = await open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    position = await endOfWholeBlocks(opened);
    await opened.truncate(position);
    return opened;
  }

  async function writePiece({ memory, bytes, isLast }: Piece): Promise<void> {
    file ??= await openNewest();
    for (let done = 0; done < bytes; ) {
      const { bytesWritten } = await file.write(memory.bytes, done, bytes - done, position + done);
      done += bytesWritten;
    }
    position += bytes;
    if (!isLast) return;
    await file.close();
    file = undefined;
  }

  async function pump(): Promise<void> {
    // Let the caller finish its block first.
    await undefined;
    for (let piece = queue.shift(); piece !== undefined; piece = queue.shift()) {
      try {
        if (!hasFailed) await writePiece(piece);
      } catch (cause) {
        hasFailed = true;
        await cutBack(piece);
        end(hostIoError('writing a capture', path, cause));
      }
      givePiece(piece.memory);
      pieces--;
    }
    pumping = undefined;
  }

  /** After a write that failed: keeps the whole blocks of what went out, so that the file is a valid one. */
  async function cutBack(piece: Piece): Promise<void> {
    try {
      const size = (await file?.stat())?.size ?? 0;
      const kept = wholeBlocksWithin(piece.memory.bytes, Math.min(piece.bytes, Math.max(0, size - position)));
      await file?.truncate(position + kept);
      position += kept;
      onLost(piece.memory, kept, piece.bytes);
      for (const later of queue) onLost(later.memory, 0, later.bytes);
      if (current !== undefined) onLost(current, 0, at);
      const last = pieceBytes - trailerBytes;
      writeTrailer(piece.memory, last);
      const { bytesWritten } = (await file?.write(piece.memory.bytes, last, trailerBytes, position)) ?? {};
      if (bytesWritten !== undefined && bytesWritten < trailerBytes) await file?.truncate(position);
    } catch {
      // The trailer found no room either: the file ends with its last whole frame.
      await file?.truncate(position).catch(() => {});
    }
    await file?.close().catch(() => {});
    file = undefined;
  }

  return {
    reserve,
    get at() {
      return at;
    },
    advance(to) {
      filled += to - at;
      at = to;
    },
    async close() {
      if (!hasEnded) {
        if (current !== undefined || take()) {
          at = writeTrailer(current!, at);
          flush(true);
        }
        hasEnded = true;
      }
      clearTimeout(timer);
      while (pumping !== undefined) await pumping;
      await file?.close().catch(() => {});
      file = undefined;
    },
  };
}

/** Makes sure that the file can be written, and tells how long it is. */
function existingBytes(path: string): number {
  let fd: number | undefined;
  try {
    makeDirectory(dirname(path));
    fd = openSync(path, 'a+', 0o600);
    const { size } = fstatSync(fd);
    const start = Buffer.alloc(Math.min(12, size));
    readSync(fd, start, 0, start.length, 0);
    if (!isCaptureStart(start)) {
      throw new LodgeError(
        'host-io',
        'there is a file that is not a capture of lodge; it was left as it is',
        {
          where: path,
          fix: 'move it away, or capture into another directory',
        },
      );
    }
    return size;
  } catch (cause) {
    throw cause instanceof LodgeError ? cause : hostIoError('making a capture file', path, cause);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}

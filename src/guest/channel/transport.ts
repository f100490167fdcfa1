/** The byte streams that the agent protocol runs over: a socket, or a socket with a ring for what goes to the guest. */

import { closeSync, openSync, readSync, writevSync } from 'node:fs';
import type { Socket } from 'node:net';
import { hostIoError, LodgeError } from '../../errors.ts';
import { connectWhenThere } from '../unix-socket.ts';

export interface Transport {
  /** Puts bytes on their way, in order. They are queued when the guest is slow; see {@link Transport.drained}. */
  send(bytes: Buffer): void;
  /** Resolves when little enough is queued for more to be sent. */
  drained(): Promise<void>;
  /** The guest has told how far it has read the ring; without a ring it has no meaning. */
  consumed(totalBytes: bigint): void;
  onData(handler: (bytes: Buffer) => void): void;
  /** Called once, when the stream has ended from either side. */
  onClose(handler: () => void): void;
  close(): void;
}

/** Where a guest's channel is, as its plan says. */
export interface ChannelAddress {
  socketPath: string;
  /** The file of the ring, for guests whose serial line is slow to read. */
  ringPath?: string;
}

/** Bytes of the ring itself, behind its first page. */
export const ringBytes = 4 * 1024 * 1024;
export const ringHeaderBytes = 4096;

/** IOV_MAX of Linux. */
const maxWritePieces = 1024;

/**
 * Connects to a guest's channel, trying again until the socket is there.
 * @throws LodgeError `vmm-failed` when it is not there after `timeoutMs`, or the signal's reason
 */
export async function openTransport(
  { socketPath, ringPath }: ChannelAddress,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<Transport> {
  const socket = await connectWhenThere(socketPath, { timeoutMs, signal }).catch((cause: unknown) => {
    signal?.throwIfAborted();
    throw new LodgeError('vmm-failed', 'the channel of the guest cannot be reached', {
      where: socketPath,
      cause,
    });
  });
  const stream = new SocketTransport(socket);
  return ringPath === undefined ? stream : new RingTransport(stream, ringPath);
}

class SocketTransport implements Transport {
  readonly #socket: Socket;
  #isCorked = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    // Whatever breaks the socket also closes it; the close is what is acted on.
    socket.on('error', () => {});
  }

  send(bytes: Buffer): void {
    if (!this.#isCorked) {
      // All that is sent in one go costs one write.
      this.#isCorked = true;
      this.#socket.cork();
      queueMicrotask(() => {
        if (this.#isCorked) this.#socket.uncork();
        this.#isCorked = false;
      });
    }
    this.#socket.write(bytes);
  }

  drained(): Promise<void> {
    if (!this.#socket.writableNeedDrain || this.#socket.destroyed) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        this.#socket.removeListener('drain', done);
        this.#socket.removeListener('close', done);
        resolve();
      };
      this.#socket.once('drain', done);
      this.#socket.once('close', done);
    });
  }

  consumed(): void {}

  onData(handler: (bytes: Buffer) => void): void {
    this.#socket.on('data', handler);
  }

  onClose(handler: () => void): void {
    this.#socket.once('close', handler);
  }

  close(): void {
    if (this.#isCorked) this.#socket.uncork();
    this.#isCorked = false;
    this.#socket.destroy();
  }
}

/**
 * To the guest through a file both map, from the guest through the socket. Plain writes to the file are coherent
 * with the guest's mapping of it, because both go to the same pages of the host's page cache.
 */
class RingTransport implements Transport {
  readonly #line: SocketTransport;
  readonly #file: number;
  #head = 0n;
  #tail = 0n;
  #queue: Buffer[] = [];
  #waiting: (() => void)[] = [];
  #isFlushDue = false;
  #isClosed = false;

  constructor(line: SocketTransport, ringPath: string) {
    this.#line = line;
    try {
      this.#file = openSync(ringPath, 'r+');
      // A host that comes back goes on where the last one stopped: the guest only knows this count.
      this.#head = this.#tail = readHead(this.#file);
    } catch (cause) {
      line.close();
      throw hostIoError('opening the ring of the channel', ringPath, cause);
    }
    line.onClose(() => this.#shut());
  }

  send(bytes: Buffer): void {
    this.#queue.push(bytes);
    if (this.#isFlushDue) return;
    // All that is sent in one go costs one write and one doorbell.
    this.#isFlushDue = true;
    queueMicrotask(() => {
      this.#isFlushDue = false;
      this.#flush();
    });
  }

  drained(): Promise<void> {
    if (this.#queue.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  consumed(totalBytes: bigint): void {
    // A guest cannot have read what was not written; what it claims beyond is ignored.
    if (totalBytes > this.#tail && totalBytes <= this.#head) this.#tail = totalBytes;
    this.#flush();
  }

  onData(handler: (bytes: Buffer) => void): void {
    this.#line.onData(handler);
  }

  onClose(handler: () => void): void {
    this.#line.onClose(handler);
  }

  close(): void {
    this.#flush();
    this.#line.close();
    this.#shut();
  }

  #flush(): void {
    if (this.#isClosed) return;
    let wrote = false;
    while (this.#queue.length > 0) {
      const offset = Number(this.#head % BigInt(ringBytes));
      const room = Math.min(ringBytes - Number(this.#head - this.#tail), ringBytes - offset);
      if (room === 0) break;
      const pieces = this.#takeQueued(room);
      if (!this.#put(pieces, ringHeaderBytes + offset)) return;
      for (const piece of pieces) this.#head += BigInt(piece.length);
      wrote = true;
    }
    if (wrote) {
      const head = Buffer.alloc(8);
      head.writeBigUInt64LE(this.#head);
      if (!this.#put([head], 0)) return;
      this.#line.send(Buffer.from([1]));
    }
    if (this.#queue.length === 0) {
      for (const resolve of this.#waiting.splice(0)) resolve();
    }
  }

  /** Takes what is queued, up to so many bytes and as many pieces as one write takes. */
  #takeQueued(room: number): Buffer[] {
    const pieces: Buffer[] = [];
    let left = room;
    while (this.#queue.length > 0 && left > 0 && pieces.length < maxWritePieces) {
      const first = this.#queue[0]!;
      const part = first.subarray(0, left);
      pieces.push(part);
      left -= part.length;
      if (part.length === first.length) this.#queue.shift();
      else this.#queue[0] = first.subarray(part.length);
    }
    return pieces;
  }

  /** Writes to the file; where that fails, the line is cut, which is what everybody waits for. */
  #put(pieces: Buffer[], position: number): boolean {
    try {
      const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
      if (writevSync(this.#file, pieces, position) === bytes) return true;
    } catch {
      // As with a short write: the file system is full.
    }
    this.#line.close();
    this.#shut();
    return false;
  }

  #shut(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    closeSync(this.#file);
    this.#queue = [];
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

function readHead(file: number): bigint {
  const head = Buffer.alloc(8);
  // A short read leaves zeros, which is what a new ring holds.
  readSync(file, head, 0, 8, 0);
  return head.readBigUInt64LE();
}

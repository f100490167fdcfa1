/**
 * The end of a port that is a guest's unix socket. The guest's program listens; this connects, and connects again
 * whenever the guest was away. Reading goes into one buffer for all sockets, since what was read is dealt with before
 * the next socket is read. Writing collects in slots of the pool: one is being written, one is being filled; when both
 * are full, the guest does not read, and frames for it are dropped.
 */

import { connect, type Socket } from 'node:net';
import type { Fabric } from './fabric.ts';
import { FrameParser } from './frame-parser.ts';
import { FramePool, largestSlotBytes } from './frame-pool.ts';
import type { GuestEnd as GuestEndPlan } from './plan.ts';
import { frameOverheadBytes } from './port.ts';
import type { PortContext, PortEnd, PortSink } from './port-end.ts';
import type { Turns } from './turns.ts';

export const readBufferBytes = 262144;

/** Written at once when so much has collected, not at the end of the turn. */
const writeAtBytes = 131072;
/** Room for what is written at the end of a turn of little traffic. */
const smallestOutBytes = 2048;

const firstRetryMs = 10;
const lastRetryMs = 1000;
/** A connection that held for so long was a good one: the next begins with short waits again. */
const goodConnectionMs = 2000;

export interface SocketIo {
  fabric: Fabric;
  turns: Turns;
  /** In the pool's region, at `fabric.readBufferOffset`. */
  readBuffer: Buffer;
}

export function socketIo(fabric: Fabric, turns: Turns): SocketIo {
  const { bytes } = fabric.pool;
  const begin = bytes.byteOffset + fabric.readBufferOffset;
  return { fabric, turns, readBuffer: Buffer.from(bytes.buffer, begin, readBufferBytes) };
}

export function openGuestEnd(end: GuestEndPlan, context: PortContext, io: SocketIo): PortEnd {
  return new GuestEnd(end.socketPath, context.mtuBytes + frameOverheadBytes, io);
}

class GuestEnd implements PortEnd {
  readonly #path: string;
  readonly #io: SocketIo;
  readonly #pool: FramePool;
  readonly #longestFrameBytes: number;
  #sink: PortSink | undefined;
  #parser: FrameParser | undefined;
  #socket: Socket | undefined;
  #isConnected = false;
  #isPaused = false;
  #isStopped = false;
  #connectedAtMs = 0;
  #retryMs = firstRetryMs;
  #retryTimer: NodeJS.Timeout | undefined;
  /** Being filled; -1 when nothing waits. */
  #outSlot = -1;
  #outBytes = 0;
  #outCapacity = 0;
  /** Being written; -1 when nothing is. */
  #writingSlot = -1;
  #isDirty = false;

  constructor(path: string, longestFrameBytes: number, io: SocketIo) {
    this.#path = path;
    this.#io = io;
    this.#pool = io.fabric.pool;
    this.#longestFrameBytes = longestFrameBytes;
  }

  start(sink: PortSink): void {
    this.#sink = sink;
    this.#parser = new FrameParser(this.#pool, sink, this.#longestFrameBytes);
    this.#connect();
  }

  send(buffer: Buffer, offset: number, length: number): boolean {
    if (!this.#reserve(length + 4)) return false;
    const { bytes, view } = this.#pool;
    const at = this.#pool.offset(this.#outSlot) + this.#outBytes;
    view.setUint32(at, length);
    if (buffer === bytes) bytes.copyWithin(at + 4, offset, offset + length);
    else buffer.copy(bytes, at + 4, offset, offset + length);
    this.#filled(length + 4);
    return true;
  }

  sendRun(buffer: Buffer, offset: number, bytes: number): number {
    const { bytes: region, view } = this.#pool;
    let taken = bytes;
    if (!this.#reserve(bytes)) {
      // As many from the start as there is room for.
      const room = this.#outSlot < 0 ? 0 : this.#outCapacity - this.#outBytes;
      taken = 0;
      while (taken < bytes) {
        const next =
          taken +
          4 +
          (buffer === region ? view.getUint32(offset + taken) : buffer.readUInt32BE(offset + taken));
        if (next > room) break;
        taken = next;
      }
      if (taken === 0) return 0;
    }
    const at = this.#pool.offset(this.#outSlot) + this.#outBytes;
    if (buffer === region) region.copyWithin(at, offset, offset + taken);
    else buffer.copy(region, at, offset, offset + taken);
    this.#filled(taken);
    return taken;
  }

  pause(): void {
    this.#isPaused = true;
    this.#socket?.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#socket?.resume();
  }

  retry(): void {
    if (this.#retryTimer === undefined) return;
    clearTimeout(this.#retryTimer);
    this.#retryMs = firstRetryMs;
    this.#connect();
  }

  waiting(): Buffer {
    if (this.#outSlot < 0) return Buffer.alloc(0);
    const at = this.#pool.offset(this.#outSlot);
    return Buffer.from(this.#pool.bytes.subarray(at, at + this.#outBytes));
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#retryTimer);
    this.#socket?.destroy();
    if (this.#socket === undefined) this.#release();
  }

  /** Writes what has collected, unless something is being written. */
  flush(): void {
    this.#isDirty = false;
    if (this.#outBytes > 0 && this.#writingSlot < 0) this.#write();
  }

  #connect(): void {
    this.#retryTimer = undefined;
    const socket: Socket = connect({
      path: this.#path,
      onread: { buffer: this.#io.readBuffer, callback: (bytes) => this.#received(socket, bytes) },
    });
    this.#socket = socket;
    let reason = 'the guest closed its socket';
    socket.on('error', (error) => {
      reason = error.message;
    });
    socket.on('connect', () => {
      if (this.#isStopped) return;
      this.#isConnected = true;
      this.#connectedAtMs = performance.now();
      if (this.#isPaused) socket.pause();
      this.#sink!.connected();
    });
    socket.on('close', () => this.#closed(reason));
  }

  #received(socket: Socket, bytes: number): boolean {
    if (this.#isStopped || this.#socket !== socket || !this.#isConnected) return false;
    if (this.#parser!.feed(this.#io.fabric.readBufferOffset, bytes)) return true;
    this.#sink!.framingLost(`${this.#path}: a frame of over 65,553 bytes was announced`);
    this.#sink!.dropped('malformed', 1);
    socket.destroy();
    return false;
  }

  /** All that belonged to the connection is gone: half a frame, and what was not yet read by the guest. */
  #closed(reason: string): void {
    this.#socket = undefined;
    this.#release();
    if (this.#isStopped) return;
    if (this.#isConnected) {
      this.#isConnected = false;
      this.#sink!.disconnected(reason);
      if (performance.now() - this.#connectedAtMs > goodConnectionMs) this.#retryMs = firstRetryMs;
    }
    // Spread, so that a thousand guests that are not there yet are not looked for at one moment.
    const waitMs = this.#retryMs * (0.75 + Math.random() / 2);
    this.#retryMs = Math.min(lastRetryMs, this.#retryMs * 2);
    this.#retryTimer = setTimeout(() => this.#connect(), waitMs);
  }

  #release(): void {
    this.#parser?.reset();
    if (this.#outSlot >= 0) this.#pool.release(this.#outSlot);
    if (this.#writingSlot >= 0) this.#pool.release(this.#writingSlot);
    this.#outSlot = -1;
    this.#outBytes = 0;
    this.#writingSlot = -1;
  }

  /** Makes room for so many bytes more. @returns false when there is none; some room may be left */
  #reserve(bytes: number): boolean {
    if (!this.#isConnected || this.#isStopped) return false;
    if (this.#outSlot >= 0 && this.#outBytes + bytes <= this.#outCapacity) return true;
    if (this.#outBytes + bytes > largestSlotBytes) {
      if (this.#writingSlot >= 0) {
        this.#grow(largestSlotBytes);
        return false;
      }
      this.#write();
    }
    return this.#grow(Math.max(smallestOutBytes, this.#outBytes + bytes));
  }

  #grow(bytes: number): boolean {
    const size = FramePool.slotBytesFor(bytes);
    if (size < 0) return false;
    if (this.#outSlot >= 0 && size <= this.#outCapacity) return true;
    // No more than is free, as for directions of links: see Travel.
    const held = this.#writingSlot < 0 ? 0 : this.#pool.slotBytes(this.#writingSlot);
    if (held + size > this.#pool.freeBytes) return false;
    const slot = this.#pool.allocate(size);
    if (slot < 0) return false;
    if (this.#outSlot >= 0) {
      const from = this.#pool.offset(this.#outSlot);
      this.#pool.bytes.copyWithin(this.#pool.offset(slot), from, from + this.#outBytes);
      this.#pool.release(this.#outSlot);
    }
    this.#outSlot = slot;
    this.#outCapacity = size;
    return true;
  }

  #filled(bytes: number): void {
    this.#outBytes += bytes;
    if (this.#outBytes >= writeAtBytes && this.#writingSlot < 0) this.#write();
    else if (!this.#isDirty) {
      this.#isDirty = true;
      this.#io.turns.flushLater(this);
    }
  }

  #write(): void {
    const slot = this.#outSlot;
    const socket = this.#socket!;
    const { bytes } = this.#pool;
    const begin = bytes.byteOffset + this.#pool.offset(slot);
    const piece = Buffer.from(bytes.buffer, begin, this.#outBytes);
    this.#writingSlot = slot;
    this.#outSlot = -1;
    this.#outBytes = 0;
    socket.write(piece, () => this.#written(socket));
  }

  #written(socket: Socket): void {
    // Of one that is closing, the memory is given back when it is closed.
    if (this.#socket !== socket || socket.destroyed) return;
    this.#pool.release(this.#writingSlot);
    this.#writingSlot = -1;
    if (this.#outBytes > 0) this.#write();
  }
}

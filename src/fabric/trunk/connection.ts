/**
 * One side of a trunk's connection, from the moment that TLS stands: takes the other's hello, then carries frames.
 */

import type { TLSSocket } from 'node:tls';
import { readBufferBytes, type SocketIo } from '../guest-end.ts';
import type { PortSink } from '../port-end.ts';
import { SlotWriter } from '../slot-writer.ts';
import {
  aliveMessage,
  encodeHello,
  encodeMark,
  encodeRefused,
  type Hello,
  messageHeaderBytes,
  parseControl,
  TrunkParser,
  trunkVersion,
} from './wire.ts';

/** Each side is heard within three of these, or the connection is given up. */
export const aliveEveryMs = 5000;
const silentTicks = 3;
/** For the first hello of the other side. */
const helloWithinMs = 5000;

export interface Fault {
  reason: string;
  /** It need not try again soon, and is told why. */
  isRefusal: boolean;
}

/** What a connection asks of the trunks it belongs to. */
export interface ConnectionOwner {
  readonly io: SocketIo;
  /** Our own hello to this side, as it is now. */
  hello(connection: Connection): Omit<Hello, 'version'>;
  /** Why the other side is refused, or sent away for now; undefined when it is welcome. Called for each hello. */
  judge(connection: Connection, hello: Hello): Fault | undefined;
  /** The other side's hello came, or came again; its networks are in `hello`. */
  greeted(connection: Connection, hello: Hello): void;
  /** Where frames of a network of this name go; undefined when it is not here. */
  sink(connection: Connection, network: string): PortSink | undefined;
  /** @param isRefusal whether a side refused the other */
  closed(connection: Connection, reason: string, isRefusal: boolean): void;
}

export class Connection {
  readonly #socket: TLSSocket;
  readonly #owner: ConnectionOwner;
  readonly #parser: TrunkParser;
  /** By the other side's ids. */
  #sinks: (PortSink | undefined)[] = [];
  #peer: Hello | undefined;
  #heardMark: string | undefined;
  readonly #writer: SlotWriter;
  #isClosed = false;
  #isPaused = false;
  readonly #timer: NodeJS.Timeout;
  readonly #helloTimer: NodeJS.Timeout;
  #heardBytes = 0;
  #silentFor = 0;
  #reason = 'the other host closed it';
  #isRefusal = false;

  constructor(socket: TLSSocket, owner: ConnectionOwner) {
    this.#socket = socket;
    this.#owner = owner;
    this.#parser = new TrunkParser({
      frame: (id, buffer, offset, length) => this.#frame(id, buffer, offset, length),
      control: (payload) => this.#control(payload),
    });
    this.#writer = new SlotWriter(owner.io, (piece, done) =>
      // Of one that is closing, the memory is given back when it is closed.
      socket.write(piece, () => socket.destroyed || done()),
    );
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#received(chunk));
    socket.on('error', (error) => {
      this.#reason = error.message;
    });
    socket.on('close', () => this.#closed());
    this.#timer = setInterval(() => this.#tick(), aliveEveryMs).unref();
    this.#helloTimer = setTimeout(() => {
      if (this.#peer === undefined) this.refuse('it said no hello');
    }, helloWithinMs).unref();
  }

  /** The other side, once it has said hello. */
  get peer(): Hello | undefined {
    return this.#peer;
  }

  /** The last mark that the other side sent: what it sent before it has been taken in. */
  get heardMark(): string | undefined {
    return this.#heardMark;
  }

  /** Sends a mark after all frames that were taken by `send` so far. */
  sendMark(mark: string): void {
    if (this.#peer === undefined || this.#isClosed) return;
    this.#writer.whenEmpty(() => this.#socket.write(encodeMark(mark)));
  }

  sayHello(): void {
    if (!this.#isClosed) this.#socket.write(encodeHello(this.#owner.hello(this)));
  }

  /** Where frames go is looked up again. */
  sinksChanged(): void {
    this.#sinks = (this.#peer?.networks ?? []).map((name) => this.#owner.sink(this, name));
  }

  /** Closes, and tells the other side why. */
  refuse(reason: string): void {
    if (this.#isClosed || this.#isRefusal) return;
    this.#isRefusal = true;
    this.#reason = reason;
    this.#socket.end(encodeRefused(reason));
    // One that does not read is not waited for.
    setTimeout(() => this.#socket.destroy(), 1000).unref();
  }

  close(reason: string): void {
    if (!this.#isRefusal) this.#reason = reason;
    this.#socket.destroy();
  }

  setPaused(isPaused: boolean): void {
    if (this.#isClosed || isPaused === this.#isPaused) return;
    this.#isPaused = isPaused;
    this.#silentFor = 0;
    if (isPaused) this.#socket.pause();
    else this.#socket.resume();
  }

  /** @param id the network's place in our own last hello @returns false when the frame was dropped */
  send(id: number, buffer: Buffer, offset: number, length: number): boolean {
    if (this.#peer === undefined || this.#isClosed) return false;
    const bytes = messageHeaderBytes + length;
    const at = this.#writer.reserve(bytes);
    if (at < 0) return false;
    const { pool } = this.#owner.io.fabric;
    pool.view.setUint32(at, 2 + length);
    pool.view.setUint16(at + 4, id);
    const begin = at + messageHeaderBytes;
    if (buffer === pool.bytes) buffer.copyWithin(begin, offset, offset + length);
    else buffer.copy(pool.bytes, begin, offset, offset + length);
    this.#writer.filled(bytes);
    return true;
  }

  #received(chunk: Buffer): void {
    this.#heardBytes += chunk.length;
    const { fabric, readBuffer } = this.#owner.io;
    // Into the fabric's own memory, where frames are passed on without another view for each.
    for (let at = 0; at < chunk.length; at += readBufferBytes) {
      if (this.#isClosed || this.#isRefusal) return;
      const bytes = chunk.copy(readBuffer, 0, at, Math.min(chunk.length, at + readBufferBytes));
      if (!this.#parser.feed(fabric.pool.bytes, fabric.readBufferOffset, bytes)) {
        this.refuse('what it sends is no trunk');
        return;
      }
    }
  }

  #frame(id: number, buffer: Buffer, offset: number, length: number): void {
    // Frames of networks that are not here, or not yet, have nowhere to go.
    this.#sinks[id]?.frame(buffer, offset, length);
  }

  #control(payload: Buffer): boolean {
    const control = parseControl(payload);
    switch (control?.kind) {
      case 'hello': {
        const fault = this.#owner.judge(this, control.hello);
        if (fault !== undefined) {
          if (fault.isRefusal) this.refuse(fault.reason);
          else this.close(fault.reason);
          return true;
        }
        this.#peer = control.hello;
        this.#owner.greeted(this, control.hello);
        this.sinksChanged();
        return true;
      }
      case 'other-version':
        this.refuse(`it speaks version ${control.version} of trunks, not ${trunkVersion}`);
        return true;
      case 'refused':
        this.#isRefusal = true;
        this.#reason = `the other host refused us: ${control.reason}`;
        this.#socket.destroy();
        return true;
      case 'alive':
        return this.#peer !== undefined;
      case 'mark':
        this.#heardMark = control.mark;
        return this.#peer !== undefined;
      default:
        return false;
    }
  }

  #tick(): void {
    if (this.#peer === undefined) return;
    this.#socket.write(aliveMessage);
    this.#silentFor = this.#heardBytes > 0 || this.#isPaused ? 0 : this.#silentFor + 1;
    this.#heardBytes = 0;
    if (this.#silentFor >= silentTicks) this.close('nothing was heard of the other host');
  }

  #closed(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#timer);
    clearTimeout(this.#helloTimer);
    this.#writer.release();
    this.#sinks = [];
    this.#owner.closed(this, this.#reason, this.#isRefusal);
  }
}

/** The byte streams that the agent protocol runs over: a socket, or rings in memory with a socket for their bells. */

import type { Socket } from 'node:net';
import { LodgeError } from '../../errors.ts';
import { connectWhenThere } from '../unix-socket.ts';
import { RingTransport } from './rings.ts';

export interface Transport {
  /** Puts bytes on their way, in order. They are queued when the guest is slow; see {@link Transport.drained}. */
  send(bytes: Buffer): void;
  /** Resolves when little enough is queued for more to be sent. */
  drained(): Promise<void>;
  onData(handler: (bytes: Buffer) => void): void;
  /** Called once, when the stream has ended from either side; with a fault when the guest broke the rules of its rings. */
  onClose(handler: (fault?: string) => void): void;
  close(): void;
}

/** Where a guest's channel is, as its plan says. */
export interface ChannelAddress {
  socketPath: string;
  /** The file of the rings, for guests whose serial line is slow. */
  ringPath?: string;
}

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

  onData(handler: (bytes: Buffer) => void): void {
    this.#socket.on('data', handler);
  }

  onClose(handler: () => void): void {
    this.#socket.once('close', () => handler());
  }

  close(): void {
    if (this.#isCorked) this.#socket.uncork();
    this.#isCorked = false;
    this.#socket.destroy();
  }
}

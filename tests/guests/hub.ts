/** The least that joins guests: a hub that passes every frame on to all others, for tests. The real one is a fabric. */

import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const lengthBytes = 4;

export class Hub {
  readonly #sockets = new Map<string, Socket>();
  /** Frames that came in, by socket path. */
  readonly frames = new Map<string, number>();
  readonly closed = new Set<string>();

  /** Connects to the socket of an interface; tries again until somebody listens. */
  async join(path: string): Promise<void> {
    for (;;) {
      try {
        const socket = await open(path);
        this.#sockets.set(path, socket);
        this.closed.delete(path);
        let unread: Buffer = Buffer.alloc(0);
        socket.on('error', () => {});
        socket.on('close', () => this.closed.add(path));
        socket.on('data', (bytes: Buffer) => {
          unread = this.#pass(path, unread.length === 0 ? bytes : Buffer.concat([unread, bytes]));
        });
        return;
      } catch {
        await delay(50);
      }
    }
  }

  /** Sends bytes as they are: frames or garbage. */
  send(path: string, bytes: Buffer): void {
    this.#sockets.get(path)!.write(bytes);
  }

  leave(path: string): void {
    this.#sockets.get(path)?.destroy();
    this.#sockets.delete(path);
  }

  close(): void {
    for (const path of [...this.#sockets.keys()]) this.leave(path);
  }

  /** Passes whole frames on. @returns what is left */
  #pass(from: string, bytes: Buffer): Buffer {
    let at = 0;
    while (bytes.length - at >= lengthBytes) {
      const end = at + lengthBytes + bytes.readUInt32BE(at);
      if (end > bytes.length) break;
      this.frames.set(from, (this.frames.get(from) ?? 0) + 1);
      for (const [path, socket] of this.#sockets) {
        if (path !== from && !socket.destroyed) socket.write(bytes.subarray(at, end));
      }
      at = end;
    }
    return bytes.subarray(at);
  }
}

function open(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.removeListener('error', reject);
      resolve(socket);
    });
  });
}

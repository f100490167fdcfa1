/** A command in a guest, through the process that owns the guest; behaves as a session of the channel does. */

import type { WebSocket } from 'ws';
import { LodgeError } from '../errors.ts';
import type { CommandEnd, OutputHandler, OutputStream } from '../guest/channel/session.ts';
import type { CommandRequest } from '../guest/named-user.ts';
import { type ExecClientMessage, type ExecServerMessage, errorOfBody } from './api.ts';

/** What may wait in the socket before input is held back. */
const bufferLimitBytes = 1024 * 1024;

/** Largest piece of input in one message. */
const pieceBytes = 262_144;

interface Waiter<T> {
  promise: Promise<T>;
  resolve: (value: T) => void;
  reject: (error: LodgeError) => void;
}

function waiter<T>(): Waiter<T> {
  const made = {} as Waiter<T>;
  made.promise = new Promise((resolve, reject) => {
    made.resolve = resolve;
    made.reject = reject;
  });
  return made;
}

export class RemoteSession {
  readonly started: Promise<number>;
  readonly end: Promise<CommandEnd>;
  readonly #socket: WebSocket;
  readonly #opened: Promise<void>;
  readonly #handlers: Partial<Record<OutputStream, OutputHandler>> = {};
  #handling: Promise<void> = Promise.resolve();
  readonly #settle: {
    started: (pid: number) => void;
    ended: (end: CommandEnd) => void;
    failed: (error: LodgeError) => void;
  };

  constructor(socket: WebSocket, request: CommandRequest) {
    this.#socket = socket;
    const started = waiter<number>();
    const end = waiter<CommandEnd>();
    this.started = started.promise;
    this.end = end.promise;
    this.#settle = {
      started: started.resolve,
      ended: end.resolve,
      failed: (error) => {
        started.reject(error);
        end.reject(error);
      },
    };
    this.started.catch(() => {});
    this.end.catch(() => {});
    let wasOpen = false;
    this.#opened = new Promise((resolve) => socket.once('open', () => resolve()));
    void this.#opened.then(() => {
      wasOpen = true;
      this.#tell({ type: 'exec', request });
    });
    socket.on('message', (data: Buffer, isBinary) => {
      if (isBinary) this.#takeOutput(data);
      else this.#takeMessage(JSON.parse(data.toString()) as ExecServerMessage);
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      const error = wasOpen
        ? new LodgeError('channel-broken', 'the process that owns the guest went away', {
            fix: 'lodge ps shows whether the guest still runs',
          })
        : new LodgeError('channel-broken', 'the process that owns the guest takes no commands for it', {
            fix: 'a guest that a study measures takes none; of any other, lodge ps shows whether it still runs',
          });
      // What came before is shown first; after an end that was told, this changes nothing.
      void this.#handling.then(() => this.#settle.failed(error));
    });
  }

  /** Handlers must be there before the first turn of the event loop ends. */
  output(stream: OutputStream, handler: OutputHandler): void {
    this.#handlers[stream] = handler;
  }

  async write(bytes: Buffer): Promise<void> {
    // Until the command has started, nobody there could take it.
    await this.started.catch(() => {});
    for (let at = 0; at < bytes.length; at += pieceBytes) {
      const piece = bytes.subarray(at, at + pieceBytes);
      const message = Buffer.allocUnsafe(piece.length + 1);
      message[0] = 0;
      piece.copy(message, 1);
      if (this.#socket.readyState !== this.#socket.OPEN) return;
      if (this.#socket.bufferedAmount < bufferLimitBytes) this.#socket.send(message, () => {});
      else await new Promise<void>((resolve) => this.#socket.send(message, () => resolve()));
    }
  }

  endInput(): void {
    void this.started.then(
      () => this.#tell({ type: 'end-input' }),
      () => {},
    );
  }

  signal(signal: number): void {
    this.#tell({ type: 'signal', signal });
  }

  resize(rows: number, columns: number): void {
    this.#tell({ type: 'resize', rows, columns });
  }

  close(): void {
    this.#socket.close();
  }

  #tell(message: ExecClientMessage): void {
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.send(JSON.stringify(message), () => {});
  }

  #takeMessage(message: ExecServerMessage): void {
    if (message.type === 'started') this.#settle.started(message.pid);
    else {
      void this.#handling.then(() => {
        if (message.type === 'error') this.#settle.failed(errorOfBody(message.error));
        else this.#settle.ended({ code: message.code, signal: message.signal });
        this.#socket.close();
      });
    }
  }

  #takeOutput(data: Buffer): void {
    const handler = this.#handlers[data[0] === 1 ? 'stdout' : 'stderr'];
    const handled = handler?.(data.subarray(1));
    if (handled === undefined) return;
    this.#socket.pause();
    this.#handling = Promise.all([this.#handling, handled]).then(() => this.#socket.resume());
  }
}

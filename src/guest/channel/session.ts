/** One command in a guest, seen from the host: its streams with flow control, its signals, its end. */

import { getSystemErrorMap } from 'node:util';
import { LodgeError } from '../../errors.ts';
import { fixWith, key } from '../../fix.ts';
import {
  encodeFrame,
  encodeHeader,
  encodeU32,
  type Frame,
  frameTypes,
  maxPayloadBytes,
  stdinCreditBytes,
} from './frames.ts';

export type OutputStream = 'stdout' | 'stderr';

/** How a command ended: by itself with a code, or by a signal. */
export interface CommandEnd {
  code: number;
  /** Signal number, 0 when it ended by itself. */
  signal: number;
}

/** Takes what a command writes. While the promise it gives is pending, that much credit is held back from the guest. */
export type OutputHandler = (bytes: Buffer) => void | Promise<void>;

const streamNumbers = { stdout: 1, stderr: 2 } as const;

/** Output that may be on its way from the guest, for each stream. */
const outputCreditBytes = 2 * 1024 * 1024;

/** Credit is given back in pieces of this size, so that small writes do not each cost a frame. */
const creditPieceBytes = 512 * 1024;

/** What of a request the text of a refusal names. */
const refusedParts: Readonly<Record<string, string>> = { cwd: 'working directory ', user: 'its ' };

/** The reason of an errno in words, as strerror(3) gives it. */
function reasonOf(errno: number): string {
  return getSystemErrorMap().get(-errno)?.[1] ?? `errno ${errno}`;
}

const refusalStages = ['', 'session', 'request', 'user', 'cwd', 'program'] as const;

/** errno values of Linux that decide which error a person sees. */
const ENOENT = 2;

export class Session {
  readonly id: number;
  readonly outputCreditBytes = outputCreditBytes;
  /** Resolves with the process id in the guest. @throws LodgeError `command-not-found`, `command-not-executable` */
  readonly started: Promise<number>;
  /** Resolves when the command has ended and all its output was handled. */
  readonly end: Promise<CommandEnd>;

  readonly #send: (bytes: Buffer) => void;
  readonly #drained: () => Promise<void>;
  readonly #handlers: Partial<Record<OutputStream, OutputHandler>> = {};
  readonly #backlog: Record<OutputStream, Buffer[]> = { stdout: [], stderr: [] };
  readonly #unreturned: Record<OutputStream, number> = { stdout: 0, stderr: 0 };
  readonly #allowed: Record<OutputStream, number> = { stdout: outputCreditBytes, stderr: outputCreditBytes };
  /** Output being handled: the end waits for it. */
  #handling: Promise<void> = Promise.resolve();
  #inputCredit = 0;
  #inputWaiting: (() => void)[] = [];
  #isStarted = false;
  #isOver = false;
  #startedWaiter!: { resolve: (pid: number) => void; reject: (error: LodgeError) => void };
  #endWaiter!: { resolve: (end: CommandEnd) => void; reject: (error: LodgeError) => void };

  constructor(id: number, send: (bytes: Buffer) => void, drained: () => Promise<void>) {
    this.id = id;
    this.#send = send;
    this.#drained = drained;
    this.started = new Promise((resolve, reject) => {
      this.#startedWaiter = { resolve, reject };
    });
    this.end = new Promise((resolve, reject) => {
      this.#endWaiter = { resolve, reject };
    });
    // Both tell the same failure; whoever awaits only one of them must not see the other as unhandled.
    this.started.catch(() => {});
    this.end.catch(() => {});
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Says who takes a stream; what came before is handed over first. Until then the guest is held back by credit. */
  output(stream: OutputStream, handler: OutputHandler): void {
    this.#handlers[stream] = handler;
    for (const bytes of this.#backlog[stream].splice(0)) this.#handle(stream, handler, bytes);
  }

  /** Sends standard input; resolves when there is room for more. After the command's end it does nothing. */
  async write(bytes: Buffer): Promise<void> {
    let rest = bytes;
    while (rest.length > 0 && !this.#isOver) {
      while (rest.length > 0 && this.#inputCredit > 0) {
        const part = rest.subarray(0, Math.min(rest.length, this.#inputCredit, maxPayloadBytes));
        this.#inputCredit -= part.length;
        this.#send(encodeHeader(frameTypes.DATA, 0, this.id, part.length));
        this.#send(part);
        rest = rest.subarray(part.length);
      }
      await this.#drained();
      if (rest.length > 0 && this.#inputCredit === 0 && !this.#isOver) {
        await new Promise<void>((resolve) => this.#inputWaiting.push(resolve));
      }
    }
  }

  /** Ends standard input. */
  endInput(): void {
    this.#tell(frameTypes.EOF);
  }

  /** Sends a signal, by number, to the command's process group. */
  signal(signalNumber: number): void {
    this.#tell(frameTypes.SIGNAL, encodeU32(signalNumber));
  }

  resize(rows: number, columns: number): void {
    this.#tell(frameTypes.RESIZE, encodeU32((rows & 0xffff) | (columns << 16)));
  }

  /** Says that nobody is interested any more: the command is hung up on, and killed if it stays. */
  close(): void {
    this.#tell(frameTypes.CLOSE);
  }

  /** The channel is gone: everything that waits is told so. */
  fail(error: LodgeError): void {
    if (this.#isOver) return;
    this.#finish();
    this.#startedWaiter.reject(error);
    this.#endWaiter.reject(error);
  }

  /** Takes a frame of this session; gives what is wrong with it, if anything is. */
  take(frame: Frame): string | undefined {
    switch (frame.type) {
      case frameTypes.STARTED:
        return this.#takeStarted(frame.payload);
      case frameTypes.REFUSED:
        return this.#takeRefused(frame.payload);
      case frameTypes.DATA:
        return this.#takeData(frame.stream, frame.payload);
      case frameTypes.EOF:
        return undefined;
      case frameTypes.CREDIT:
        return this.#takeCredit(frame.payload);
      case frameTypes.EXIT:
        return this.#takeExit(frame.payload);
      default:
        return `a frame of type ${frame.type} for a session`;
    }
  }

  #tell(type: number, payload?: Buffer): void {
    if (!this.#isOver) this.#send(encodeFrame(type, this.id, payload));
  }

  #takeStarted(payload: Buffer): string | undefined {
    if (payload.length !== 4 || this.#isStarted) return 'a STARTED frame that does not fit';
    this.#isStarted = true;
    this.#addInputCredit(stdinCreditBytes);
    this.#startedWaiter.resolve(payload.readUInt32LE());
    return undefined;
  }

  #takeRefused(payload: Buffer): string | undefined {
    if (payload.length < 8 || this.#isStarted) return 'a REFUSED frame that does not fit';
    const errno = payload.readUInt32LE(0);
    const stage = refusalStages[payload.readUInt32LE(4)] ?? '';
    const text = payload.subarray(8, 1024).toString().split('\0')[0]!;
    const notFound = stage === 'program' && errno === ENOENT;
    this.fail(
      new LodgeError(
        notFound ? 'command-not-found' : 'command-not-executable',
        `the guest could not start the command: ${refusedParts[stage] ?? ''}'${text}': ${reasonOf(errno)}`,
        stage === 'cwd'
          ? {
              fix: fixWith`share the directory (${key('volumes')}), or choose one with --cwd that the user may enter`,
            }
          : stage === 'user'
            ? {
                fix: 'in namespaces that an ordinary user has made, nobody but that user exists: leave out --user',
              }
            : {},
      ),
    );
    return undefined;
  }

  #takeData(stream: number, payload: Buffer): string | undefined {
    const name = stream === 1 ? 'stdout' : stream === 2 ? 'stderr' : undefined;
    if (name === undefined) return `data of stream ${stream}`;
    this.#allowed[name] -= payload.length;
    if (this.#allowed[name] < 0) return 'more output than it had credit for';
    const handler = this.#handlers[name];
    if (handler === undefined) this.#backlog[name].push(payload);
    else this.#handle(name, handler, payload);
    return undefined;
  }

  #takeCredit(payload: Buffer): string | undefined {
    if (payload.length !== 4) return 'a CREDIT frame that does not fit';
    this.#addInputCredit(payload.readUInt32LE());
    return undefined;
  }

  #takeExit(payload: Buffer): string | undefined {
    if (payload.length !== 8 || !this.#isStarted) return 'an EXIT frame that does not fit';
    const end = { code: payload.readUInt32LE(0) & 0xff, signal: payload.readUInt32LE(4) & 0x7f };
    this.#finish();
    void this.#handling.then(() => this.#endWaiter.resolve(end));
    return undefined;
  }

  #finish(): void {
    this.#isOver = true;
    for (const resolve of this.#inputWaiting.splice(0)) resolve();
  }

  #addInputCredit(bytes: number): void {
    this.#inputCredit += bytes;
    for (const resolve of this.#inputWaiting.splice(0)) resolve();
  }

  #handle(stream: OutputStream, handler: OutputHandler, bytes: Buffer): void {
    const handled = handler(bytes);
    if (handled === undefined) {
      this.#returnCredit(stream, bytes.length);
      return;
    }
    this.#handling = Promise.all([
      this.#handling,
      handled.then(() => this.#returnCredit(stream, bytes.length)),
    ]).then(() => {});
  }

  #returnCredit(stream: OutputStream, bytes: number): void {
    this.#unreturned[stream] += bytes;
    if (this.#unreturned[stream] < creditPieceBytes || this.#isOver) return;
    this.#allowed[stream] += this.#unreturned[stream];
    this.#send(
      encodeFrame(frameTypes.CREDIT, this.id, encodeU32(this.#unreturned[stream]), streamNumbers[stream]),
    );
    this.#unreturned[stream] = 0;
  }
}

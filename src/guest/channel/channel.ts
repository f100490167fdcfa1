/** The host's end of the agent protocol (docs/reference/agent-protocol.md): sessions over one byte stream to a guest. */

import { randomBytes } from 'node:crypto';
import { LodgeError } from '../../errors.ts';
import { formatTime } from '../../units.ts';
import {
  type ExecRequest,
  encodeExec,
  encodeFrame,
  encodeSync,
  encodeTexts,
  encodeU32,
  type Frame,
  FrameParser,
  frameTypes,
  headerBytes,
  maxPayloadBytes,
  protocolVersion,
  requireFits,
} from './frames.ts';
import { Session } from './session.ts';
import { type ChannelAddress, openTransport, type Transport } from './transport.ts';

/** One thing to do in the guest: a verb of the protocol and its arguments. */
export type Step = readonly [verb: string, ...args: string[]];

export type HaltMode = 'power-off' | 'reboot' | 'sync';

const haltModes: Record<HaltMode, number> = { 'power-off': 0, reboot: 1, sync: 2 };

/** How long to wait before another SYNC: the guest may have been at the wrong point to take the last one. */
const syncRetryMs = 1000;

export interface ConnectOptions {
  /** Gives up early; the promise is then rejected with the signal's reason. */
  signal?: AbortSignal;
  /** Nobody has spoken to this guest before: there is no broken-off frame to end. */
  isFresh?: boolean;
}

interface Waiter<T> {
  resolve: (value: T) => void;
  reject: (error: LodgeError) => void;
}

export class Channel {
  /** As `uname -r` prints it in the guest. */
  readonly kernelRelease: string;
  readonly #link: Link;

  private constructor(link: Link, kernelRelease: string) {
    this.#link = link;
    this.kernelRelease = kernelRelease;
  }

  /**
   * Connects to the agent of a guest and waits until it answers.
   * @param timeoutMs for the socket and the answer together
   * @throws LodgeError `boot-timeout` when there is no answer in time, `channel-broken` when the answer is no agent's
   */
  static async connect(
    address: ChannelAddress,
    timeoutMs: number,
    { signal, isFresh = false }: ConnectOptions = {},
  ): Promise<Channel> {
    const deadline = performance.now() + timeoutMs;
    const transport = await openTransport(address, timeoutMs, signal);
    const link = new Link(transport, isFresh);
    const abandon = (): void => link.fail(signal!.reason);
    signal?.addEventListener('abort', abandon);
    if (signal?.aborted === true) abandon();
    try {
      return new Channel(link, await link.synchronise(Math.max(0, deadline - performance.now()), timeoutMs));
    } catch (error) {
      link.close();
      throw error;
    } finally {
      signal?.removeEventListener('abort', abandon);
    }
  }

  /** Resolves with what ended the channel; never rejects. */
  get ended(): Promise<LodgeError> {
    return this.#link.ended;
  }

  /** Has steps done in the guest, in order. @throws LodgeError `guest-setup` naming the step that failed */
  async configure(steps: readonly Step[]): Promise<void> {
    for (const batch of batches(steps)) {
      const { errno, index, why } = await this.#have(batch.payload);
      if (errno === 0) continue;
      const step = batch.steps[index];
      throw new LodgeError(
        'guest-setup',
        `the guest could not do '${step?.join(' ')}': ${why} (errno ${errno})`,
        {
          fix: 'see `lodge logs` or the boot log below; a missing file system or module in the guest kernel is the usual cause',
        },
      );
    }
  }

  /** Has one step done that may fail. @returns its errno, 0 when it succeeded */
  async attempt(step: Step): Promise<number> {
    return (await this.#have(encodeTexts(step))).errno;
  }

  async #have(steps: Buffer): Promise<{ errno: number; index: number; why: string }> {
    const answer = await this.#link.ask(frameTypes.CONFIGURE, steps, frameTypes.CONFIGURED);
    if (answer.length < 8) throw this.#link.broken('a CONFIGURED frame that is too short');
    return { errno: answer.readUInt32LE(0), index: answer.readUInt32LE(4), why: textOf(answer.subarray(8)) };
  }

  /** Starts a command; its output flows when the session's `output` is called. */
  exec(request: ExecRequest): Session {
    return this.#link.openSession(request);
  }

  /** Reads a small file of the guest (at most 262,140 bytes of it), as for /proc and /sys; undefined when it cannot. */
  read(path: string): Promise<Buffer | undefined> {
    return this.#readFrom(path, 0);
  }

  /**
   * Reads a file of the guest whole; undefined when it cannot, or when the file has more than `limitBytes`, which
   * bounds what a guest can make us hold.
   */
  async readWhole(path: string, limitBytes = 2 ** 24): Promise<Buffer | undefined> {
    const pieces: Buffer[] = [];
    for (let bytes = 0; bytes <= limitBytes; ) {
      const piece = await this.#readFrom(path, bytes);
      if (piece === undefined) return undefined;
      pieces.push(piece);
      bytes += piece.length;
      if (piece.length < maxPayloadBytes - 4) return Buffer.concat(pieces);
    }
    return undefined;
  }

  async #readFrom(path: string, offset: number): Promise<Buffer | undefined> {
    const texts = offset === 0 ? [path] : [path, String(offset)];
    const answer = await this.#link.ask(frameTypes.READ, encodeTexts(texts), frameTypes.CONTENT);
    if (answer.length < 4) throw this.#link.broken('a CONTENT frame that is too short');
    return answer.readUInt32LE(0) === 0 ? answer.subarray(4) : undefined;
  }

  /**
   * Ends all processes of the guest and writes everything out; resolves when that is done.
   * @param graceMs between SIGTERM and SIGKILL for what runs in the guest
   */
  async halt(mode: HaltMode, graceMs: number): Promise<void> {
    await this.#link.ask(frameTypes.HALT, encodeU32(haltModes[mode], graceMs), frameTypes.HALTED);
  }

  close(): void {
    this.#link.close();
  }
}

/** Cuts steps into CONFIGURE payloads that fit a frame. */
function batches(steps: readonly Step[]): { steps: Step[]; payload: Buffer }[] {
  const made: { steps: Step[]; payload: Buffer }[] = [];
  for (const step of steps) {
    const bytes = encodeTexts(step);
    if (bytes.length > maxPayloadBytes) {
      throw new LodgeError(
        'guest-setup',
        `a set-up step is longer than a frame: ${step.join(' ').slice(0, 80)}…`,
      );
    }
    const last = made.at(-1);
    if (last !== undefined && last.payload.length + bytes.length <= maxPayloadBytes) {
      last.steps.push(step);
      last.payload = Buffer.concat([last.payload, bytes]);
    } else {
      made.push({ steps: [step], payload: bytes });
    }
  }
  return made;
}

/** The text of an untrusted payload, fit to be shown: no control characters, bounded. */
function textOf(bytes: Buffer): string {
  const text = bytes.subarray(0, 1024).toString();
  // biome-ignore lint/suspicious/noControlCharactersInRegex: taking them out is the point
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ').trim();
}

/** The connection itself: who waits for which frame, and what happens when it breaks. */
class Link {
  readonly ended: Promise<LodgeError>;
  readonly #transport: Transport;
  readonly #parser: FrameParser;
  readonly #sessions = new Map<number, Session>();
  /** Who waits for an answer: in order of asking, for each kind of answer. */
  readonly #waiters = new Map<number, Waiter<Buffer>[]>();
  #nextSession = 1;
  #nonce = randomBytes(8);
  #hello: Waiter<string> | undefined;
  #isSynchronised = false;
  #failure: LodgeError | undefined;
  #end!: (error: LodgeError) => void;

  /** What is sent until the guest answers. */
  readonly #greeting: Buffer;

  constructor(transport: Transport, isFresh: boolean) {
    this.#transport = transport;
    const sync = encodeSync(this.#nonce);
    // Zeros end whatever frame an earlier host has broken off.
    this.#greeting = isFresh ? sync : Buffer.concat([Buffer.alloc(headerBytes + maxPayloadBytes), sync]);
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.#parser = new FrameParser(
      (frame) => this.#take(frame),
      (reason) => this.broken(reason),
    );
    // Until the HELLO, only that counts: what an earlier host left half-read may be cut anywhere.
    this.#parser.passesOverGarbage = true;
    transport.onData((bytes) => this.#parser.push(bytes));
    transport.onClose((fault) => {
      if (fault === undefined) this.fail(new LodgeError('channel-broken', 'the guest closed its channel'));
      else this.broken(fault);
    });
  }

  /** @param limitMs what is left of `timeoutMs` */
  synchronise(limitMs: number, timeoutMs: number): Promise<string> {
    return new Promise((resolve, reject) => {
      const send = (): void => this.#transport.send(this.#greeting);
      const again = setInterval(send, syncRetryMs);
      const limit = setTimeout(() => {
        this.fail(
          new LodgeError(
            'boot-timeout',
            `the agent in the guest did not answer within ${formatTime(timeoutMs)}`,
          ),
        );
      }, limitMs);
      const settled = (): void => {
        clearInterval(again);
        clearTimeout(limit);
      };
      this.#hello = {
        resolve: (release) => {
          settled();
          resolve(release);
        },
        reject: (error) => {
          settled();
          reject(error);
        },
      };
      if (this.#failure !== undefined) this.#hello.reject(this.#failure);
      else send();
    });
  }

  ask(type: number, payload: Buffer, answer: number): Promise<Buffer> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      const waiters = this.#waiters.get(answer) ?? [];
      this.#waiters.set(answer, waiters);
      waiters.push({ resolve, reject });
      this.#transport.send(encodeFrame(type, 0, payload));
    });
  }

  openSession(request: ExecRequest): Session {
    const id = this.#nextSession++;
    const session = new Session(
      id,
      (bytes) => this.#transport.send(bytes),
      () => this.#transport.drained(),
    );
    if (this.#failure !== undefined) {
      session.fail(this.#failure);
      return session;
    }
    try {
      requireFits(request);
    } catch (error) {
      session.fail(error as LodgeError);
      return session;
    }
    const payload = encodeExec(request, session.outputCreditBytes);
    this.#sessions.set(id, session);
    this.#transport.send(encodeFrame(frameTypes.EXEC, id, payload));
    return session;
  }

  broken(reason: string): LodgeError {
    const error = new LodgeError('channel-broken', `the guest sent what no agent sends: ${reason}`, {
      fix: 'the agent in the guest was tampered with or its memory is damaged: start the guest again',
    });
    this.fail(error);
    return error;
  }

  fail(error: LodgeError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#transport.close();
    this.#hello?.reject(error);
    for (const waiters of this.#waiters.values()) for (const waiter of waiters) waiter.reject(error);
    for (const session of this.#sessions.values()) session.fail(error);
    this.#sessions.clear();
    this.#waiters.clear();
    this.#end(error);
  }

  close(): void {
    this.fail(new LodgeError('channel-broken', 'the channel was closed by this host'));
  }

  #take(frame: Frame): void {
    if (!this.#isSynchronised) {
      if (frame.type === frameTypes.HELLO) this.#takeHello(frame.payload);
      return;
    }
    const waiter = this.#waiters.get(frame.type)?.shift();
    if (waiter !== undefined) {
      waiter.resolve(frame.payload);
      return;
    }
    // An earlier SYNC was answered after all.
    if (frame.type === frameTypes.HELLO || frame.type === frameTypes.PONG) return;
    const session = this.#sessions.get(frame.session);
    if (session === undefined) {
      this.broken(`a frame of type ${frame.type} for session ${frame.session}, which is not open`);
      return;
    }
    const fault = session.take(frame);
    if (fault !== undefined) this.broken(fault);
    else if (session.isOver) this.#sessions.delete(frame.session);
  }

  #takeHello(payload: Buffer): void {
    if (payload.length < 12 || !payload.subarray(0, 8).equals(this.#nonce)) return;
    const version = payload.readUInt32LE(8);
    if (version !== protocolVersion) {
      this.fail(
        new LodgeError(
          'channel-broken',
          `the agent in the guest speaks protocol ${version}, not ${protocolVersion}`,
          {
            fix: 'boot the guest with an initramfs of this lodge',
          },
        ),
      );
      return;
    }
    this.#isSynchronised = true;
    this.#parser.passesOverGarbage = false;
    this.#hello?.resolve(textOf(payload.subarray(12)));
  }
}

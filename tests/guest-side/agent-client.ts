import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import {
  type ExecRequest,
  encodeExec,
  encodeFrame,
  encodeHeader,
  encodeSync,
  encodeTexts,
  encodeU32,
  type Frame,
  FrameParser,
  frameTypes,
  headerBytes,
  maxPayloadBytes,
  stdinCreditBytes,
} from '../../src/guest/channel/frames.ts';

/** What this process is, so that the agent may become it with or without root. */
export function request(argv: readonly string[], more: Partial<ExecRequest> = {}): ExecRequest {
  return {
    argv,
    env: { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' },
    cwd: '/',
    uid: process.getuid!(),
    gid: process.getgid!(),
    groups: process.getgroups!(),
    umask: 0o022,
    ...more,
  };
}

/** A copy of a frame: its payload stays. */
function keep(frame: Frame): Frame {
  return { ...frame, payload: Buffer.from(frame.payload) };
}

/** A condition that is looked at again whenever something has come in. */
class Waiters {
  readonly #waiters = new Set<() => void>();

  changed(): void {
    for (const waiter of [...this.#waiters]) waiter();
  }

  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!condition()) return;
        this.#waiters.delete(look);
        resolve();
      };
      this.#waiters.add(look);
      look();
    });
  }
}

export interface End {
  code: number;
  signal: number;
}

export interface SessionOptions {
  creditBytes?: number;
  /** Told instead of kept. */
  onOutput?: (stream: number, bytes: Buffer) => void;
  /** Give no credit back. */
  holdsCredit?: boolean;
}

/** A command, as the host sees it. Checks the agent's side of the credit. */
export class Session {
  readonly id: number;
  readonly #agent: AgentClient;
  readonly #options: SessionOptions;
  readonly #output: Buffer[][] = [[], [], []];
  readonly #credit: [number, number, number];
  readonly ended = [false, false, false];
  pid: number | undefined;
  refused: { error: number; stage: number; text: string } | undefined;
  end: End | undefined;

  constructor(agent: AgentClient, id: number, options: SessionOptions) {
    this.#agent = agent;
    this.id = id;
    this.#options = options;
    const credit = options.creditBytes ?? 1 << 20;
    this.#credit = [0, credit, credit];
  }

  text(stream: number): string {
    return Buffer.concat(this.#output[stream]!).toString();
  }

  get stdinCreditBytes(): number {
    return this.#credit[0];
  }

  until(condition: () => boolean): Promise<void> {
    return this.#agent.waiters.until(condition);
  }

  async exit(): Promise<End> {
    await this.until(() => this.end !== undefined || this.refused !== undefined);
    if (this.end === undefined) throw new Error(`refused: ${JSON.stringify(this.refused)}`);
    return this.end;
  }

  async refusal(): Promise<{ error: number; stage: number; text: string }> {
    await this.until(() => this.refused !== undefined || this.end !== undefined);
    if (this.refused === undefined) throw new Error('the command was not refused');
    return this.refused;
  }

  /** Sends all of it, as the agent gives credit. */
  async write(bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      await this.until(() => this.#credit[0] > 0 || this.end !== undefined);
      if (this.end !== undefined) return;
      const piece = bytes.subarray(at, at + Math.min(maxPayloadBytes, this.#credit[0]));
      this.#credit[0] -= piece.length;
      await this.#agent.send(encodeHeader(frameTypes.DATA, 0, this.id, piece.length), piece);
      at += piece.length;
    }
  }

  frame(type: number, payload?: Buffer, stream = 0): Promise<void> {
    return this.#agent.send(encodeFrame(type, this.id, payload, stream));
  }

  eof(): Promise<void> {
    return this.frame(frameTypes.EOF);
  }

  signal(number: number): Promise<void> {
    return this.frame(frameTypes.SIGNAL, encodeU32(number));
  }

  give(stream: number, bytes: number): Promise<void> {
    this.#credit[stream]! += bytes;
    return this.frame(frameTypes.CREDIT, encodeU32(bytes), stream);
  }

  take({ type, stream, payload }: Frame): void {
    if (this.end !== undefined) throw new Error(`frame ${type} after EXIT`);
    if (type === frameTypes.STARTED) {
      this.pid = payload.readUInt32LE(0);
      this.#credit[0] = stdinCreditBytes;
    } else if (type === frameTypes.REFUSED) {
      const text = payload.subarray(8, -1).toString();
      this.refused = { error: payload.readUInt32LE(0), stage: payload.readUInt32LE(4), text };
    } else if (type === frameTypes.CREDIT) {
      this.#credit[0] += payload.readUInt32LE(0);
      if (this.#credit[0] > stdinCreditBytes) throw new Error('more credit than there ever was');
    } else if (type === frameTypes.EXIT) {
      this.end = { code: payload.readUInt32LE(0), signal: payload.readUInt32LE(4) };
    } else if (type === frameTypes.EOF) {
      this.ended[stream] = true;
    } else if (type === frameTypes.DATA) {
      if (this.pid === undefined || this.ended[stream]) throw new Error('DATA outside of its stream');
      this.#credit[stream]! -= payload.length;
      if (this.#credit[stream]! < 0) throw new Error('DATA beyond its credit');
      if (this.#options.onOutput === undefined) this.#output[stream]!.push(Buffer.from(payload));
      else this.#options.onOutput(stream, payload);
      if (!this.#options.holdsCredit) void this.give(stream, payload.length);
    } else {
      throw new Error(`frame ${type} for a session`);
    }
  }
}

const sessionTypes: readonly number[] = [
  frameTypes.STARTED,
  frameTypes.REFUSED,
  frameTypes.DATA,
  frameTypes.EOF,
  frameTypes.CREDIT,
  frameTypes.EXIT,
];

export interface AgentOptions {
  cwd?: string;
  uid?: number;
  env?: NodeJS.ProcessEnv;
  /** What else than an agent that speaks on its file 3 is started. */
  argv?: string[];
  /** Instead of a plain stream: where the rings are, and how bytes go to the agent and come from it. */
  ring?: { path: string; write: (bytes: Buffer) => void; take: () => Buffer };
}

/** The host's side of the protocol, as plain as can be, on an agent that runs here. */
export class AgentClient {
  readonly process: ChildProcess;
  readonly #socket: Socket;
  #parser = this.#newParser();
  readonly #ring: AgentOptions['ring'];
  readonly waiters = new Waiters();
  /** Frames of no session, in their order. */
  readonly frames: Frame[] = [];
  readonly #sessions = new Map<number, Session>();
  #lastId = 0;
  #drained: Promise<void> | undefined;
  nonce = Buffer.alloc(0);
  /** The nonce of a HELLO that has not come yet, and what has come instead. */
  #expects: Buffer | undefined;
  #unread = Buffer.alloc(0);
  /** The first thing the agent did wrong. */
  fault: Error | undefined;
  messages = '';

  constructor(binary: string, options: AgentOptions = {}) {
    const ring = options.ring;
    const argv =
      options.argv ?? (ring === undefined ? ['--fd', '3'] : ['--uml-fd', '3', '--ring', ring.path]);
    this.#ring = ring;
    this.process = spawn(binary, argv, {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
      ...(options.cwd !== undefined && { cwd: options.cwd }),
      ...(options.uid !== undefined && { uid: options.uid, gid: options.uid }),
      ...(options.env !== undefined && { env: options.env }),
    });
    this.process.stderr!.on('data', (bytes: Buffer) => {
      this.messages += bytes.toString();
    });
    this.process.on('exit', () => this.waiters.changed());
    this.#socket = this.process.stdio[3] as Socket;
    this.#socket.on('error', () => {});
    this.#socket.on('data', (heard: Buffer) => {
      const bytes = ring === undefined ? heard : this.#takeRing();
      const fromHello = this.#expects === undefined ? bytes : this.#findHello(bytes);
      if (fromHello !== undefined) this.#parser.push(fromHello);
      this.waiters.changed();
    });
  }

  #takeRing(): Buffer {
    let bytes: Buffer = Buffer.alloc(0);
    try {
      bytes = this.#ring!.take();
    } catch (error) {
      this.fault ??= error as Error;
    }
    this.#socket.write('!');
    return bytes;
  }

  #newParser(): FrameParser {
    return new FrameParser(
      (frame) => {
        try {
          this.#take(frame);
        } catch (error) {
          this.fault ??= error as Error;
        }
      },
      (reason) => {
        this.fault ??= new Error(reason);
      },
    );
  }

  /** What comes before a HELLO may be cut off anywhere. */
  #findHello(bytes: Buffer): Buffer | undefined {
    this.#unread = Buffer.concat([this.#unread, bytes]);
    const at = this.#unread.indexOf(this.#expects!);
    if (at < headerBytes) return undefined;
    this.#expects = undefined;
    this.#parser = this.#newParser();
    this.#sessions.clear();
    return this.#unread.subarray(at - headerBytes);
  }

  #take(frame: Frame): void {
    if (!sessionTypes.includes(frame.type)) {
      this.frames.push(keep(frame));
      return;
    }
    const session = this.#sessions.get(frame.session);
    if (session === undefined) throw new Error(`frame ${frame.type} of no session`);
    session.take(frame);
  }

  /** Resolves when it may take more. */
  async send(...pieces: Buffer[]): Promise<void> {
    if (this.#ring !== undefined) {
      for (const piece of pieces) this.#ring.write(piece);
      this.#socket.write('!');
      return;
    }
    this.#socket.cork();
    let takesMore = true;
    for (const piece of pieces) takesMore = this.#socket.write(piece);
    this.#socket.uncork();
    if (takesMore) return;
    this.#drained ??= once(this.#socket, 'drain')
      .catch(() => {}) // the agent ended; whoever waits for an answer hears of it
      .then(() => {
        this.#drained = undefined;
      });
    await this.#drained;
  }

  /** The next frame of a type that has no session. */
  async next(type: number): Promise<Frame> {
    const index = (): number => this.frames.findIndex((frame) => frame.type === type);
    await this.waiters.until(
      () => index() >= 0 || this.process.exitCode !== null || this.fault !== undefined,
    );
    if (index() < 0) throw this.fault ?? new Error(`the agent ended: ${this.messages}`);
    return this.frames.splice(index(), 1)[0]!;
  }

  /** @param before bytes that come just before the SYNC */
  async sync(before: Buffer = Buffer.alloc(0)): Promise<Frame> {
    this.nonce = randomBytes(8);
    this.#expects = this.nonce;
    this.#unread = Buffer.alloc(0);
    await this.send(before, encodeSync(this.nonce));
    return this.next(frameTypes.HELLO);
  }

  exec(what: ExecRequest, options: SessionOptions = {}): Session {
    return this.execBytes(encodeExec(what, options.creditBytes ?? 1 << 20), options);
  }

  /** @param payload of the EXEC frame, right or wrong */
  execBytes(payload: Buffer, options: SessionOptions = {}): Session {
    const session = new Session(this, ++this.#lastId, options);
    this.#sessions.set(session.id, session);
    void this.send(encodeFrame(frameTypes.EXEC, session.id, payload));
    return session;
  }

  async configure(...steps: string[][]): Promise<{ error: number; index: number; text: string }> {
    await this.send(encodeFrame(frameTypes.CONFIGURE, 0, encodeTexts(steps.flat())));
    const { payload } = await this.next(frameTypes.CONFIGURED);
    return {
      error: payload.readUInt32LE(0),
      index: payload.readUInt32LE(4),
      text: payload.subarray(8, -1).toString(),
    };
  }

  async ping(text = 'ping'): Promise<string> {
    await this.send(encodeFrame(frameTypes.PING, 0, Buffer.from(text)));
    return (await this.next(frameTypes.PONG)).payload.toString();
  }

  /** Stops reading from the agent, as a host that hangs. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  async exited(): Promise<number | null> {
    await this.waiters.until(() => this.process.exitCode !== null || this.process.signalCode !== null);
    return this.process.exitCode;
  }

  /** Lets go of the agent, which ends then, with all it has started. */
  async stop(): Promise<void> {
    this.#socket.destroy();
    await this.exited();
    if (this.fault !== undefined) throw this.fault;
  }
}

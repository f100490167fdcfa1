/**
 * QEMU's monitor: QMP over a unix socket. Format: docs/interop/qmp-spec.rst of QEMU; the commands are those of
 * QEMU 7.2's QMP reference. One JSON value a line; the answers carry the id of their command.
 */

import type { Socket } from 'node:net';
import { LodgeError } from '../../../errors.ts';
import { connectWhenThere } from '../../unix-socket.ts';

/** The commands that lodge uses, each with its arguments and its answer, as far as they are used. */
export interface QmpCommands {
  qmp_capabilities: { arguments: undefined; answer: object };
  'query-status': { arguments: undefined; answer: RunState };
  'query-version': { arguments: undefined; answer: QemuVersion };
  'query-cpus-fast': { arguments: undefined; answer: CpuInfo[] };
  'query-hotpluggable-cpus': { arguments: undefined; answer: HotpluggableCpu[] };
  'query-memdev': { arguments: undefined; answer: MemoryBackendInfo[] };
  'query-memory-size-summary': { arguments: undefined; answer: { 'base-memory': number } };
  'query-kvm': { arguments: undefined; answer: { enabled: boolean; present: boolean } };
  'query-balloon': { arguments: undefined; answer: { actual: number } };
  'query-migrate': { arguments: undefined; answer: MigrationInfo };
  'migrate-set-capabilities': {
    arguments: { capabilities: { capability: string; state: boolean }[] };
    answer: object;
  };
  'migrate-set-parameters': { arguments: Record<string, number | string | boolean>; answer: object };
  migrate: { arguments: { uri: string }; answer: object };
  'migrate-incoming': { arguments: { uri: string }; answer: object };
  migrate_cancel: { arguments: undefined; answer: object };
  cont: { arguments: undefined; answer: object };
  stop: { arguments: undefined; answer: object };
  quit: { arguments: undefined; answer: object };
  system_powerdown: { arguments: undefined; answer: object };
  system_reset: { arguments: undefined; answer: object };
  'inject-nmi': { arguments: undefined; answer: object };
  'dump-guest-memory': { arguments: { paging: boolean; protocol: string; format?: string }; answer: object };
  'human-monitor-command': { arguments: { 'command-line': string }; answer: string };
}

export interface RunState {
  /** `prelaunch`, `running`, `paused`, `guest-panicked`, `shutdown`, `inmigrate`, `postmigrate`, … */
  status: string;
  running: boolean;
}

export interface QemuVersion {
  qemu: { major: number; minor: number; micro: number };
  package: string;
}

export interface CpuInfo {
  'cpu-index': number;
  'qom-path': string;
  /** Thread of the host that runs it, in QEMU's own PID namespace. */
  'thread-id': number;
  props?: CpuProperties;
}

export interface CpuProperties {
  'node-id'?: number;
  'socket-id'?: number;
  'die-id'?: number;
  'core-id'?: number;
  'thread-id'?: number;
}

export interface HotpluggableCpu {
  type: string;
  'vcpus-count': number;
  props: CpuProperties;
  'qom-path'?: string;
}

export interface MemoryBackendInfo {
  id?: string;
  size: number;
  prealloc: boolean;
  share: boolean;
  'host-nodes': number[];
  policy: 'default' | 'preferred' | 'bind' | 'interleave';
}

export interface MigrationInfo {
  status?: string;
  'error-desc'?: string;
  'total-time'?: number;
  downtime?: number;
  ram?: { transferred: number; remaining: number; total: number };
}

/** What QEMU tells unasked: `SHUTDOWN`, `GUEST_PANICKED`, `STOP`, `RESUME`, `RESET`, `MIGRATION`, … */
export interface QmpEvent {
  event: string;
  data: Record<string, unknown>;
  /** Host's clock, in milliseconds since 1970. */
  timestampMs: number;
}

export type QmpCommand = keyof QmpCommands;

type ArgumentsOf<Name extends QmpCommand> = QmpCommands[Name]['arguments'] extends undefined
  ? [args?: undefined, options?: ExecuteOptions]
  : [args: QmpCommands[Name]['arguments'], options?: ExecuteOptions];

export interface ExecuteOptions {
  timeoutMs?: number;
}

export interface ConnectOptions {
  /** For the socket to be there and the monitor to greet. */
  timeoutMs?: number;
  /** Gives up at once when aborted: nobody waits for the monitor of a QEMU that has ended. */
  signal?: AbortSignal;
}

const defaultTimeoutMs = 30_000;

/** The longest line taken. A guest that took over its QEMU must not be able to fill the host's memory as well. */
const maxLineBytes = 16 * 1024 * 1024;

interface Waiter {
  command: string;
  resolve: (answer: unknown) => void;
  reject: (error: LodgeError) => void;
  timer: NodeJS.Timeout;
}

/** A connection to one QEMU's monitor. */
export class Qmp {
  readonly #socket: Socket;
  readonly #path: string;
  readonly #waiting = new Map<number, Waiter>();
  readonly #handlers = new Map<string, Set<(event: QmpEvent) => void>>();
  readonly #closed: Promise<void>;
  #resolveClosed!: () => void;
  #nextId = 1;
  #pieces: Buffer[] = [];
  #pieceBytes = 0;
  #greeting: Waiter | undefined;
  #isClosed = false;
  #closeReason = 'QEMU closed its monitor';

  /** @param socket connected; the greeting has not been read from it */
  private constructor(socket: Socket, path: string) {
    this.#socket = socket;
    this.#path = path;
    this.#closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    // Whatever breaks the socket also closes it; the close is what is acted on.
    socket.on('error', () => {});
    socket.on('data', (piece: Buffer) => this.#take(piece));
    socket.once('close', () => this.#shut());
  }

  /**
   * Connects to a monitor, trying again until its socket is there, and makes it ready for commands.
   * @throws LodgeError `vmm-failed` when that takes longer than `timeoutMs`, is aborted, or it is no monitor
   */
  static async connect(
    path: string,
    { timeoutMs = defaultTimeoutMs, signal }: ConnectOptions = {},
  ): Promise<Qmp> {
    const deadlineMs = performance.now() + timeoutMs;
    const socket = await connectWhenThere(path, { timeoutMs, signal }).catch((cause: unknown) => {
      throw new LodgeError('vmm-failed', "QEMU's monitor cannot be reached", { where: path, cause });
    });
    const qmp = new Qmp(socket, path);
    await qmp.#negotiate(Math.max(1, deadlineMs - performance.now()));
    return qmp;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Resolves when the connection has ended, from either side. */
  get closed(): Promise<void> {
    return this.#closed;
  }

  /**
   * Runs a command and gives its answer.
   * @throws LodgeError `vmm-failed` when QEMU refuses it, does not answer in time, or is gone
   */
  execute<Name extends QmpCommand>(
    command: Name,
    ...[args, options]: ArgumentsOf<Name>
  ): Promise<QmpCommands[Name]['answer']> {
    const id = this.#nextId++;
    const line = JSON.stringify({ execute: command, ...(args === undefined ? {} : { arguments: args }), id });
    const answer = this.#wait(command, options?.timeoutMs ?? defaultTimeoutMs, (waiter) => {
      this.#waiting.set(id, waiter);
      return () => this.#waiting.delete(id);
    });
    if (!this.#isClosed) this.#socket.write(`${line}\n`);
    // The answer's form is QEMU's word: what lodge relies on is checked where it is used.
    return answer as Promise<QmpCommands[Name]['answer']>;
  }

  /** Has a handler called for each event of a name; gives what takes the handler away again. */
  on(name: string, handler: (event: QmpEvent) => void): () => void {
    const handlers = this.#handlers.get(name) ?? new Set();
    this.#handlers.set(name, handlers);
    handlers.add(handler);
    return () => handlers.delete(handler);
  }

  /** Ends the connection; QEMU goes on. What waits for an answer is told that there will be none. */
  close(): void {
    this.#closeReason = 'the connection to the monitor was closed';
    this.#socket.destroy();
    this.#shut();
  }

  async #negotiate(timeoutMs: number): Promise<void> {
    try {
      await this.#wait('greeting', timeoutMs, (waiter) => {
        this.#greeting = waiter;
        return () => {
          this.#greeting = undefined;
        };
      });
      await this.execute('qmp_capabilities', undefined, { timeoutMs });
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #wait(command: string, timeoutMs: number, register: (waiter: Waiter) => () => void): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) {
        reject(this.#gone(command));
        return;
      }
      const timer = setTimeout(() => {
        forget();
        reject(this.#failure(`QEMU did not answer '${command}' within ${timeoutMs} ms`));
      }, timeoutMs);
      const settled = (): void => {
        clearTimeout(timer);
        forget();
      };
      const forget = register({
        command,
        timer,
        resolve: (answer) => {
          settled();
          resolve(answer);
        },
        reject: (error) => {
          settled();
          reject(error);
        },
      });
    });
  }

  #take(piece: Buffer): void {
    let start = 0;
    for (let end = piece.indexOf(0x0a); end >= 0 && !this.#isClosed; end = piece.indexOf(0x0a, start)) {
      this.#pieces.push(piece.subarray(start, end));
      const line = Buffer.concat(this.#pieces);
      this.#pieces = [];
      this.#pieceBytes = 0;
      start = end + 1;
      if (line.length > maxLineBytes) this.#break(`a line of ${line.length} bytes`);
      else this.#takeLine(line);
    }
    const rest = piece.subarray(start);
    if (this.#isClosed || rest.length === 0) return;
    this.#pieces.push(rest);
    this.#pieceBytes += rest.length;
    if (this.#pieceBytes > maxLineBytes) this.#break(`a line of over ${maxLineBytes} bytes`);
  }

  #takeLine(line: Buffer): void {
    const text = line.toString().trim();
    if (text === '') return;
    let message: unknown;
    try {
      message = JSON.parse(text);
    } catch {
      this.#break(`'${text.slice(0, 80)}', which is not JSON`);
      return;
    }
    if (!isObject(message)) this.#break(`'${text.slice(0, 80)}', which is no message`);
    else if ('QMP' in message) this.#greeting?.resolve(undefined);
    else if (typeof message.event === 'string') this.#takeEvent(message.event, message);
    else this.#takeAnswer(message);
  }

  #takeEvent(name: string, message: Record<string, unknown>): void {
    const { seconds, microseconds } = isObject(message.timestamp) ? message.timestamp : {};
    const event = {
      event: name,
      data: isObject(message.data) ? message.data : {},
      timestampMs: Number(seconds ?? 0) * 1000 + Number(microseconds ?? 0) / 1000,
    };
    for (const handler of [...(this.#handlers.get(name) ?? [])]) handler(event);
  }

  #takeAnswer(message: Record<string, unknown>): void {
    const waiter = typeof message.id === 'number' ? this.#waiting.get(message.id) : undefined;
    // The answer to a command that nobody waits for any more.
    if (waiter === undefined) return;
    if (!isObject(message.error)) {
      waiter.resolve(message.return);
      return;
    }
    const { class: errorClass, desc } = message.error;
    waiter.reject(this.#failure(`QEMU refused '${waiter.command}': ${String(desc)} (${String(errorClass)})`));
  }

  #break(what: string): void {
    this.#closeReason = `the monitor sent ${what}`;
    this.#socket.destroy();
    this.#shut();
  }

  #shut(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#pieces = [];
    const waiting = [...this.#waiting.values(), ...(this.#greeting === undefined ? [] : [this.#greeting])];
    for (const waiter of waiting) waiter.reject(this.#gone(waiter.command));
    this.#resolveClosed();
  }

  #gone(command: string): LodgeError {
    return this.#failure(`'${command}' has no answer: ${this.#closeReason}`);
  }

  #failure(message: string): LodgeError {
    return new LodgeError('vmm-failed', message, { where: this.#path });
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Joins a command in a guest to this process's standard streams and signals. */

import { createReadStream, fstatSync, write } from 'node:fs';
import type { Readable } from 'node:stream';
import type { ReadStream } from 'node:tty';
import { describeError, exitCodes, LodgeError } from '../errors.ts';
import { signalNumbers } from '../process.ts';
import { leaveLostTerminals, makeRaw, threeTimes } from './raw-terminal.ts';
import { isInFront } from './terminal-group.ts';

/** What a command in a guest looks like from here; a session of the channel, or one through a host agent. */
export interface RemoteCommand {
  output(stream: 'stdout' | 'stderr', handler: (bytes: Buffer) => void | Promise<void>): void;
  write(bytes: Buffer): Promise<void>;
  endInput(): void;
  signal(signalNumber: number): void;
  resize(rows: number, columns: number): void;
  close(): void;
  readonly started: Promise<number>;
  readonly end: Promise<{ code: number; signal: number }>;
}

/** Signals that mean something to a command and are passed on to it. */
const forwarded = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGCONT'] as const;

/**
 * Those that a person sends by a key, and again when nothing comes of it. The others say nothing of impatience: Slurm
 * sends SIGTERM more than once at a time limit and then waits for the command, as a terminal that goes away does SIGHUP.
 */
export const keySignals: readonly string[] = ['SIGINT', 'SIGQUIT'];

const SIGPIPE = 13;

const filePieceBytes = 512 * 1024;

/** How often a job in the background looks whether it has been brought to the front. */
const frontEveryMs = 250;

export interface StdioOptions {
  /** The command has a terminal, and so have we. */
  terminal: boolean;
  /** Called when a person wants out: at the second of `keySignals`, or by a key of the terminal. */
  onImpatience: (signal: NodeJS.Signals) => void;
}

/**
 * Joins streams and signals until the command has ended.
 * @returns its exit code, 128 + n for signal n
 */
export async function joinCommand(command: RemoteCommand, options: StdioOptions): Promise<number> {
  let isLost = false;
  const onLoss = (): void => {
    isLost = true;
  };
  command.output('stdout', outputTo(1, command, onLoss));
  command.output('stderr', outputTo(2, command, onLoss));
  const signals = forwardSignals(command, options);
  leaveLostTerminals();
  const input = options.terminal
    ? joinTerminal(command, () => options.onImpatience('SIGINT'))
    : process.stdin.isTTY
      ? joinTyped(command, process.stdin)
      : joinInput(command, onLoss);
  try {
    await command.started;
    const end = await command.end;
    const code = end.signal > 0 ? 128 + end.signal : end.code;
    return code === 0 && isLost ? exitCodes.refused : code;
  } finally {
    input.stop();
    signals.stop();
  }
}

interface Joint {
  stop(): void;
}

/**
 * Writes to a descriptor with the write itself awaited: that is what holds the guest back when the reader is slow,
 * whether it is a pipe, a file or a terminal, and leaves the descriptor as it was found.
 */
function outputTo(fd: number, command: RemoteCommand, onLoss: () => void): (bytes: Buffer) => Promise<void> {
  let last: Promise<void> = Promise.resolve();
  let isGone = false;
  return (bytes) => {
    last = last.then(async () => {
      if (isGone) return;
      try {
        await writeAll(fd, bytes);
      } catch (error) {
        isGone = true;
        // Nobody reads any more. A local command would have got the same signal.
        if ((error as NodeJS.ErrnoException).code === 'EPIPE') command.signal(SIGPIPE);
        else {
          complain(fd === 1 ? 'standard output' : 'standard error', 'not all could be written', error);
          onLoss();
        }
      }
    });
    return last;
  };
}

/** Says that what went through a stream is not whole; the command goes on. */
function complain(where: string, what: string, cause: unknown): void {
  const error = new LodgeError('host-io', `${what}: ${(cause as Error).message}`, {
    where,
    fix: where === 'standard input' ? 'see where it comes from' : 'see where it goes to: is there space?',
    cause,
  });
  process.stderr.write(`${describeError(error)}\n`);
}

/** How long to wait before a descriptor that somebody made non-blocking is tried again. */
const againMs = 2;

function writeAll(fd: number, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const step = (rest: Buffer): void => {
      write(fd, rest, (error, written) => {
        if (error?.code === 'EAGAIN') setTimeout(() => step(rest), againMs);
        else if (error) reject(error);
        else if (written < rest.length) step(rest.subarray(written));
        else resolve();
      });
    };
    step(bytes);
  });
}

/** Standard input; from a file in pieces so large that reading it costs little beside sending it. */
function openInput(): Readable {
  const stats = fstatSync(0);
  // Of a directory, Node.js would make an empty input.
  if (!stats.isFile() && !stats.isDirectory()) return process.stdin;
  return createReadStream('', { fd: 0, autoClose: false, highWaterMark: filePieceBytes });
}

function joinInput(command: RemoteCommand, onLoss: () => void): Joint {
  const stdin = openInput();
  let isStopped = false;
  stdin.once('error', (error) => {
    if (isStopped) return;
    complain('standard input', 'it could not be read', error);
    onLoss();
  });
  const pump = async (): Promise<void> => {
    for await (const piece of stdin) {
      await command.write(piece as Buffer);
      if (isStopped) return;
    }
    command.endInput();
  };
  pump().catch(() => command.endInput());
  return {
    stop: () => {
      isStopped = true;
      stdin.destroy();
    },
  };
}

/** Lines typed at a terminal that stays as it is. In the background nothing is read: the shell would stop this job. */
function joinTyped(command: RemoteCommand, stdin: ReadStream): Joint {
  let timer: NodeJS.Timeout | undefined;
  const look = (): void => {
    clearTimeout(timer);
    if (isInFront()) {
      stdin.resume();
      return;
    }
    stdin.pause();
    timer = setTimeout(look, frontEveryMs).unref();
  };
  stdin.pause();
  stdin.on('data', (piece: Buffer) => void command.write(piece).catch(() => {}));
  stdin.once('end', () => command.endInput());
  // A terminal that is gone has no more to say; SIGHUP tells the command.
  stdin.once('error', () => command.endInput());
  // After Ctrl-Z, `bg` brings it.
  process.on('SIGCONT', look);
  look();
  return {
    stop: () => {
      clearTimeout(timer);
      process.removeListener('SIGCONT', look);
      stdin.destroy();
    },
  };
}

/** @param onEscape called when a person wants out: Ctrl-] three times at once */
function joinTerminal(command: RemoteCommand, onEscape: () => void): Joint {
  const stdin = process.stdin as ReadStream;
  const { stdout } = process;
  const onResize = (): void => command.resize(stdout.rows, stdout.columns);
  const isEscape = threeTimes();
  const onData = (piece: Buffer): void => {
    if (isEscape(piece)) onEscape();
    else void command.write(piece);
  };
  makeRaw(stdin);
  // Only the leader of a session is told that its terminal is gone; anybody else finds nothing to read.
  let isStopped = false;
  const onLost = (): void => {
    if (!isStopped) command.signal(signalNumbers.SIGHUP!);
  };
  stdin.on('error', onLost);
  stdin.once('end', onLost);
  stdin.on('data', onData);
  stdout.on('resize', onResize);
  return {
    stop: () => {
      isStopped = true;
      stdin.setRawMode(false);
      stdin.removeListener('data', onData);
      stdin.destroy();
      stdout.removeListener('resize', onResize);
    },
  };
}

function forwardSignals(command: RemoteCommand, options: StdioOptions): Joint {
  let requests = 0;
  const handlers = forwarded.map((name) => {
    const handler = (): void => {
      if (keySignals.includes(name) && ++requests > 1) options.onImpatience(name);
      else command.signal(signalNumbers[name]!);
    };
    process.on(name, handler);
    return [name, handler] as const;
  });
  return {
    stop: () => {
      for (const [name, handler] of handlers) process.removeListener(name, handler);
    },
  };
}

/** The size of our terminal, where we have one on both sides. */
export function ourTerminal(): { rows: number; columns: number } | undefined {
  if (!process.stdin.isTTY || !process.stdout.isTTY) return undefined;
  return { rows: process.stdout.rows, columns: process.stdout.columns };
}

/** Ends this process by a signal as if it had never been handled, so that callers see what really happened. */
export function dieOf(signal: NodeJS.Signals): never {
  // Node.js would do it at an exit, and not for a signal.
  if (process.stdin.isTTY && process.stdin.isRaw) process.stdin.setRawMode(false);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
  // Reached only if the signal is blocked.
  process.exit(128 + (signalNumbers[signal] ?? 0));
}

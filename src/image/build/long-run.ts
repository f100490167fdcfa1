/** A program that works for long: with a log on the disk, a stream for its input, and a way to end it. */

import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { missingProgram, signalNumbers } from '../../process.ts';

export interface LongRun {
  argv: readonly string[];
  cwd?: string;
  /** Added to lodge's own environment. */
  env?: Record<string, string>;
  /** For its standard input, which is empty without it. */
  input?: Readable | string;
  /** Where its output goes. Without it, the end of standard error is kept in memory. */
  logPath?: string;
  /** Kills it, with all it started. */
  signal?: AbortSignal | undefined;
}

export interface LongRunEnd {
  /** Exit code, or 128 + n for signal n as a shell reports it. */
  code: number;
  /** The end of standard error, unless it went to a file. */
  stderr: string;
}

const mostErrorBytes = 64 * 1024;

/**
 * Runs a program to its end.
 * @throws LodgeError `missing-program`; whatever an input stream fails with; the reason of the signal
 */
export async function runLong(run: LongRun): Promise<LongRunEnd> {
  const { input, signal } = run;
  signal?.throwIfAborted();
  const { child, end } = start(run);
  const kill = (): void => {
    child.kill('SIGKILL');
  };
  signal?.addEventListener('abort', kill);
  let inputFault: unknown;
  if (typeof input === 'string') child.stdin!.end(input);
  else if (input !== undefined) {
    await pipeline(input, child.stdin!).catch((cause: NodeJS.ErrnoException) => {
      // A program that ended early says why by its exit code and its words.
      if (cause.code === 'EPIPE' || cause.code === 'ERR_STREAM_PREMATURE_CLOSE') return;
      inputFault = cause;
      kill();
    });
  }
  try {
    const ended = await end;
    signal?.throwIfAborted();
    if (inputFault !== undefined) throw inputFault;
    return ended;
  } finally {
    signal?.removeEventListener('abort', kill);
  }
}

function start(run: LongRun) {
  const [program = '', ...args] = run.argv;
  const log = run.logPath === undefined ? undefined : openSync(run.logPath, 'a');
  try {
    const child = spawn(program, args, {
      cwd: run.cwd,
      env: { ...process.env, ...run.env },
      stdio: [run.input === undefined ? 'ignore' : 'pipe', log ?? 'ignore', log ?? 'pipe'],
    });
    let stderr = '';
    child.stderr?.setEncoding('utf8').on('data', (piece: string) => {
      stderr = (stderr + piece).slice(-mostErrorBytes);
    });
    child.stdin?.on('error', () => {}); // told by the exit code
    const end = new Promise<LongRunEnd>((resolve, reject) => {
      child.on('error', (cause: NodeJS.ErrnoException) => {
        child.stdin?.destroy();
        reject(cause.code === 'ENOENT' ? missingProgram(program, cause) : cause);
      });
      child.on('close', (code, by) => {
        resolve({ code: code ?? 128 + (signalNumbers[by ?? ''] ?? 0), stderr });
      });
    });
    end.catch(() => {}); // it may fail while the input is still being written
    return { child, end };
  } finally {
    if (log !== undefined) closeSync(log);
  }
}

/** Runs of a study on the host itself. */

import { spawn } from 'node:child_process';
import { LodgeError } from '../errors.ts';
import { missingProgram, signalNumbers } from '../process.ts';
import { formatTime } from '../units.ts';
import { pageBytes } from './design.ts';
import {
  baseEnvironment,
  type EnvironmentResult,
  type EnvironmentRun,
  outputLimitBytes,
} from './environment.ts';
import { withPool } from './pools.ts';

/** Between SIGTERM and SIGKILL for a benchmark that has to end. */
const graceMs = 2000;

/** @throws LodgeError `benchmark-output` when it hangs, `missing-program`, `placement-unmet` without pages */
export async function runNative(run: EnvironmentRun): Promise<EnvironmentResult> {
  const { own } = run.cell.pages;
  const act = (): Promise<EnvironmentResult> => runHere(run);
  if (own !== '2M' && own !== '1G') return act();
  return withPool(
    { pageBytes: pageBytes[own], bytes: run.workBytes, what: 'the benchmark', nodes: run.poolNodes },
    act,
  );
}

/** Runs a command on this host, as it stands. */
export function runHere({
  command,
  pinnedTo,
  timeLimitMs,
  signal,
}: EnvironmentRun): Promise<EnvironmentResult> {
  const { argv, env, input } = command!;
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const child = spawn(argv[0]!, argv.slice(1), {
      cwd: '/',
      env: { ...baseEnvironment, ...env },
      stdio: 'pipe',
      // A process group of its own, so that MPI's processes end with it.
      detached: true,
    });
    let reason: unknown;
    const end = (why: unknown): void => {
      reason ??= why;
      killGroup(child.pid, 'SIGTERM');
      setTimeout(() => killGroup(child.pid, 'SIGKILL'), graceMs).unref();
    };
    const limit = setTimeout(() => end(hung(timeLimitMs)), timeLimitMs);
    const onAbort = (): void => end(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const out: Buffer[] = [];
    let outBytes = 0;
    let errors = '';
    child.stdout.on('data', (piece: Buffer) => {
      outBytes += piece.length;
      if (outBytes > outputLimitBytes) end(tooMuchOutput());
      else out.push(piece);
    });
    child.stderr.on('data', (piece: Buffer) => {
      errors = (errors + piece.toString()).slice(-4096);
    });
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    const settle = (): void => {
      clearTimeout(limit);
      signal.removeEventListener('abort', onAbort);
    };
    child.once('error', (cause: NodeJS.ErrnoException) => {
      settle();
      reject(cause.code === 'ENOENT' ? missingProgram(argv[0]!, cause) : cause);
    });
    child.once('close', (code, name) => {
      settle();
      killGroup(child.pid, 'SIGKILL');
      if (reason !== undefined) reject(reason);
      else {
        const stdout = Buffer.concat(out).toString();
        const signalNumber = name === null ? 0 : (signalNumbers[name] ?? 0);
        resolve({ code: code ?? 128 + signalNumber, stdout, errors, found: { cpus: [...pinnedTo] } });
      }
    });
  });
}

function killGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  try {
    if (pid !== undefined) process.kill(-pid, signal);
  } catch {
    // All of it has ended already.
  }
}

/** The error of a benchmark that did not end in its time. */
export function hung(limitMs: number): LodgeError {
  return new LodgeError('benchmark-output', `the benchmark did not end within ${formatTime(limitMs)}`, {
    fix: 'give it more with run-timeout, if it was still at work',
  });
}

/** The error of a benchmark that writes without end. */
export function tooMuchOutput(): LodgeError {
  return new LodgeError('benchmark-output', `the benchmark wrote more than ${outputLimitBytes} bytes`);
}

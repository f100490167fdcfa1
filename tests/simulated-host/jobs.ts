/**
 * Commands in the simulated host, with files alone: a job is a directory in the share, and one line through a pipe
 * starts it. So any process that knows the state directory can run commands, many at once, and bytes stay as they are.
 */

import { constants } from 'node:fs';
import { mkdir, open, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { stateFiles } from './qemu.ts';

export interface JobOptions {
  /** Ends the command and rejects; a guard against hanging, so generous. Default: 5 minutes. */
  timeoutMs?: number;
  /** Added to a small fixed environment; nothing is taken over from here. */
  env?: Readonly<Record<string, string>>;
  /** Default: `/`. */
  cwd?: string;
  stdin?: string | Uint8Array;
  /** Runs as this user, without root's privileges. */
  uid?: number;
  /** Default: the same number as `uid`. */
  gid?: number;
  /** Further groups of `uid`, by name or number. */
  groups?: readonly (string | number)[];
  /** Called with pieces of the output as they come. */
  onStdout?: (piece: Buffer) => void;
  onStderr?: (piece: Buffer) => void;
}

export interface JobResult {
  /** Exit code, or 128 + n for signal n. */
  code: number;
  stdout: string;
  stderr: string;
  stdoutBytes: Buffer;
}

let lastJob = 0;

/**
 * Runs a command in the simulated host. A string is a shell line; an array is run as it is.
 * @param directory state of a simulated host that is ready
 */
export async function runJob(
  directory: string,
  command: string | readonly string[],
  options: JobOptions = {},
): Promise<JobResult> {
  const { timeoutMs = 300_000 } = options;
  const id = `${process.pid}-${++lastJob}`;
  const job = join(directory, stateFiles.share, 'jobs', id);
  await mkdir(job);
  await writeFile(join(job, 'script'), jobScript(command, options));
  await writeFile(join(job, 'stdin'), options.stdin ?? '');
  await sendLine(directory, `run ${id} ${userPrefix(options)}`);

  const deadline = Date.now() + timeoutMs;
  const follow = [
    new Follower(join(job, 'stdout'), options.onStdout),
    new Follower(join(job, 'stderr'), options.onStderr),
  ];
  let code: string | undefined;
  for (let waitMs = 5; ; waitMs = Math.min(100, waitMs * 1.5)) {
    code = await readFile(join(job, 'code'), 'utf8').catch(() => undefined);
    for (const output of follow) await output.poll();
    if (code?.endsWith('\n')) break;
    await checkAlive(directory);
    if (Date.now() > deadline) {
      await sendLine(directory, `kill ${id}`);
      const said = await Promise.all(
        ['stdout', 'stderr'].map((name) => readFile(join(job, name)).catch(() => '')),
      );
      throw new Error(
        `${String(command)}: not done within ${timeoutMs} ms in the simulated host\n${said.join('\n')}`,
      );
    }
    await delay(waitMs);
  }
  const [stdoutBytes, stderr] = await Promise.all([
    readFile(join(job, 'stdout')),
    readFile(join(job, 'stderr'), 'utf8'),
  ]);
  await rm(job, { recursive: true });
  return { code: Number(code), stdout: stdoutBytes.toString(), stderr, stdoutBytes };
}

/** @throws when the simulated host's QEMU has ended */
export async function checkAlive(directory: string): Promise<void> {
  const pid = await readFile(join(directory, stateFiles.qemuPid), 'utf8').catch(() => '');
  // One that was killed may stay as a zombie if nobody asks for its end.
  const status = pid === '' ? '' : await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  if (status !== '' && !status.includes(') Z ')) return;
  const logs = [stateFiles.console, stateFiles.qemuLog].map((name) =>
    readFile(join(directory, name), 'utf8').catch(() => ''),
  );
  throw new Error(`the simulated host has ended:\n${(await Promise.all(logs)).join('').slice(-4000)}`);
}

/** Passes new bytes of a growing file on. */
class Follower {
  readonly #path: string;
  readonly #onPiece: ((piece: Buffer) => void) | undefined;
  #at = 0;

  constructor(path: string, onPiece: ((piece: Buffer) => void) | undefined) {
    this.#path = path;
    this.#onPiece = onPiece;
  }

  async poll(): Promise<void> {
    if (this.#onPiece === undefined) return;
    const file = await open(this.#path).catch(() => undefined);
    if (file === undefined) return;
    const buffer = Buffer.allocUnsafe(65_536);
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, this.#at);
      if (bytesRead === 0) break;
      this.#at += bytesRead;
      this.#onPiece(Buffer.from(buffer.subarray(0, bytesRead)));
    }
    await file.close();
  }
}

/** A line that is short and written whole does not mix with those of others. */
async function sendLine(directory: string, line: string): Promise<void> {
  await checkAlive(directory);
  const pipe = await open(
    join(directory, `${stateFiles.control}.in`),
    constants.O_WRONLY | constants.O_NONBLOCK,
  );
  await pipe.write(`${line}\n`);
  await pipe.close();
}

function jobScript(command: string | readonly string[], { env = {}, cwd = '/' }: JobOptions): string {
  const exports = Object.entries(env).map(([name, value]) => `export ${name}=${quote(value)}`);
  const line = typeof command === 'string' ? command : `exec ${command.map(quote).join(' ')}`;
  return [...exports, `cd ${quote(cwd)} || exit 125`, line, ''].join('\n');
}

function userPrefix({ uid, gid = uid, groups }: JobOptions): string {
  if (uid === undefined) return '';
  const further = groups === undefined ? '--clear-groups' : `--groups=${groups.join(',')}`;
  return `setpriv --reuid=${uid} --regid=${gid} ${further} --inh-caps=-all`;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

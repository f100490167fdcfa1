/** The built command line, run as people run it, each set of tests in a runtime directory of its own. */

import { type ChildProcess, spawn } from 'node:child_process';
import { chownSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { installationDir } from '../../src/installation.ts';

/** The launcher, which builds lodge first when its sources have changed. */
export const lodgePath = join(installationDir, 'lodge');

export interface RunOptions {
  /** Sent to standard input, which is empty without it. */
  input?: Uint8Array | string;
  /** Set over this process's environment; `undefined` takes a variable away. */
  env?: Readonly<Record<string, string | undefined>>;
  cwd?: string;
  /** A guard against hanging: the program is then killed, and the promise rejected. */
  timeoutMs?: number;
}

export interface RunResult {
  /** Exit code, or 128 + n for signal n. */
  code: number;
  stdout: Buffer;
  stderr: string;
}

/** A program that was started and may still run. */
export interface Started {
  child: ChildProcess;
  /** Standard output so far. */
  output: () => string;
  errors: () => string;
  /** Rejects when the program does not end in time. */
  end: Promise<RunResult>;
}

/** Beyond any that a busy machine makes of some seconds. */
const hangLimitMs = 500_000;

/** Starts a program; its standard input stays open until `child.stdin` is ended, or ends at once with `input`. */
export function start(argv: readonly string[], options: RunOptions = {}): Started {
  const { input, env = {}, cwd, timeoutMs = hangLimitMs } = options;
  const [program = '', ...args] = argv;
  const child = spawn(program, args, { cwd, env: { ...process.env, ...env }, stdio: 'pipe' });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on('data', (piece: Buffer) => out.push(piece));
  child.stderr.on('data', (piece: Buffer) => err.push(piece));
  // A program may end without reading its input; that is its right.
  child.stdin.on('error', () => {});
  if (input !== undefined) child.stdin.end(input);
  const errors = (): string => Buffer.concat(err).toString();
  const end = new Promise<RunResult>((resolve, reject) => {
    const guard = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`'${argv.join(' ')}' did not end within ${timeoutMs} ms\n${errors()}`));
    }, timeoutMs);
    child.once('error', reject);
    child.once('close', (code, signal) => {
      clearTimeout(guard);
      const ended = code ?? 128 + (signal === null ? 0 : constants.signals[signal]);
      resolve({ code: ended, stdout: Buffer.concat(out), stderr: errors() });
    });
  });
  end.catch(() => {});
  return { child, output: () => Buffer.concat(out).toString(), errors, end };
}

/** Runs a program to its end, with empty input unless there is some. */
export function run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return start(argv, { input: '', ...options }).end;
}

/** Runs lodge to its end. */
export function lodge(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return run([lodgePath, ...args], options);
}

export interface FoundProcess {
  pid: number;
  /** Its arguments with spaces between. */
  line: string;
}

/** What scripts read of one guest in `lodge --json ps`; only what tests look at. */
export interface ListedGuest {
  name: string;
  status: string;
  exit?: string;
  mode: string;
  accelerator: string;
  cpus: number;
  memoryBytes: number;
  vmmPid?: number;
  dir: string;
}

/** A runtime directory that no other test has, and lodge in it. */
export class Runtime {
  readonly dir: string;
  /** A directory for the test's own files, which guests share as their working directory. */
  readonly work: string;

  constructor() {
    // Short: names of sockets in it have at most 107 bytes.
    const base = mkdtempSync(join(tmpdir(), 'lg-'));
    this.dir = join(base, 'run');
    this.work = join(base, 'work');
    for (const path of [this.dir, this.work]) mkdirSync(path, { mode: 0o700 });
  }

  lodge(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return lodge(args, this.#with(options));
  }

  /** Runs lodge quietly. @returns its standard output @throws when it fails, or complains */
  async done(args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.lodge(['-q', ...args]);
    if (code !== 0 || stderr !== '')
      throw new Error(`'lodge ${args.join(' ')}' ended with ${code}: ${stderr}`);
    return stdout.toString();
  }

  startLodge(args: readonly string[], options: RunOptions = {}): Started {
    return start([lodgePath, ...args], this.#with(options));
  }

  /** A shell line with lodge as `$LODGE`. */
  bash(script: string, options: RunOptions = {}): Promise<RunResult> {
    return run(['bash', '-c', script], this.#with(options));
  }

  async ps(): Promise<ListedGuest[]> {
    const { code, stdout, stderr } = await this.lodge(['--json', 'ps']);
    if (code !== 0) throw new Error(`lodge ps ended with ${code}: ${stderr}`);
    return JSON.parse(stdout.toString()) as ListedGuest[];
  }

  /** Every process that has this runtime directory in its arguments or its environment. */
  processes(): FoundProcess[] {
    return processesOf(this.dir);
  }

  /** The host agent's process id, while there is one. */
  agentPid(): number | undefined {
    return this.processes().find(({ line }) => /\bnode .*\/dist\/\S+ agent$/.test(line))?.pid;
  }

  /** Directories and files that only guests and clusters leave. */
  files(): string[] {
    return ['guests', 'making', 'clusters'].flatMap((name) =>
      namesIn(join(this.dir, name)).map((file) => `${name}/${file}`),
    );
  }

  /**
   * Ends all guests, the agent, and waits until no process is left.
   * @returns what was left all the same: it should be nothing
   */
  async close(): Promise<string[]> {
    // If lodge itself fails, what it leaves is found and ended below.
    const guests = await this.ps().catch(() => []);
    if (guests.length > 0) await this.lodge(['rm', '-f', ...guests.map(({ name }) => name)]);
    const agent = this.agentPid();
    if (agent !== undefined) process.kill(agent, 'SIGTERM');
    await this.#untilIdle();
    const left = [...this.processes().map(({ pid, line }) => `process ${pid}: ${line}`), ...this.files()];
    for (const { pid } of this.processes()) process.kill(pid, 'SIGKILL');
    rmSync(join(this.dir, '..'), { recursive: true, force: true });
    return left;
  }

  async #untilIdle(): Promise<void> {
    for (let waitedMs = 0; waitedMs < 20_000 && this.processes().length > 0; waitedMs += 50) await delay(50);
  }

  #with(options: RunOptions): RunOptions {
    return {
      cwd: this.work,
      ...options,
      env: { LODGE: lodgePath, LODGE_RUNTIME_DIR: this.dir, ...options.env },
    };
  }
}

/** A home for a user who has nothing yet, with the runtime and data directories that `env` names. */
export function homeOf(uid: number): { home: string; env: Record<string, string | undefined> } {
  const home = mkdtempSync(join(tmpdir(), 'lu-'));
  for (const name of ['', 'run', 'data']) {
    mkdirSync(join(home, name), { recursive: true, mode: 0o700 });
    chownSync(join(home, name), uid, uid);
  }
  const [runtime, data] = [join(home, 'run'), join(home, 'data')];
  const env = { HOME: home, LODGE_RUNTIME_DIR: runtime, LODGE_DATA_DIR: data, XDG_DATA_HOME: undefined };
  return { home, env };
}

/** Processes of this host that have a text in their arguments or their environment; not this one. */
export function processesOf(text: string): FoundProcess[] {
  const found: FoundProcess[] = [];
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!(pid > 0) || pid === process.pid) continue;
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ').trim();
      // Dead and not yet reaped: its parent's business.
      if (line === '') continue;
      if (line.includes(text) || readFileSync(`/proc/${pid}/environ`, 'latin1').includes(text)) {
        found.push({ pid, line });
      }
    } catch {
      // It went meanwhile, or it is not ours to look at.
    }
  }
  return found;
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** Waits for something to become true. @throws when it does not, with what it was */
export async function until<T>(
  what: string,
  look: () => T | undefined | Promise<T | undefined>,
  limitMs = 60_000,
): Promise<T> {
  for (const startedAt = Date.now(); Date.now() - startedAt < limitMs; await delay(50)) {
    const seen = await look();
    if (seen !== undefined && seen !== false) return seen;
  }
  throw new Error(`not within ${limitMs} ms: ${what}`);
}

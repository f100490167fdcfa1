/**
 * Programs that the host agent runs for its user beside guests: the daemons of a Slurm of their own. They are its
 * children and end with it; each group has a directory on this host, which goes with the group.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { hostIoError, LodgeError } from '../errors.ts';
import { printable } from '../printable.ts';
import { missingProgram } from '../process.ts';
import { isAlive, type ProcessIdentity } from '../process-identity.ts';
import { killMarked, servicesVariable } from './marked.ts';

export interface ServiceGroup {
  name: string;
  /** Made with mode 0700; of this user, and none but the group's files are in it. */
  dir: string;
  files: { name: string; text: string }[];
  directories: string[];
  programs: ServiceProgram[];
  /** The group ends when this process of this host does. */
  boundTo?: ProcessIdentity;
}

export interface ServiceProgram {
  name: string;
  argv: string[];
  /** A file, below the directory, by which one sees that it is ready; the next program waits for it. */
  ready?: string;
}

interface Running {
  group: ServiceGroup;
  children: Map<string, ChildProcess>;
  watch: NodeJS.Timeout | undefined;
}

const readyWithinMs = 15_000;
const endWithinMs = 1500;
/** What ends as soon as it was started has failed. */
const startedAfterMs = 300;

export class Services {
  readonly #running = new Map<string, Running>();

  get isAny(): boolean {
    return this.#running.size > 0;
  }

  /** Starts a group, in the place of one of that name; one that runs so already goes on. @throws LodgeError `host-io`, `missing-program`, `host-agent` */
  async start(group: ServiceGroup): Promise<void> {
    if (this.#isAsAsked(group)) return;
    await this.stop(group.name);
    const { dir, files, directories, boundTo } = group;
    makePlace(dir);
    const running: Running = { group, children: new Map(), watch: undefined };
    this.#running.set(group.name, running);
    try {
      for (const name of directories) mkdirSync(join(dir, name), { recursive: true, mode: 0o700 });
      for (const { name, text } of files) writeFileSync(join(dir, name), text, { mode: 0o600 });
      for (const program of group.programs) await this.#begin(running, program);
    } catch (error) {
      await this.stop(group.name);
      throw error instanceof LodgeError ? error : hostIoError('starting services', dir, error);
    }
    if (boundTo !== undefined) {
      running.watch = setInterval(() => {
        if (!isAlive(boundTo)) void this.stop(group.name);
      }, 1000);
    }
  }

  /** Whether a group runs, whole, as it is asked for. */
  #isAsAsked(group: ServiceGroup): boolean {
    const running = this.#running.get(group.name);
    if (running === undefined || JSON.stringify(running.group) !== JSON.stringify(group)) return false;
    const children = [...running.children.values()];
    return (
      children.length === group.programs.length &&
      children.every(({ exitCode, signalCode }) => exitCode === null && signalCode === null)
    );
  }

  async #begin({ group, children }: Running, { name, argv, ready }: ServiceProgram): Promise<void> {
    const log = join(group.dir, `${name}.out`);
    const fd = openSync(log, 'a', 0o600);
    const child = spawn('setpriv', ['--pdeathsig', 'TERM', '--', ...argv], {
      stdio: ['ignore', fd, fd],
      cwd: group.dir,
      env: {
        ...process.env,
        PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin`,
        [servicesVariable]: group.dir,
      },
      detached: true,
    });
    closeSync(fd);
    children.set(name, child);
    let end: string | undefined;
    child.once('error', (cause) => {
      end = missingProgram('setpriv', cause).message;
    });
    child.once('exit', (code, signal) => {
      end = `it ended with ${signal ?? `code ${code}`}`;
    });
    const deadline = Date.now() + (ready === undefined ? startedAfterMs : readyWithinMs);
    while (end === undefined && Date.now() < deadline) {
      if (ready !== undefined && existsSync(join(group.dir, ready))) return;
      await delay(20);
    }
    if (end === undefined && ready === undefined) return;
    const said = printable(readFileSync(log, 'utf8').slice(-2000)).trim();
    if (/No such file or directory/.test(said)) throw missingProgram(argv[0]!);
    throw new LodgeError('host-agent', `'${argv[0]}' did not come up: ${end ?? 'it is not ready'}`, {
      where: log,
      ...(said === '' ? {} : { detail: said.split('\n').slice(-6).join('\n') }),
    });
  }

  /** Ends a group, with all that its programs have started, and removes its directory; nothing happens where there is none. */
  async stop(name: string): Promise<void> {
    const running = this.#running.get(name);
    if (running === undefined) return;
    this.#running.delete(name);
    clearInterval(running.watch);
    await Promise.all([...running.children.values()].map(ended));
    // Daemons set free what they start: the steps of a Slurm outlive its slurmd.
    killMarked(running.group.dir);
    rmSync(running.group.dir, { recursive: true, force: true, maxRetries: 5 });
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.#running.keys()].map((name) => this.stop(name)));
  }
}

function makePlace(dir: string): void {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    // The path can be guessed, and others may write beside it: a link would lead to where they want.
    const place = lstatSync(dir);
    if (!place.isDirectory() || place.uid !== process.getuid!() || (place.mode & 0o077) !== 0) {
      throw new LodgeError('host-io', 'the directory for services is not yours alone', { where: dir });
    }
  } catch (error) {
    throw error instanceof LodgeError ? error : hostIoError('making a directory for services', dir, error);
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const end = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  // All of its group: what a daemon has started goes with it.
  const tell = (signal: NodeJS.Signals): void => {
    try {
      process.kill(-child.pid!, signal);
    } catch {
      child.kill(signal);
    }
  };
  tell('SIGTERM');
  await Promise.race([end, delay(endWithinMs)]);
  if (child.exitCode === null && child.signalCode === null) tell('SIGKILL');
}

/** Starting the process of a guest under its keeper (host-side/keeper.c), and knowing how it ended. */

import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, chmodSync, constants, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hostIoError, LodgeError } from '../errors.ts';
import { builtFile } from '../installation.ts';
import { mountPointOf } from '../mount-point.ts';
import { printable } from '../printable.ts';
import { missingProgram } from '../process.ts';
import { environmentWith, temporaryPlace } from '../temporary-place.ts';
import { ringFileBytes } from './channel/rings.ts';
import { outermost } from './confinement.ts';
import { bridgesFile } from './interface.ts';
import { channelAddress, type GuestPlan, guestFiles } from './plan.ts';
import { type GuestMode, runtimeDir } from './state.ts';

export interface Keeper {
  /** The virtual machine's process on this host; in a contained plan, the first process of its namespace. */
  vmmPid: number;
  /** Whether the PID namespace that the plan asked for could be made. */
  contained: boolean;
  /** Whether the program can write on the host only where the plan says. */
  confined: boolean;
  /** What of this process's environment could not be used. */
  notes: string[];
  /** Resolves when the keeper has ended, and the virtual machine with it. */
  ended: Promise<void>;
  /** Kills the virtual machine now. */
  kill(): void;
}

/** How much of its console a guest may leave on disk. */
const consoleLogBytes = 8 * 1024 * 1024;

/** What keeps the program from writing elsewhere on the host. */
function confinementFlags({ dir, writable }: GuestPlan, place: string | undefined): string[] {
  const paths = writable && outermost(place === undefined ? writable : [...writable, place]);
  if (paths === undefined) return [];
  return ['--scratch', join(dir, guestFiles.scratch), ...paths.flatMap((path) => ['--writable', path])];
}

/** What the program gets for each of its interfaces, in their order. */
function wireFlags({ interfaces, wire, cluster }: GuestPlan): string[] {
  const isBridged = interfaces.some(({ bridge }) => bridge !== undefined);
  return [
    ...(isBridged && cluster !== undefined ? ['--bridges', bridgesFile(runtimeDir(), cluster.name)] : []),
    ...interfaces.flatMap(({ mac, mtuBytes, bridge }) =>
      bridge === undefined
        ? [wire === 'stream' ? '--stream-wire' : '--wire', mac]
        : ['--tap', bridge.device, bridge.tap, String(mtuBytes)],
    ),
  ];
}

/**
 * Starts the plan's program. In the foreground the guest ends when this process does, however it ends.
 * @param isBound whether a detached one does, too
 * @throws LodgeError `missing-program` or `vmm-failed` when it cannot be started
 */
export async function startKeeper(plan: GuestPlan, mode: GuestMode, isBound = false): Promise<Keeper> {
  const { ringPath } = channelAddress(plan);
  if (ringPath !== undefined) makeRings(ringPath, plan.driver === 'uml');
  if (plan.writable !== undefined) makeScratch(join(plan.dir, guestFiles.scratch));
  // User-mode Linux keeps the guest's memory there; a confined one without, in its scratch directory.
  const { path: place, notes } = temporaryPlace();
  const hasLifeline = mode === 'foreground' || isBound;
  const flags = [
    ...(hasLifeline ? ['--lifeline'] : []),
    ...(mode === 'foreground' && !plan.agent ? ['--watched'] : []),
    ...(plan.contain ? ['--contain'] : []),
    ...confinementFlags(plan, place),
    ...(plan.relay ? ['--relay'] : []),
    ...(plan.disableTransparentHugePages ? ['--small-pages'] : []),
    // In a network namespace with nothing in it, whoever takes over a guest's process has no network.
    ...(plan.interfaces.length > 0 && plan.namespaces === undefined ? ['--apart'] : []),
    ...wireFlags(plan),
    ...(plan.namespaces === undefined ? [] : [plan.namespaces.layered ? '--netns' : '--netns-as-is']),
  ];
  const besides = plan.beside.flatMap(({ socket, argv }) => [
    '--beside',
    socket,
    String(argv.length),
    ...argv,
  ]);
  const child = spawn(
    builtFile('keeper'),
    [...flags, ...besides, '--dir', plan.dir, '--log-bytes', String(consoleLogBytes), '--', ...plan.argv],
    {
      stdio: [hasLifeline ? 'pipe' : 'ignore', 'pipe', 'ignore'],
      detached: mode === 'detached',
      env: environmentWith(place),
    },
  );
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const first = await firstLine(child);
  // A host agent must be able to end while its guests go on.
  if (mode === 'detached') child.unref();
  const report = JSON.parse(first) as {
    pid?: number;
    contained?: boolean;
    confined?: boolean;
    error?: string;
  };
  if (report.pid === undefined) {
    await ended;
    const program = plan.argv[0]!;
    if (report.error?.startsWith('namespaces: ') === true) {
      throw new LodgeError(
        'isolation-unmet',
        `the guest cannot be kept apart from the network: ${report.error}`,
        {
          fix: 'as root: sysctl user.max_user_namespaces=10000, or run without a network: lodge run',
        },
      );
    }
    if (report.error?.startsWith('bridges: ') === true) {
      throw new LodgeError('bridge-unmet', `the guest cannot be joined to its ${report.error}`, {
        fix: 'lodge apply makes the bridges of a cluster again',
      });
    }
    if (report.error?.includes('No such file') === true) throw missingProgram(program);
    throw new LodgeError('vmm-failed', `the guest's process could not be started: ${report.error}`);
  }
  return {
    vmmPid: report.pid,
    contained: report.contained === true,
    confined: report.confined === true,
    notes,
    ended,
    kill: () => {
      child.kill('SIGINT');
    },
  };
}

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    child.once('error', (cause: NodeJS.ErrnoException) => {
      reject(
        new LodgeError('vmm-failed', `the keeper could not be started: ${cause.message}`, {
          fix: spawnFixes[cause.code ?? ''] ?? 'build lodge again: rm -rf dist && ./lodge --help',
          cause,
        }),
      );
    });
    let text = '';
    // Without a file descriptor to spare, a child has no streams at all.
    child.stdout?.on('data', (piece: Buffer) => {
      text += piece.toString();
      if (text.includes('\n')) resolve(text.split('\n')[0]!);
    });
    child.stdout?.once('end', () => {
      reject(new LodgeError('vmm-failed', 'the keeper ended before it said anything'));
    });
  });
}

/** What helps where a process cannot be made, by what the system says of it. */
const spawnFixes: Readonly<Record<string, string>> = {
  EAGAIN: 'you have as many processes as you may have: end some, or raise the limit (ulimit -u)',
  EMFILE: 'raise the limit of open files: ulimit -n 1024',
  ENFILE: 'this host has as many files open as it may have: end some programs',
  ENOMEM: 'free memory on this host',
};

/**
 * @param isExecutable whether they are mapped as code may be: so does user-mode Linux with all that it maps, and hangs
 *   where the kernel refuses
 */
function makeRings(path: string, isExecutable: boolean): void {
  try {
    // With all its blocks: where one is missing and the disk is full, the guest's kernel would get a SIGBUS.
    writeFileSync(path, Buffer.alloc(ringFileBytes), { flag: 'wx', mode: isExecutable ? 0o700 : 0o600 });
  } catch (cause) {
    throw hostIoError('making the rings of the channel', path, cause);
  }
  if (!isExecutable) return;
  try {
    // Whatever the umask has left.
    chmodSync(path, 0o700);
    // Even for root, nothing on a mount with noexec can be executed.
    accessSync(path, constants.X_OK);
  } catch (cause) {
    throw new LodgeError('host-io', 'user-mode Linux cannot have its rings where a mount says noexec', {
      where: mountPointOf(path),
      fix: 'point LODGE_RUNTIME_DIR to a directory that is mounted without noexec',
      cause,
    });
  }
}

function makeScratch(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (cause) {
    throw hostIoError("making the guest's scratch directory", path, cause);
  }
}

/** Where a guest's console is kept, the older part first. Either may be missing. */
export function consoleLogs(dir: string): string[] {
  return [join(dir, `${guestFiles.consoleLog}.1`), join(dir, guestFiles.consoleLog)];
}

/** The end of a guest's console, fit to be shown: control characters out, at most so many lines. */
export function consoleTail(dir: string, lines: number): string {
  return tailOf(consoleLogs(dir), lines);
}

/** The end of what the virtual machine's program complained about. */
export function vmmTail(dir: string, lines: number): string {
  return tailOf([join(dir, `${guestFiles.vmmLog}.1`), join(dir, guestFiles.vmmLog)], lines);
}

function tailOf(paths: readonly string[], lines: number): string {
  let text = '';
  for (const path of paths) {
    try {
      text += readFileSync(path, 'latin1').slice(-65_536);
    } catch {
      // Not written yet, or not rotated yet.
    }
  }
  return printable(text)
    .split('\n')
    .map((line) => line.slice(0, 400).trimEnd())
    .filter((line) => line !== '')
    .slice(-lines)
    .join('\n');
}

/**
 * Where what is known of a host comes from: the running system, or a record of one (`record.ts`).
 * Everything under `src/machine/` reads the host through this, so that all of it can be replayed in a test.
 */

import {
  accessSync,
  closeSync,
  constants,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statfsSync,
} from 'node:fs';
import { machine } from 'node:os';
import { delimiter, join } from 'node:path';
import { LodgeError } from '../errors.ts';
import type { ProgramResult } from '../process.ts';

/** How a path can be used by this user. */
export interface Access {
  exists: boolean;
  readable: boolean;
  writable: boolean;
  /** The errno name that opening for reading and writing gave: `EACCES`. */
  error?: string;
}

export interface MachineSource {
  /** As `uname -m` prints it. */
  readonly arch: string;
  /** The text of a file, or its first `maxBytes`; undefined when it is missing or may not be read. */
  readText(path: string, maxBytes?: number): string | undefined;
  /** Names in a directory; none when it is missing or may not be read. */
  listDirectory(path: string): string[];
  access(path: string): Access;
  /** Free space of the file system that holds the path, for this user. */
  freeBytes(path: string): number | undefined;
  environment(name: string): string | undefined;
  /** The full path of a program in PATH (or /usr/sbin, /sbin), or undefined. */
  findProgram(name: string): string | undefined;
  /**
   * Runs a program to its end; undefined when it does not exist. One that takes longer than `limitMs`, ten seconds by
   * default, is ended, and has failed: its `stderr` says so.
   */
  run(argv: readonly string[], limitMs?: number): Promise<ProgramResult | undefined>;
}

const runLimitMs = 10_000;

/** The running system. */
export function liveSource(): MachineSource {
  return {
    arch: machine(),
    readText: readLive,
    listDirectory(path) {
      try {
        return readdirSync(path).sort();
      } catch {
        return [];
      }
    },
    access: accessLive,
    freeBytes(path) {
      try {
        const { bavail, bsize } = statfsSync(path);
        return bavail * bsize;
      } catch {
        return undefined;
      }
    },
    environment: (name) => process.env[name],
    findProgram(name) {
      const directories = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
      return directories.map((directory) => join(directory, name)).find(isExecutable);
    },
    async run(argv, limitMs = runLimitMs) {
      // Loaded late: the cheap probe of every run starts no program.
      const { runProgram } = await import('../process.ts');
      try {
        return await runProgram(argv, { timeoutMs: limitMs });
      } catch (error) {
        if (error instanceof LodgeError && error.code === 'missing-program') return undefined;
        // It is there, and did not end or could not be started: a host without it is another matter.
        return { code: 1, stdout: '', stderr: error instanceof Error ? error.message : String(error) };
      }
    },
  };
}

function readLive(path: string, maxBytes?: number): string | undefined {
  try {
    if (maxBytes === undefined) return readFileSync(path, 'utf8');
    const file = openSync(path, 'r');
    try {
      const buffer = Buffer.alloc(maxBytes);
      return buffer.toString('utf8', 0, readSync(file, buffer, 0, maxBytes, 0));
    } finally {
      closeSync(file);
    }
  } catch {
    return undefined;
  }
}

function accessLive(path: string): Access {
  const can = (mode: number): boolean => {
    try {
      accessSync(path, mode);
      return true;
    } catch {
      return false;
    }
  };
  if (!can(constants.F_OK)) return { exists: false, readable: false, writable: false, error: 'ENOENT' };
  const access = { exists: true, readable: can(constants.R_OK), writable: can(constants.W_OK) };
  if (!path.startsWith('/dev/')) return access;
  // Mode bits do not tell all of a device: a device cgroup may forbid it, or its driver may be absent.
  try {
    closeSync(openSync(path, constants.O_RDWR));
    return access;
  } catch (cause) {
    const error = (cause as NodeJS.ErrnoException).code ?? 'EIO';
    return error === 'EISDIR' ? access : { ...access, readable: false, writable: false, error };
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

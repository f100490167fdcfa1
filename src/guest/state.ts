/**
 * The truth about guests: one directory each, named as the guest, under the user's runtime directory on this host.
 *
 *     guests/<name>/   plan.json, state.json, sockets and logs (see guestFiles)
 *     making/<random>.<process>/ a directory on its way to become one, or to be removed
 *
 * A directory appears whole, by a rename that fails when the name is taken; files in it are replaced whole.
 */

import { randomBytes } from 'node:crypto';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { hostIoError, LodgeError, otherPlaceFix } from '../errors.ts';
import { makeDirectory } from '../make-directory.ts';
import { suggestGuest } from '../nearest.ts';
import { identify, isAlive, type ProcessIdentity } from '../process-identity.ts';
import { shellWord } from '../shell-words.ts';
import { type GuestPlan, guestFiles } from './plan.ts';
import type { PlacementFound } from './vmm/qemu/verify.ts';

/** Longest path of a unix socket, its final NUL not counted (unix(7)). */
const socketPathBytes = 107;

/** Of the form of those that guests without one are given. */
const madeUpName = 'g-00000000';

export type GuestMode = 'foreground' | 'detached';

/** What is written of a guest; what it is doing now also depends on which of its processes live. */
export interface GuestRecord {
  version: 1;
  mode: GuestMode;
  /** `starting` until commands can be run in it, or, without an agent, until it runs. */
  phase: 'starting' | 'running' | 'stopping';
  /** The process that started it: a foreground run, or the host agent. */
  owner: ProcessIdentity;
  /** Milliseconds since 1970. */
  createdAt: number;
  runningAt?: number;
  /** Process id of the virtual machine on this host. */
  vmmPid?: number;
  /** Whether the virtual machine runs in a PID namespace of its own. */
  contained?: boolean;
  /** Whether it can write on the host only where its plan says. */
  confined?: boolean;
  /** Kernel release that the guest's agent told. */
  guestKernel?: string;
  /** Placement as it was found after the start. */
  placement?: PlacementFound;
}

export type GuestStatus = 'starting' | 'running' | 'stopping' | 'exited';

export interface GuestView {
  name: string;
  dir: string;
  plan: GuestPlan;
  record: GuestRecord;
  status: GuestStatus;
  /** The keeper of the guest's process, while it lives. */
  keeper?: ProcessIdentity;
  /** How the virtual machine ended: `code 0`, `signal 9`; absent while it runs or when that is not known. */
  exit?: string;
}

/**
 * The user's runtime directory of lodge: `$LODGE_RUNTIME_DIR`, else `lodge` in the user's XDG runtime directory,
 * else `/tmp/lodge-UID`. Made with mode 0700.
 * @throws LodgeError `host-io` when it belongs to somebody else or others can get in; when it is still to be made, also
 * at so long a path that the sockets of guests could not be reached
 */
export function runtimeDir(): string {
  const uid = process.getuid!();
  // Set to nothing is not set, as the XDG Base Directory Specification has it.
  const asked = process.env.LODGE_RUNTIME_DIR || undefined;
  if (asked !== undefined && !isAbsolute(asked)) {
    throw new LodgeError('host-io', 'LODGE_RUNTIME_DIR must be an absolute path', {
      where: asked,
      fix: `LODGE_RUNTIME_DIR=${shellWord(resolve(asked))}`,
    });
  }
  let path = asked ?? xdgRuntimeDir(uid) ?? `/tmp/lodge-${uid}`;
  // On a host of a Slurm job, whoever only looks makes nothing: it would stay when the job is killed.
  const onlyIfThere = process.env.SLURMD_NODENAME !== undefined;
  try {
    if (statSync(path, { throwIfNoEntry: false }) === undefined) {
      if (onlyIfThere) return path;
      requireShortPaths(join(path, 'guests', madeUpName));
    }
    makeDirectory(path, 0o700);
    // By whatever links it is reached, it is the same one with the same guests.
    path = realpathSync(path);
    const { uid: owner, mode } = statSync(path);
    if (owner !== uid || (mode & 0o077) !== 0) {
      throw new LodgeError('host-io', 'the runtime directory is not yours alone', {
        where: path,
        fix: 'set LODGE_RUNTIME_DIR to a directory of your own, with mode 0700',
      });
    }
  } catch (error) {
    throw error instanceof LodgeError
      ? error
      : hostIoError('making the runtime directory', path, error, otherPlaceFix);
  }
  return path;
}

function xdgRuntimeDir(uid: number): string | undefined {
  // Not every shell of a user has the variable set, and all must agree on one directory.
  for (const base of [`/run/user/${uid}`, process.env.XDG_RUNTIME_DIR]) {
    if (base === undefined || !base.startsWith('/')) continue;
    try {
      if (statSync(base).uid === uid) return join(base, 'lodge');
    } catch {
      // Not there: the next is tried.
    }
  }
  return undefined;
}

export function guestsDir(): string {
  return join(runtimeDir(), 'guests');
}

/** The directory a guest of this name has, or would have. */
export function guestDir(name: string): string {
  return join(guestsDir(), name);
}

/** A place for a directory on its way to its own or to its end. It tells whose it is: what a dead process has left there is swept. */
function makingPath(): string {
  const { pid, startTicks } = identify(process.pid)!;
  return join(runtimeDir(), 'making', `${randomBytes(8).toString('hex')}.${pid}.${startTicks}`);
}

/**
 * Whether sockets in a guest's directory could be reached.
 * @throws LodgeError `host-io` at so long a path
 */
export function requireShortPaths(dir: string): void {
  const longest = join(dir, guestFiles.console);
  if (Buffer.byteLength(longest) <= socketPathBytes) return;
  throw new LodgeError(
    'host-io',
    `the guest's sockets would have paths longer than ${socketPathBytes} bytes`,
    {
      where: longest,
      fix: 'set LODGE_RUNTIME_DIR to a shorter path, or choose a shorter name',
    },
  );
}

/**
 * Makes a guest's directory, with its plan and first record in it.
 * @throws LodgeError `name-taken`; `host-io`, also when its sockets could not be reached at so long a path
 */
export function claimGuest(plan: GuestPlan, record: GuestRecord): void {
  requireShortPaths(plan.dir);
  const making = makingPath();
  try {
    makeDirectory(guestsDir(), 0o700);
    makeDirectory(making, 0o700);
    writeFileSync(join(making, guestFiles.plan), JSON.stringify(plan, null, 2));
    writeFileSync(join(making, guestFiles.state), JSON.stringify(record, null, 2));
    renameSync(making, plan.dir);
  } catch (error) {
    rmSync(making, { recursive: true, force: true });
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOTEMPTY' || code === 'EEXIST') {
      throw new LodgeError('name-taken', `there is a guest named '${plan.name}' already`, {
        fix: `choose another --name, or remove it: lodge rm ${plan.name}`,
      });
    }
    throw hostIoError("making the guest's directory", plan.dir, error);
  }
}

/** Replaces a guest's record. */
export function writeRecord(dir: string, record: GuestRecord): void {
  const path = join(dir, guestFiles.state);
  const part = `${path}.${process.pid}`;
  try {
    writeFileSync(part, JSON.stringify(record, null, 2));
    renameSync(part, path);
  } catch (error) {
    rmSync(part, { force: true });
    throw hostIoError("writing the guest's state", path, error);
  }
}

/**
 * All guests of this user on this host, by name.
 * @param isWanted looks at names, so that what nobody asked for is not read
 */
export function listGuests(isWanted: (name: string) => boolean = () => true): GuestView[] {
  const root = guestsDir();
  let names: string[];
  try {
    names = readdirSync(root).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw hostIoError('listing guests', root, error);
  }
  return names
    .filter(isWanted)
    .map((name) => viewGuest(name, root))
    .filter((view) => view !== undefined);
}

/**
 * @param elsewhere names of guests that are not on this host, for what is told
 * @throws LodgeError `no-such-guest`, with the guests there are
 */
export function requireGuest(name: string, elsewhere: readonly string[] = []): GuestView {
  const view = viewGuest(name);
  if (view !== undefined) return view;
  const names = [...new Set([...listGuests().map((guest) => guest.name), ...elsewhere])].sort();
  throw new LodgeError('no-such-guest', `there is no guest named '${name}'`, {
    fix: names.length === 0 ? 'lodge ps shows the guests; there are none now' : suggestGuest(name, names),
  });
}

/**
 * One guest as it is now; undefined when there is none of that name, or what tells of it is gone or damaged.
 * @param root `guestsDir()`, for who looks at many: to find it costs as much as to look at one
 */
export function viewGuest(name: string, root = guestsDir()): GuestView | undefined {
  const dir = join(root, name);
  const planText = readIfThere(join(dir, guestFiles.plan));
  const recordText = readIfThere(join(dir, guestFiles.state));
  if (planText === undefined || recordText === undefined) return undefined;
  const plan = parseRecord<GuestPlan>(planText);
  const record = parseRecord<GuestRecord>(recordText);
  if (plan?.dir !== dir || record?.owner === undefined) return undefined;
  const keeper = readKeeper(dir);
  const exit = readIfThere(join(dir, guestFiles.exit))?.trim();
  const keeperLives = keeper !== undefined && isAlive(keeper);
  const isStarting = record.phase === 'starting' && isAlive(record.owner) && exit === undefined;
  const status = keeperLives && exit === undefined ? record.phase : isStarting ? 'starting' : 'exited';
  return {
    name,
    dir,
    plan,
    record,
    status,
    ...(keeperLives ? { keeper } : {}),
    ...(exit === undefined ? {} : { exit }),
  };
}

/**
 * Removes a directory that tells of no guest: what is left of one whose removal was cut short, or that is damaged.
 * Moved away first, so that nobody finds half of it; when its name has become that of a guest meanwhile, it stays.
 */
export function discardRemains(dir: string): void {
  const away = moveAway(dir);
  if (away === undefined) return;
  const { dir: itsOwn } = parseRecord<GuestPlan>(readIfThere(join(away, guestFiles.plan)) ?? '') ?? {};
  const isGuest = itsOwn === dir && parseRecord<GuestRecord>(readIfThere(join(away, guestFiles.state)) ?? '');
  if (isGuest) renameSync(away, dir);
  else rmSync(away, { recursive: true, force: true, maxRetries: 5 });
}

/** Makes a directory where there is its parent: a runtime directory that was removed meanwhile does not come back. */
function makeOnly(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

/**
 * Moves the directory of a guest or a cluster to where nobody looks for one, so that nobody finds half of it.
 * @returns where it is now; undefined when it was not there any more
 * @throws LodgeError `host-io`
 */
export function moveAway(dir: string): string | undefined {
  const away = makingPath();
  try {
    makeOnly(dirname(away));
    renameSync(dir, away);
    return away;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw hostIoError('removing a directory', dir, error);
  }
}

/**
 * Removes a guest's directory, unless its name has become that of another guest. Moved away first, so that nobody
 * finds half of it, and nothing of a guest that takes the name meanwhile is touched.
 */
export function discardGuest({ dir, id }: Pick<GuestPlan, 'dir' | 'id'>): void {
  const plan = parseRecord<GuestPlan>(readIfThere(join(dir, guestFiles.plan)) ?? '');
  if (plan !== undefined && plan.id !== id) return;
  const away = moveAway(dir);
  if (away !== undefined) rmSync(away, { recursive: true, force: true, maxRetries: 5 });
}

/** Whether what tells of a guest is whole, but of a lodge of another version. */
export function isOfAnotherLodge(dir: string): boolean {
  try {
    const { version } = JSON.parse(readIfThere(join(dir, guestFiles.plan)) ?? '') as { version?: unknown };
    return typeof version === 'number' && version !== 1;
  } catch {
    return false;
  }
}

/** What was written as JSON by this version of lodge; undefined when it is damaged or of another. */
function parseRecord<T extends { version: 1 }>(text: string): T | undefined {
  try {
    const value = JSON.parse(text) as T | null;
    return value?.version === 1 ? value : undefined;
  } catch {
    return undefined;
  }
}

/** The keeper that a guest's directory names, alive or not. */
export function readKeeper(dir: string): ProcessIdentity | undefined {
  const [pid, start] = (readIfThere(join(dir, 'keeper')) ?? '').trim().split(' ').map(Number);
  return pid === undefined || start === undefined || !(pid > 0) ? undefined : { pid, startTicks: start };
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw hostIoError("reading a guest's state", path, error);
  }
}

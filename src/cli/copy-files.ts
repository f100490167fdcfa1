/**
 * Copies by tar on both sides, through the channel. What comes out of a guest is unpacked by the host's tar, which
 * takes no absolute names and nothing above the destination; what a hostile guest sends can only land inside it.
 * Holes are sent as zeros: `tar -S` takes a file that has no blocks for one hole without reading it (also with
 * `--hole-detection=raw`), and file systems exist that say so of files with contents, /sys the nearest; nor does
 * busybox's tar unpack what it makes.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { forEachBounded } from '../cluster/governor.ts';
import { shortNames } from '../cluster/guest-names.ts';
import { LodgeError, retold } from '../errors.ts';
import { thisUser } from '../guest/user.ts';
import { isHostList } from '../host-list.ts';
import { ownFileError } from '../replaced-file.ts';
import { execInGuest } from '../server/client.ts';
import { locateGuest } from '../server/locate.ts';
import type { RemoteSession } from '../server/remote-session.ts';
import { shellWord } from '../shell-words.ts';
import { requestOf } from './command-flags.ts';
import { packScript, unpackScript } from './copy-scripts.ts';
import { namedGuests } from './guest-names.ts';
import { dieOf } from './stdio.ts';

interface GuestPath {
  guest: string;
  path: string;
}

export interface Copied {
  from: string;
  to: string;
}

/**
 * @returns what went where, for each guest; paths in guests as they were asked for, with the guest's name before them
 * @throws LodgeError `usage`, `copy-failed`, and those of exec
 */
export async function copyFiles(source: string, destination: string): Promise<Copied[]> {
  for (const text of [source, destination]) requirePath(text);
  const [from, to] = [guestPath(source), guestPath(destination)];
  if (['', '.', '..'].includes(basename(from?.path ?? resolve(source)))) {
    throw new LodgeError('usage', 'the source has no name of its own', {
      where: source,
      fix: 'name the directory itself, or the files in it',
    });
  }
  if (from !== undefined && to === undefined) return copyOutOfAll(from, destination);
  if (from === undefined && to !== undefined) {
    await forEachBounded(to.guests, mostAtOnce, (guest) => copyIn(source, { guest, path: to.path }));
    return to.guests.map((guest) => ({ from: resolve(source), to: `${guest}:${to.path}` }));
  }
  throw new LodgeError('usage', 'exactly one of source and destination is in a guest', {
    fix: 'lodge cp NAME:/path ./here, or lodge cp ./this NAME:/path',
  });
}

/** An empty path would mean here, and `NAME:` be a file of this host: what a variable left out is not meant. */
function requirePath(text: string): void {
  const guest = /^([a-z0-9][a-z0-9.,[\]-]*):$/.exec(text)?.[1];
  if (guest === undefined && text !== '') return;
  const what = guest === undefined ? 'one of the paths is empty' : `no path follows '${guest}:'`;
  throw new LodgeError('usage', what, {
    fix: guest === undefined ? 'lodge cp --help' : `${guest}:/tmp/; for a file of this host: ./${text}`,
  });
}

const mostAtOnce = 16;

/** Out of several guests, what each has goes into a directory of its name. */
async function copyOutOfAll({ guests, path, isMany }: GuestPaths, destination: string): Promise<Copied[]> {
  if (!isMany) return [await copyOut({ guest: guests[0]!, path }, destination)];
  if (lookAt(destination)?.isDirectory() !== true) {
    throw new LodgeError('copy-failed', 'files of several guests go into a directory, and there is none', {
      where: destination,
      fix: `mkdir -p ${shellWord(destination)}`,
    });
  }
  const names = shortNames(guests);
  const copied: Copied[] = [];
  await forEachBounded(guests, mostAtOnce, async (guest) => {
    const own = join(destination, names.get(guest)!);
    mkdirSync(own, { recursive: true });
    copied.push(await copyOut({ guest, path }, own));
  });
  return copied;
}

/** A path in one guest, or the same path in several. */
interface GuestPaths {
  guests: string[];
  path: string;
  isMany: boolean;
}

/** `NAME:PATH`; a path of the host that holds a colon is written with a slash before it. */
function guestPath(text: string): GuestPaths | undefined {
  const match = /^([a-z0-9][a-z0-9.,[\]-]*):(.+)$/s.exec(text);
  if (match === null) return undefined;
  const [, names = '', path = ''] = match;
  return { guests: namedGuests([names]), path, isMany: isHostList(names) };
}

async function copyOut({ guest, path }: GuestPath, destination: string): Promise<Copied> {
  const target = resolve(destination);
  const isDirectory = lookAt(target)?.isDirectory() === true;
  if (!isDirectory && destination.endsWith('/')) {
    throw new LodgeError('copy-failed', 'there is no such directory', {
      where: destination,
      fix: `mkdir -p ${shellWord(destination)}`,
    });
  }
  const finalPath = placeFor(isDirectory ? join(target, basename(path)) : target);
  // Unpacked aside and renamed, so that a copy that fails leaves nothing that looks like one that did not.
  const aside = asideIn(dirname(finalPath));
  const stopMinding = minding(aside);
  try {
    const remote = await run({ guest, path }, [packScript, 'sh', dirname(path), basename(path)]);
    const local = spawn('tar', ['-x', '--no-same-owner', '-C', aside], { stdio: ['pipe', 'ignore', 'pipe'] });
    const localExit = exitOf(local);
    remote.output('stdout', (bytes) => writeTo(local, bytes));
    const complaints = errorsOf(remote, local);
    remote.endInput();
    const { code } = await remote.end;
    local.stdin!.end();
    const localCode = await localExit;
    if (code !== 0) throw copyError(`${guest}:${path}`, complaints.guest() || complaints.host());
    if (localCode !== 0) throw unpackError(finalPath, complaints.host());
    const unpacked = onlyEntry(aside);
    if (unpacked === undefined) throw copyError(`${guest}:${path}`, 'the guest sent more than was asked for');
    // For anybody else, tar(1) leaves out these bits, and the kernel refuses devices.
    if (process.getuid!() === 0) disarm(Buffer.from(aside));
    const there = lookAt(finalPath, lstatSync);
    if (there !== undefined && (there.isDirectory() || lstatSync(unpacked).isDirectory())) {
      const what = there.isDirectory() ? 'directory' : 'file';
      throw new LodgeError('copy-failed', `there is a ${what} of that name already`, {
        where: finalPath,
        fix: 'give another name, or remove it first',
      });
    }
    moveTo(unpacked, finalPath);
    return { from: `${guest}:${path}`, to: finalPath };
  } finally {
    discard(Buffer.from(aside));
    stopMinding();
  }
}

/** The path of what is in a directory, if it is one thing. Its bytes are kept: they need not be UTF-8. */
function onlyEntry(directory: string): Buffer | undefined {
  const [name, ...more] = readdirSync(directory, { encoding: 'buffer' });
  return name === undefined || more.length > 0 ? undefined : inside(Buffer.from(directory), name);
}

function inside(directory: Buffer, name: Buffer): Buffer {
  return Buffer.concat([directory, Buffer.from('/'), name]);
}

/** Where a file is put: what a link leads to, as with cp(1). A device or a pipe would be replaced by the file. */
function placeFor(path: string): string {
  const link = lookAt(path, lstatSync);
  if (link === undefined) return path;
  const found = lookAt(path);
  if (found?.isFile() === true || found?.isDirectory() === true) {
    return link.isSymbolicLink() ? realpathSync(path) : path;
  }
  throw new LodgeError(
    'copy-failed',
    found === undefined ? 'a link that leads nowhere is there' : 'no file is there',
    {
      where: path,
      fix: 'give another name, or remove it first',
    },
  );
}

/**
 * Makes what came out of a guest harmless to root, who owns it here, whoever owned it there: devices are refused, and
 * no program takes its owner's rights.
 */
function disarm(directory: Buffer): void {
  for (const name of readdirSync(directory, { encoding: 'buffer' })) {
    const path = inside(directory, name);
    const stats = lstatSync(path);
    if (stats.isDirectory()) disarm(path);
    else if (stats.isBlockDevice() || stats.isCharacterDevice()) {
      throw new LodgeError('copy-failed', 'a device of the guest is none here', { where: name.toString() });
    } else if (stats.isFile() && (stats.mode & 0o6000) !== 0) chmodSync(path, stats.mode & 0o1777);
  }
}

/** Renames; a directory that may not be written could not be moved, as the kernel writes its `..`. */
function moveTo(path: Buffer, finalPath: string): void {
  const stats = lstatSync(path);
  const mode = stats.mode & 0o7777;
  const isLocked = stats.isDirectory() && (mode & 0o200) === 0;
  if (isLocked) chmodSync(path, mode | 0o200);
  renameSync(path, finalPath);
  if (isLocked) chmodSync(finalPath, mode);
}

/** Removes a directory and all in it, also what may not be written. */
function discard(directory: Buffer): void {
  unlock(directory);
  rmSync(directory.toString(), { recursive: true, force: true });
}

function unlock(directory: Buffer): void {
  chmodSync(directory, 0o700);
  for (const name of readdirSync(directory, { encoding: 'buffer' })) {
    const path = inside(directory, name);
    if (lstatSync(path).isDirectory()) unlock(path);
  }
}

/** Removes a directory when this process is told to end. @returns what undoes this */
function minding(directory: string): () => void {
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  const handlers = names.map((name) => {
    const handler = (): void => {
      discard(Buffer.from(directory));
      dieOf(name);
    };
    process.on(name, handler);
    return [name, handler] as const;
  });
  return () => {
    for (const [name, handler] of handlers) process.removeListener(name, handler);
  };
}

function asideIn(directory: string): string {
  try {
    return mkdtempSync(join(directory, '.lodge-cp-'));
  } catch (cause) {
    throw new LodgeError('copy-failed', `nothing can be written there: ${(cause as Error).message}`, {
      where: directory,
      cause,
    });
  }
}

async function copyIn(source: string, { guest, path }: GuestPath): Promise<void> {
  if (lookAt(source) === undefined) {
    const isLink = lookAt(source, lstatSync) !== undefined;
    throw new LodgeError('copy-failed', isLink ? 'this link leads nowhere' : 'there is no such file', {
      where: source,
      fix: 'check the path',
    });
  }
  // What a link leads to, under the name of the link, as out of a guest.
  const from = realpathSync(source);
  const names = [basename(from), basename(resolve(source))];
  const remote = await run({ guest, path }, [unpackScript, 'sh', path, ...names]);
  const local = spawn('tar', ['-c', '-C', dirname(from), '--', basename(from)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const complaints = errorsOf(remote, local);
  const localExit = exitOf(local);
  for await (const piece of local.stdout!) await remote.write(piece as Buffer);
  remote.endInput();
  const { code } = await remote.end;
  // Each side complains of what the other has not sent, too: who failed first is told.
  if ((await localExit) !== 0) throw copyError(source, complaints.host() || complaints.guest());
  if (code !== 0) throw copyError(`${guest}:${path}`, complaints.guest());
}

/** Runs a script of the shell that deals with a path in a guest. */
async function run({ guest, path }: GuestPath, script: readonly string[]): Promise<RemoteSession> {
  const user = thisUser();
  // Files are ours on both sides, whoever the image's commands run as.
  const flags = { tty: false, env: {}, user: user.name };
  // Where we are may not be there in the guest: only a path that is relative to it needs that.
  const place = path.startsWith('/') ? { cwd: '/' } : {};
  const { plan } = (await locateGuest(guest)).guest;
  return execInGuest(guest, requestOf(['sh', '-c', ...script], { ...flags, ...place }, plan, user, false));
}

/** What is at a path of the host, if anything is. @throws LodgeError `copy-failed` where that cannot be known */
function lookAt(path: string, look: typeof statSync | typeof lstatSync = statSync): Stats | undefined {
  try {
    return look(path, { throwIfNoEntry: false });
  } catch (cause) {
    throw new LodgeError('copy-failed', `it cannot be looked at: ${(cause as Error).message}`, {
      where: path,
      fix: 'check the path',
      cause,
    });
  }
}

function writeTo(child: ChildProcess, bytes: Buffer): Promise<void> {
  return new Promise((done) => child.stdin!.write(bytes, () => done()));
}

/** Collects what each side complains about, bounded. */
function errorsOf(remote: RemoteSession, local: ChildProcess): { guest(): string; host(): string } {
  const texts = { guest: '', host: '' };
  const adderTo = (side: 'guest' | 'host') => (bytes: Buffer | string) => {
    if (texts[side].length < 4096) texts[side] += bytes.toString();
  };
  const addHost = adderTo('host');
  remote.output('stderr', adderTo('guest'));
  local.stderr!.on('data', addHost);
  local.stdin?.on('error', () => {});
  local.once('error', (cause) => addHost(`tar cannot be started on this host: ${cause.message}\n`));
  return { guest: () => texts.guest.trim(), host: () => texts.host.trim() };
}

/** The host's tar could not unpack. Of a full disk, GNU's says how little it wrote, when it wrote anything. */
function unpackError(path: string, complaints: string): LodgeError {
  if (!/No space left on device|Disk quota exceeded|: Wrote only \d+ of/.test(complaints)) {
    return copyError(path, complaints);
  }
  const full = Object.assign(new Error(complaints), { code: 'ENOSPC' });
  return retold(ownFileError('copying out of the guest', path, full), { detail: complaints });
}

/** How a program ended; one that could not be started has failed. */
function exitOf(child: ChildProcess): Promise<number> {
  return new Promise((done) => {
    child.once('error', () => done(1));
    child.once('close', (code) => done(code ?? 1));
  });
}

function copyError(where: string, complaints: string): LodgeError {
  return new LodgeError('copy-failed', 'the copy failed', {
    where,
    ...(complaints === '' ? {} : { detail: complaints }),
    fix: 'both sides need tar; look at the paths and permissions above',
  });
}

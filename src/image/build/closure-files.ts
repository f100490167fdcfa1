/** Finding all files of this host that programs need: the files themselves, with every link on the way to them. */

import {
  accessSync,
  constants,
  lstatSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  type Stats,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { LodgeError } from '../../errors.ts';
import { runProgram } from '../../process.ts';
import { homeDir } from '../../this-user.ts';
import { withFileBytes } from '../bytes.ts';
import {
  basicDirectories,
  basicFiles,
  basicLinks,
  basicPrograms,
  type Family,
  families,
  leftOut,
  neverTaken,
  sharedDirectories,
} from './closure-rules.ts';
import { readDynamic } from './dynamic.ts';
import { findLibrary, hostLinkerCache, type LibrarySearch, rpathOf } from './libraries.ts';
import { interpretersOf } from './script.ts';

export interface HostFile {
  path: string;
  kind: 'directory' | 'symlink' | 'file';
  stats: Stats;
  /** Of a symlink. */
  target?: string;
  /** A directory all of whose content was taken: something new in it changes the closure. */
  whole?: true;
}

export interface HostFiles {
  /** In the order of their paths: a directory comes before what is in it. */
  files: HostFile[];
  /** The rules that applied. */
  families: string[];
  /** Libraries that programs name and this host does not have. */
  missing: string[];
  /** Files this user cannot read: they are left out. */
  unreadable: string[];
}

const mostLinks = 40;
const askLimitMs = 20_000;

/**
 * Collects programs and all they need.
 * @param programs absolute paths
 * @param include more files and whole directories; programs among them are looked into as well
 * @throws LodgeError `host-io` for an included path that is not there
 */
export async function collectHostFiles(
  programs: readonly string[],
  include: readonly string[],
): Promise<HostFiles> {
  const search: LibrarySearch = {
    cache: await hostLinkerCache(),
    libraryPath: (process.env.LD_LIBRARY_PATH ?? '').split(':').filter((part) => part !== ''),
  };
  const collector = new Collector(search);
  for (const path of programs) collector.takeProgram(path);
  for (const path of include) {
    if (collector.takeAll(resolve(path), 'program')) continue;
    throw new LodgeError('host-io', 'what is to be included is not there or not readable', { where: path });
  }
  for (const name of basicPrograms) collector.takeNamed(name);
  for (const path of basicFiles) collector.takeAll(path, 'plugin');
  for (const path of [...basicLinks, ...basicDirectories.map(([path]) => path)]) collector.take(path);
  await collector.askPrograms();
  return collector.result();
}

/** The path of a program as a shell would find it. @throws LodgeError `image-build` */
export function findProgram(name: string): string {
  const path = name.includes('/') ? resolve(name) : onPath(name);
  const stats = path === undefined ? undefined : statsThrough(path);
  if (path === undefined || stats === undefined) {
    throw new LodgeError('image-build', `there is no program '${name}' on this host`, {
      fix: 'check the name and PATH, or install it; a program that is only in an image runs with --image',
    });
  }
  if (!stats.isFile() || !isAllowed(path, constants.X_OK | constants.R_OK)) {
    throw new LodgeError('image-build', `'${name}' is not a program that you can read and run`, {
      where: path,
      fix: stats.isFile() ? `chmod +rx ${path}` : 'give a file',
    });
  }
  return path;
}

const systemPath = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

function onPath(name: string): string | undefined {
  const path = (process.env.PATH ?? '').split(':').filter((directory) => directory.startsWith('/'));
  return [...path, ...systemPath]
    .map((directory) => join(directory, name))
    .find((candidate) => statsThrough(candidate)?.isFile() === true && isAllowed(candidate, constants.X_OK));
}

/** What a path leads to, links followed; nothing when that is nothing. */
function statsThrough(path: string): Stats | undefined {
  try {
    return lstatSync(realpathSync(path));
  } catch {
    return undefined;
  }
}

function isAllowed(path: string, how: number): boolean {
  try {
    accessSync(path, how);
    return true;
  } catch {
    return false;
  }
}

/** Directories that no rule means, whatever an interpreter says it searches. */
function isTooMuch(path: string): boolean {
  return path === homeDir() || sharedDirectories.test(path) || leftOut.some((pattern) => pattern.test(path));
}

/** A missing library of a program is worth telling; a plugin that cannot be loaded is passed over by its program. */
type Role = 'program' | 'plugin';

class Collector {
  private readonly search: LibrarySearch;
  private readonly files = new Map<string, HostFile>();
  private readonly examined = new Set<string>();
  private readonly whole = new Set<string>();
  private readonly applied = new Set<Family>();
  private readonly missing = new Set<string>();
  private readonly unreadable = new Set<string>();
  /** Programs still to be asked where they search, by the path they are started with. */
  private questions = new Map<string, string[]>();
  private readonly asked = new Set<string>();

  constructor(search: LibrarySearch) {
    this.search = search;
  }

  result(): HostFiles {
    return {
      files: [...this.files.values()].sort((a, b) => (a.path < b.path ? -1 : 1)),
      families: [...this.applied].map(({ name }) => name).sort(),
      missing: [...this.missing].sort(),
      unreadable: [...this.unreadable].sort(),
    };
  }

  takeNamed(name: string): void {
    const path = onPath(name);
    if (path !== undefined) this.takeProgram(path);
  }

  takeProgram(path: string): void {
    const real = this.take(path);
    if (real === undefined || this.files.get(real)?.kind !== 'file') return;
    this.examine(real, 'program', []);
    const asks = families.find(({ when, asks }) => asks !== undefined && when.test(real))?.asks;
    if (asks !== undefined) this.questions.set(path, asks);
  }

  /** Takes one path with every link on the way; gives where it leads, or nothing when that cannot be had. */
  take(path: string): string | undefined {
    const parts = path.split('/');
    let at = '';
    for (let links = 0; parts.length > 0; ) {
      const part = parts.shift()!;
      if (part === '' || part === '.') continue;
      if (part === '..') {
        at = at === '' ? '' : dirname(at) === '/' ? '' : dirname(at);
        continue;
      }
      const next = `${at}/${part}`;
      const file = this.takeOne(next);
      if (file === undefined) return undefined;
      if (file.kind !== 'symlink') {
        at = next;
        continue;
      }
      if (++links > mostLinks) return undefined;
      if (file.target!.startsWith('/')) at = '';
      parts.unshift(...file.target!.split('/'));
    }
    return at === '' ? '/' : at;
  }

  private takeOne(path: string): HostFile | undefined {
    const known = this.files.get(path);
    if (known !== undefined) return known;
    if (neverTaken.some((pattern) => pattern.test(path))) return undefined;
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats === undefined) return undefined;
    let file: HostFile;
    if (stats.isDirectory()) file = { path, kind: 'directory', stats };
    else if (stats.isSymbolicLink()) file = { path, kind: 'symlink', stats, target: readlinkSync(path) };
    else if (!stats.isFile()) return undefined;
    else if (isAllowed(path, constants.R_OK)) file = { path, kind: 'file', stats };
    else {
      this.unreadable.add(path);
      return undefined;
    }
    this.files.set(path, file);
    return file;
  }

  /** Takes a path and, if it leads to a directory, all that is in it. Whether there was anything. */
  takeAll(path: string, role: Role): boolean {
    const real = this.take(path);
    const file = real === undefined ? undefined : this.files.get(real);
    if (real === undefined || file === undefined) return false;
    if (file.kind === 'file') this.examine(real, role, []);
    else if (!this.whole.has(real) && (role === 'program' || !isTooMuch(real))) this.takeWhole(file, role);
    return true;
  }

  private takeWhole(directory: HostFile, role: Role): void {
    this.whole.add(directory.path);
    if (!isAllowed(directory.path, constants.R_OK | constants.X_OK)) {
      this.unreadable.add(directory.path);
      return;
    }
    directory.whole = true;
    for (const entry of readdirSync(directory.path, { withFileTypes: true })) {
      const path = join(directory.path, entry.name);
      if (leftOut.some((pattern) => pattern.test(path))) continue;
      const real = entry.isSymbolicLink() ? this.take(path) : path;
      // A link upwards would take half the host with it; a dangling one is kept as it is.
      if (real === undefined || real === '/' || path.startsWith(`${real}/`)) continue;
      this.takeAll(path, role);
    }
  }

  /** Looks into a file for what it needs. */
  private examine(real: string, role: Role, inheritedRpath: readonly string[]): void {
    if (this.examined.has(real)) return;
    this.examined.add(real);
    const { mode } = this.files.get(real)!.stats;
    const isLibrary = /\.so(?:\.|$)/.test(real);
    if (role === 'plugin' && !isLibrary && (mode & 0o111) === 0) return;
    const head = withFileBytes(real, (bytes) => ({ text: bytes.read(0, 256), elf: readDynamic(bytes) }));
    for (const family of families) this.applyFamily(family, real);
    for (const name of interpretersOf(head.text)) {
      if (name.startsWith('/')) this.takeProgram(name);
      else this.takeNamed(name);
    }
    const { elf } = head;
    if (elf === undefined) return;
    if (elf.interpreter !== undefined) this.takeAll(elf.interpreter, 'plugin');
    const requester = { path: real, elf, inheritedRpath };
    const rpath = rpathOf(requester);
    for (const name of elf.needed) {
      const found = findLibrary(name, requester, this.search);
      if (found.length === 0 && role === 'program') this.missing.add(name);
      for (const path of found) {
        const library = this.take(path);
        if (library !== undefined && this.files.get(library)?.kind === 'file') {
          this.examine(library, role, rpath);
        }
      }
    }
  }

  private applyFamily(family: Family, real: string): void {
    const match = family.when.exec(real);
    if (match === null) return;
    this.applied.add(family);
    for (const pattern of family.take ?? []) {
      const path = pattern.replace('{dir}', dirname(real)).replace('{1}', match[1] ?? '');
      for (const found of expandPattern(path)) this.takeAll(found, 'plugin');
    }
    for (const name of family.programs ?? []) this.takeNamed(name);
  }

  /** Asks every interpreter where it searches, until none is left: what is there may bring another. */
  async askPrograms(): Promise<void> {
    for (let round = this.questions; round.size > 0; round = this.questions) {
      this.questions = new Map();
      for (const [program, asks] of round) {
        if (this.asked.has(program)) continue;
        this.asked.add(program);
        const { stdout } = await runProgram([program, ...asks], { cwd: '/', timeoutMs: askLimitMs }).catch(
          () => ({ stdout: '' }), // an interpreter that does not run here has nothing to say
        );
        for (const line of stdout.split('\n')) {
          if (line.startsWith('/') && line !== '/') this.takeAll(line, 'plugin');
        }
      }
    }
  }
}

/** The paths that a pattern with `*` in its last name stands for, in order. */
function expandPattern(pattern: string): string[] {
  const path = resolve(pattern);
  const star = path.lastIndexOf('/');
  const [directory, name] = [path.slice(0, star), path.slice(star + 1)];
  const [start, ...rest] = name.split('*');
  if (rest.length === 0) return [path];
  const matcher = new RegExp(
    `^${[start!, ...rest].map((part) => part.replace(/[.+]/g, '\\$&')).join('.*')}$`,
  );
  try {
    return readdirSync(directory === '' ? '/' : directory)
      .filter((entry) => matcher.test(entry))
      .sort()
      .map((entry) => join(directory, entry));
  } catch {
    return [];
  }
}

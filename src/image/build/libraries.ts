/**
 * Where the dynamic linker finds a library, as ld.so(8) says: DT_RPATH, LD_LIBRARY_PATH, DT_RUNPATH, the cache that
 * ldconfig(8) made, the default directories. All candidates of the cache count: which of several builds for
 * different CPUs (glibc-hwcaps) is loaded depends on the CPU of the guest.
 */

import { statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { runProgram } from '../../process.ts';
import { withFileBytes } from '../bytes.ts';
import { type DynamicElf, readDynamic } from './dynamic.ts';

const defaultDirectories = ['/lib64', '/usr/lib64', '/lib', '/usr/lib', '/usr/local/lib'];

/** Library names to paths, from the output of `ldconfig -p`: `\tNAME (FLAGS) => PATH`. */
export function parseLinkerCache(text: string): Map<string, string[]> {
  const cache = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const match = /^\t(\S+) \([^)]*\) => (\/.*)$/.exec(line);
    if (match === null) continue;
    const [, name = '', path = ''] = match;
    cache.set(name, [...(cache.get(name) ?? []), path]);
  }
  return cache;
}

/** The host's cache; empty where there is no glibc. */
export async function hostLinkerCache(): Promise<Map<string, string[]>> {
  const { stdout } = await runProgram(['/sbin/ldconfig', '-p']).catch(() => ({ stdout: '' }));
  return parseLinkerCache(stdout);
}

export interface LibrarySearch {
  cache: ReadonlyMap<string, readonly string[]>;
  /** LD_LIBRARY_PATH, split at its colons. */
  libraryPath: readonly string[];
}

export interface Requester {
  /** The file that needs the library, its links resolved: `$ORIGIN` is its directory. */
  path: string;
  elf: DynamicElf;
  /** DT_RPATH of the programs and libraries that brought it, already expanded; they count for what it needs too. */
  inheritedRpath: readonly string[];
}

/** The directories that a file's own DT_RPATH adds; those of its requesters come after. */
export function rpathOf(requester: Requester): string[] {
  const { elf, path, inheritedRpath } = requester;
  const own = elf.runpath.length > 0 ? [] : elf.rpath.flatMap((part) => expand(part, path, elf));
  return [...own, ...inheritedRpath];
}

/** All files that may be loaded for a library's name; empty when it is not there. */
export function findLibrary(name: string, requester: Requester, search: LibrarySearch): string[] {
  const { elf, path } = requester;
  const fits = (candidate: string): boolean => isLibraryFor(candidate, elf);
  if (name.includes('/')) return fits(name) ? [name] : [];
  const runpath = elf.runpath.flatMap((part) => expand(part, path, elf));
  for (const directory of [...rpathOf(requester), ...search.libraryPath, ...runpath]) {
    const candidate = join(directory, name);
    if (directory.startsWith('/') && fits(candidate)) return [candidate];
  }
  const cached = (search.cache.get(name) ?? []).filter(fits);
  if (cached.length > 0) return [...cached];
  const found = defaultDirectories.map((directory) => join(directory, name)).find(fits);
  return found === undefined ? [] : [found];
}

/** `$ORIGIN`, `$LIB` and `$PLATFORM` of ld.so(8); `$LIB` is one of several names, by distribution. */
function expand(part: string, path: string, elf: DynamicElf): string[] {
  const platform = elf.machine === 183 ? 'aarch64' : elf.bits === 64 ? 'x86_64' : 'i686';
  const base = part
    .replace(/\$(?:ORIGIN\b|\{ORIGIN\})/g, () => dirname(path))
    .replace(/\$(?:PLATFORM\b|\{PLATFORM\})/g, platform);
  const lib = /\$(?:LIB\b|\{LIB\})/g;
  if (!lib.test(base)) return [base];
  return [`lib/${platform}-linux-gnu`, elf.bits === 64 ? 'lib64' : 'lib', 'lib'].map((name) =>
    base.replace(lib, name),
  );
}

/** The linker passes over libraries for other machines. */
function isLibraryFor(path: string, elf: DynamicElf): boolean {
  if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true) return false;
  try {
    const found = withFileBytes(path, readDynamic);
    return found?.bits === elf.bits && found.machine === elf.machine;
  } catch {
    return false; // not readable: the linker could not load it either
  }
}

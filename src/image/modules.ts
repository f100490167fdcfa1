/**
 * The modules of a kernel: which file a name is, what it needs, and in which order to load.
 * Formats: modules.dep(5), and the text files modules.builtin, modules.softdep and modules.alias that depmod(8)
 * writes beside it; section .modinfo of a module (include/linux/moduleparam.h of Linux).
 */

import { readFileSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hostIoError, LodgeError } from '../errors.ts';
import { fixWith, key } from '../fix.ts';
import { bytesOfBuffer } from './bytes.ts';
import { elfSection, readElf } from './elf.ts';

/** What depmod's files say of one kernel's modules. Names have `_` for `-`. */
export interface ModuleTree {
  path: string;
  /** Name → file, relative to the tree. */
  files: Map<string, string>;
  /** File → the files it needs. */
  dependencies: Map<string, string[]>;
  /** Name → names that should be loaded before it if they are there. */
  before: Map<string, string[]>;
  builtin: Set<string>;
}

/** `kernel/drivers/virtio/virtio_pci.ko.xz` → `virtio_pci`; dashes and underscores are the same in names. */
export function moduleName(file: string): string {
  const base = file.slice(file.lastIndexOf('/') + 1).replace(/\.ko(\.(gz|xz|zst))?$/, '');
  return base.replaceAll('-', '_');
}

/**
 * Reads depmod's files.
 * @param path the directory that holds modules.dep
 * @throws LodgeError `kernel-not-found` when there is no modules.dep
 */
export function readModuleTree(path: string): ModuleTree {
  const dependencies = new Map<string, string[]>();
  const files = new Map<string, string>();
  for (const line of linesOf(join(path, 'modules.dep'), true)) {
    const colon = line.indexOf(':');
    if (colon < 1) continue;
    const file = line.slice(0, colon);
    files.set(moduleName(file), file);
    dependencies.set(file, words(line.slice(colon + 1)));
  }
  const before = new Map<string, string[]>();
  for (const line of linesOf(join(path, 'modules.softdep'))) {
    const match = /^softdep\s+(\S+)\s+(.*)$/.exec(line);
    if (match !== null) before.set(moduleName(match[1]!), namesBefore(match[2]!));
  }
  return {
    path,
    files,
    dependencies,
    before,
    builtin: new Set(linesOf(join(path, 'modules.builtin')).map(moduleName)),
  };
}

/** `pre: a b post: c` → a, b. */
function namesBefore(text: string): string[] {
  const before = /(?:^|\s)pre:\s*(.*?)\s*(?:post:|$)/.exec(text)?.[1] ?? '';
  return words(before);
}

/**
 * The files to load for these modules, in an order in which each finds what it needs already there.
 * Built-in modules need no file.
 * @throws LodgeError `kernel-not-found` naming a module that the kernel does not have
 */
export function modulesInLoadOrder(tree: ModuleTree, names: readonly string[]): string[] {
  const ordered: string[] = [];
  const visited = new Set<string>();
  const visit = (file: string): void => {
    if (visited.has(file)) return;
    visited.add(file);
    for (const soft of tree.before.get(moduleName(file)) ?? []) visitSoft(soft);
    for (const needed of tree.dependencies.get(file) ?? []) visit(needed);
    ordered.push(file);
  };
  const visitSoft = (name: string): void => {
    for (const file of filesOf(tree, name)) visit(file);
  };
  for (const name of names) {
    const file = tree.files.get(moduleName(name));
    if (file !== undefined) visit(file);
    else if (!tree.builtin.has(moduleName(name))) throw missingModule(tree, name);
  }
  return ordered;
}

/** The files a name of a soft dependency stands for: a module's own name, or an alias such as `crc32c`. */
function filesOf(tree: ModuleTree, name: string): string[] {
  const own = tree.files.get(moduleName(name));
  if (own !== undefined) return [own];
  if (tree.builtin.has(moduleName(name))) return [];
  const wanted = [`alias ${name} `, `alias ${moduleName(name)} `];
  const providers = linesOf(join(tree.path, 'modules.alias'))
    .filter((line) => wanted.some((start) => line.startsWith(start)))
    .map((line) => tree.files.get(moduleName(line.slice(line.lastIndexOf(' ') + 1))))
    .filter((file) => file !== undefined)
    .sort();
  // Of several ciphers or checksums, the one in plain C loads on every CPU.
  const generic = providers.filter((file) => moduleName(file).endsWith('_generic'));
  return generic.length > 0 ? generic : providers;
}

/**
 * The modules that say of themselves that they drive these devices.
 * @param path the directory that holds modules.alias; its patterns are the shell's: `*`, `?` and `[…]`
 * @param devices as the kernel names them: `pci:v00008086d000010D3sv…`
 */
export function modulesForDevices(path: string, devices: readonly string[]): string[] {
  const buses = new Set(devices.map((device) => device.slice(0, device.indexOf(':') + 1)));
  const found = linesOf(join(path, 'modules.alias')).flatMap((line) => {
    const [, pattern = '', name] = line.split(' ');
    if (name === undefined || !buses.has(pattern.slice(0, pattern.indexOf(':') + 1))) return [];
    const matches = expressionOf(pattern);
    return devices.some((device) => matches.test(device)) ? [name] : [];
  });
  return [...new Set(found)].sort();
}

/** A pattern of modules.alias as an expression; what is none matches nothing. */
function expressionOf(pattern: string): RegExp {
  const parts = pattern.split(/(\*|\?|\[[^\]]*\])/).map((part) => {
    if (part === '*') return '.*';
    if (part === '?') return '.';
    return part.startsWith('[') ? part : part.replaceAll(/[.+^${}()|\\\]]/g, '\\$&');
  });
  try {
    return new RegExp(`^${parts.join('')}$`);
  } catch {
    return /(?!)/;
  }
}

function missingModule(tree: ModuleTree, name: string): LodgeError {
  return new LodgeError('kernel-not-found', `the kernel has no module '${name}', and it is not built in`, {
    where: tree.path,
    fix: fixWith`use a kernel that has it: without ${key('kernel')}, Debian's generic kernel is fetched`,
  });
}

/**
 * Writes modules.dep, modules.softdep and modules.alias for a tree of unpacked modules, from what the modules
 * say of themselves. Debian's packages come without these files: depmod, which may not be installed, makes
 * them when a package is installed.
 */
export async function writeModuleFiles(path: string): Promise<void> {
  const files = await findModules(path);
  const byName = new Map(files.map((file) => [moduleName(file), file]));
  const information = new Map<string, Map<string, string[]>>();
  for (const file of files) information.set(file, moduleInformation(await readFile(join(path, file))));
  const direct = (file: string): string[] =>
    (information.get(file)?.get('depends') ?? [])
      .flatMap((list) => list.split(','))
      .map((name) => byName.get(moduleName(name)))
      .filter((needed) => needed !== undefined);
  const lines = files.map((file) => [`${file}:`, ...closureOf(file, direct)].join(' '));
  const listed = (key: string): string[] =>
    files.flatMap((file) =>
      (information.get(file)?.get(key) ?? []).map((value) => `${moduleName(file)} ${value}`),
    );
  const aliases = listed('alias').map((line) => line.replace(/^(\S+) (.*)$/, 'alias $2 $1'));
  await writeFile(join(path, 'modules.dep'), `${lines.join('\n')}\n`);
  await writeFile(
    join(path, 'modules.softdep'),
    `${listed('softdep')
      .map((line) => `softdep ${line}`)
      .join('\n')}\n`,
  );
  await writeFile(join(path, 'modules.alias'), `${aliases.join('\n')}\n`);
}

/** All that a module needs; as in depmod's files, what must be loaded first comes last. */
function closureOf(file: string, direct: (file: string) => string[]): string[] {
  const order: string[] = [];
  const visit = (each: string): void => {
    if (order.includes(each)) return;
    for (const needed of direct(each)) visit(needed);
    if (!order.includes(each)) order.push(each);
  };
  for (const needed of direct(file)) visit(needed);
  return order.reverse();
}

async function findModules(path: string): Promise<string[]> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ko'))
    .map((entry) => join(entry.parentPath, entry.name).slice(path.length + 1))
    .sort();
}

/** The key=value strings of a module's .modinfo section; a key may come more than once. */
export function moduleInformation(module: Buffer): Map<string, string[]> {
  const bytes = bytesOfBuffer(module);
  const elf = readElf(bytes);
  const section = elf === undefined ? undefined : elfSection(bytes, elf, '.modinfo');
  const information = new Map<string, string[]>();
  for (const text of (section?.toString('utf8') ?? '').split('\0')) {
    const equals = text.indexOf('=');
    if (equals < 1) continue;
    const key = text.slice(0, equals);
    const value = text.slice(equals + 1);
    if (value !== '') information.set(key, [...(information.get(key) ?? []), value]);
  }
  return information;
}

function linesOf(path: string, required = false): string[] {
  try {
    return readFileSync(path, 'utf8')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw hostIoError('reading', path, cause);
    if (!required) return [];
    throw new LodgeError('kernel-not-found', 'the list of the kernel’s modules is missing', {
      where: path,
      fix: 'install the modules with `make modules_install`, or run `depmod` on them',
    });
  }
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}

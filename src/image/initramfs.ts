/** The first root of a guest: lodge's agent as /init and the modules it loads before anything else. */

import { statSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hostIoError, LodgeError } from '../errors.ts';
import { requireBuiltIn } from './built-in.ts';
import { type CpioEntry, writeCpio } from './cpio.ts';
import { compressionOf, decompress } from './decompress.ts';
import type { Kernel } from './image.ts';
import { moduleName, modulesInLoadOrder, readModuleTree } from './modules.ts';
import { openStore, type Store } from './store.ts';

export interface InitramfsRequest {
  /** The agent: a static binary. */
  agentPath: string;
  /** What stands for the agent's content, if the caller knows it; else its size and time do. */
  agentId?: string;
  /** Without `modulesPath`, everything must be built in. */
  kernel: Omit<Kernel, 'source'>;
  /** Names of modules that the guest needs, in the order wanted; what they depend on is found here. */
  modules: readonly string[];
  /** Names of those that it can do without. */
  optional?: readonly string[];
  store?: Store;
}

export interface Initramfs {
  path: string;
  /** The object of the store that holds it. */
  id: string;
  /** Paths in the guest, in the order in which they must be loaded; also in /lodge/modules.order. */
  modulePaths: string[];
}

/** What the store remembers of one. */
interface RememberedInitramfs {
  bytes: number;
  modulePaths: string[];
}

/** Raised when what is put into an initramfs changes, or what is remembered of it. */
const formatVersion = 2;
const fileName = 'initramfs.cpio';
const directories = ['dev', 'proc', 'sys', 'run', 'lodge', 'lodge/modules'];

/**
 * The initramfs for a kernel and a set of modules, made once and kept. It is not compressed: unpacking under
 * emulation costs more than reading a few megabytes. When it is there already this costs a small read and a few
 * stats.
 * @throws LodgeError `kernel-not-found` naming what the kernel does not have; `host-io`, `disk-full`
 */
export async function buildInitramfs(request: InitramfsRequest): Promise<Initramfs> {
  const { kernel, modules, store = openStore() } = request;
  const key = `initramfs ${JSON.stringify([formatVersion, agentIdOf(request), kernel.id, kernel.release, modulesIdOf(kernel.modulesPath), modules])}`;
  const known = store.recall(key);
  const id = known?.objects[0];
  if (known !== undefined && id !== undefined) {
    const path = join(store.objectPath(id), fileName);
    const { bytes, modulePaths } = known.value as RememberedInitramfs;
    // A kernel that finds half of it panics, and says nothing of why.
    if (statSync(path, { throwIfNoEntry: false })?.size === bytes) return { path, id, modulePaths };
  }
  const { entries, modulePaths } = await contentsOf(request);
  const cpio = writeCpio(entries);
  const object = await store.put('initramfs', `Linux ${kernel.release}`, async (directory) => {
    await writeFile(join(directory, fileName), cpio);
  });
  const value: RememberedInitramfs = { bytes: cpio.length, modulePaths };
  await store.remember(key, [object.id], value);
  return { path: join(object.path, fileName), id: object.id, modulePaths };
}

function agentIdOf({ agentId, agentPath }: InitramfsRequest): string {
  if (agentId !== undefined) return agentId;
  try {
    const { size, mtimeMs } = statSync(agentPath);
    return `${agentPath} ${size} ${mtimeMs}`;
  } catch (cause) {
    throw hostIoError('reading the agent', agentPath, cause);
  }
}

/** Modules may be replaced under the same kernel; depmod then writes its list again. */
function modulesIdOf(modulesPath: string | undefined): string {
  if (modulesPath === undefined) return '';
  const stats = statSync(join(modulesPath, 'modules.dep'), { throwIfNoEntry: false });
  return stats === undefined ? '' : `${stats.size} ${stats.mtimeMs}`;
}

async function contentsOf(
  request: InitramfsRequest,
): Promise<{ entries: CpioEntry[]; modulePaths: string[] }> {
  const { modulesPath } = request.kernel;
  const files = await neededFiles(request);
  const modulePaths = files.map((file) => `/lodge/modules/${moduleName(file)}.ko`);
  const entries: CpioEntry[] = [
    ...directories.map((path) => ({ kind: 'directory' as const, path })),
    // The kernel opens it for init's standard streams before anything is mounted on /dev.
    { kind: 'device', path: 'dev/console', type: 'character', major: 5, minor: 1 },
    { kind: 'file', path: 'init', data: await readWhole(request.agentPath), mode: 0o755 },
    {
      kind: 'file',
      path: 'lodge/modules.order',
      data: Buffer.from(modulePaths.map((path) => `${path}\n`).join('')),
    },
  ];
  for (const [index, file] of files.entries()) {
    entries.push({
      kind: 'file',
      path: modulePaths[index]!,
      data: await readModule(join(modulesPath!, file)),
    });
  }
  return { entries, modulePaths };
}

/** Files of modules below the kernel's modules, in their order. */
async function neededFiles({ kernel, modules, optional = [] }: InitramfsRequest): Promise<string[]> {
  if (kernel.modulesPath === undefined) {
    await requireBuiltIn(
      kernel,
      modules.filter((name) => !optional.includes(name)),
    );
    return [];
  }
  const tree = readModuleTree(kernel.modulesPath);
  const wanted = modules.filter((name) => !optional.includes(name) || tree.files.has(moduleName(name)));
  return modulesInLoadOrder(tree, wanted);
}

/** A module as the kernel's init_module(2) takes it: unpacked. */
async function readModule(path: string): Promise<Buffer> {
  const data = await readWhole(path);
  const compression = compressionOf(data);
  const module = compression === undefined ? data : await decompress(data, compression, path);
  if (module.toString('latin1', 0, 4) === '\x7fELF') return module;
  throw new LodgeError('image-unreadable', 'this is not a kernel module', { where: path });
}

async function readWhole(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw hostIoError('reading', path, cause);
  }
}

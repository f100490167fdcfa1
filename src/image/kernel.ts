/** Which kernel a guest boots when nobody names one, and user-mode Linux. */

import { accessSync, constants, existsSync, readdirSync, statSync } from 'node:fs';
import { release as runningRelease } from 'node:os';
import { delimiter, join } from 'node:path';
import { LodgeError } from '../errors.ts';
import { missingProgram, runProgram } from '../process.ts';
import type { Kernel } from './image.ts';
import { fetchDebianKernel, type Progress } from './kernel-debian.ts';
import { type KernelRecord, kernelFromFile, kernelOf } from './kernel-file.ts';
import { modulesInLoadOrder, readModuleTree } from './modules.ts';
import { openStore, type Store, sha256Of } from './store.ts';

/** What a kernel must have, as modules or built in, for guests with a shared or block root and a channel. */
export const neededModules: readonly string[] = [
  'virtio_pci',
  'virtio_console',
  'virtio_blk',
  'virtio_net',
  '9p',
  '9pnet_virtio',
  'overlay',
];

/** Where the host keeps its kernels; given by tests. */
export interface HostKernels {
  release: string;
  bootPath: string;
  modulesPath: string;
}

export interface DefaultKernelOptions {
  onProgress?: Progress;
  host?: HostKernels;
}

interface DefaultRecord {
  /** What was seen of the host's own kernel when this was chosen. */
  seen: string;
  kernel: KernelRecord;
  object?: string;
}

/**
 * The kernel for guests that bring none: the host's own if it can be read and has what is needed, else Debian's
 * generic one, fetched once. Costs a small read and a few stats when the choice was made before.
 * @throws LodgeError `kernel-not-found`, `disk-full`, `image-unreadable`
 */
export async function defaultKernel(store: Store, options: DefaultKernelOptions = {}): Promise<Kernel> {
  const host = options.host ?? { release: runningRelease(), bootPath: '/boot', modulesPath: '/lib/modules' };
  const key = `default kernel on ${host.release}`;
  const seen = seenOf(host);
  const known = store.recall(key);
  const record = known?.value as DefaultRecord | undefined;
  if (record?.seen === seen) {
    const kernel = kernelOf(store, record.kernel, record.object);
    const stats = statSync(kernel.vmlinuxPath, { throwIfNoEntry: false });
    if (stats?.size === record.kernel.vmlinuxBytes) return kernel;
  }
  const own = await hostKernel(store, host);
  if (own !== undefined) {
    const object = store.objectIdOf(own.vmlinuxPath);
    await rememberDefault(store, key, {
      seen,
      kernel: recordOf(own),
      ...(object === undefined ? {} : { object }),
    });
    return own;
  }
  const { object, record: fetched } = await fetchDebianKernel(store, options.onProgress);
  await rememberDefault(store, key, { seen, kernel: fetched, object });
  return kernelOf(store, fetched, object);
}

async function rememberDefault(store: Store, key: string, record: DefaultRecord): Promise<void> {
  await store.remember(key, record.object === undefined ? [] : [record.object], record);
}

function recordOf(kernel: Kernel): KernelRecord {
  const { id, release, source, vmlinuxPath, modulesPath } = kernel;
  const vmlinuxBytes = statSync(vmlinuxPath).size;
  return {
    id,
    release,
    source,
    vmlinux: vmlinuxPath,
    vmlinuxBytes,
    ...(modulesPath === undefined ? {} : { modules: modulesPath }),
  };
}

/** The host's own kernel; nothing when it cannot be read, lacks a needed module, or has no PVH entry. */
export async function hostKernel(store: Store, host: HostKernels): Promise<Kernel | undefined> {
  const path = join(host.bootPath, `vmlinuz-${host.release}`);
  const modulesPath = join(host.modulesPath, host.release);
  try {
    accessSync(path, constants.R_OK);
    modulesInLoadOrder(readModuleTree(modulesPath), neededModules);
    return await kernelFromFile(store, path, { modulesPath, source: 'host' });
  } catch (cause) {
    // A host whose own kernel will not do is no fault: there is another way. A full disk is one.
    if (cause instanceof LodgeError && !['kernel-not-found', 'image-unreadable'].includes(cause.code))
      throw cause;
    return undefined;
  }
}

/** What can be told of the host's kernel without opening it: changes when it comes, goes or is replaced. */
function seenOf(host: HostKernels): string {
  return [join(host.bootPath, `vmlinuz-${host.release}`), join(host.modulesPath, host.release, 'modules.dep')]
    .map((path) => statSync(path, { throwIfNoEntry: false }))
    .map((stats) => (stats === undefined ? 'absent' : `${stats.size} ${stats.mtimeMs}`))
    .join(', ');
}

/** User-mode Linux: a kernel that is a program of the host. */
export interface UmlKernel {
  /** Changes when the program does. */
  id: string;
  path: string;
  release: string;
  /** The directory with its modules.dep; none for a kernel that was built without modules. */
  modulesPath?: string;
}

const umlModules = '/usr/lib/uml/modules';
const umlVersionLimitMs = 10_000;

/**
 * Finds user-mode Linux on the PATH.
 * @throws LodgeError `missing-program`
 */
export async function umlKernel(store: Store = openStore()): Promise<UmlKernel> {
  const path = (process.env.PATH ?? '')
    .split(delimiter)
    .map((directory) => join(directory || '.', 'linux.uml'))
    .find((file) => existsSync(file));
  if (path === undefined) throw missingProgram('linux.uml');
  const { size, mtimeMs } = statSync(path);
  const key = `user-mode Linux in ${path}, ${size} bytes of ${mtimeMs}`;
  let release = store.recall(key)?.value;
  if (typeof release !== 'string') {
    release = await askRelease(path);
    await store.remember(key, [], release);
  }
  const modulesPath = join(umlModules, String(release));
  return {
    id: sha256Of(key),
    path,
    release: String(release),
    ...(existsSync(modulesPath) ? { modulesPath } : {}),
  };
}

async function askRelease(path: string): Promise<string> {
  const { stdout } = await runProgram([path, '--version'], { timeoutMs: umlVersionLimitMs });
  const release = stdout.trim().split('\n').at(-1) ?? '';
  if (/^\d+\.\S+$/.test(release)) return release;
  const only = readdirSync(umlModules);
  if (only.length === 1) return only[0]!;
  throw new LodgeError('image-unreadable', 'the user-mode kernel does not say which Linux it is', {
    where: path,
  });
}

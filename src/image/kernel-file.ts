/** A kernel from a file: taken apart once, kept in the store, found again by the file's size and time. */

import { constants, type Stats, statSync } from 'node:fs';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { hostIoError, LodgeError } from '../errors.ts';
import { type Bytes, bytesOfBuffer, withFileBytes } from './bytes.ts';
import { type BootHeader, readBootHeader, releaseOf, unpackVmlinux } from './bzimage.ts';
import { compressionOf, decompress } from './decompress.ts';
import { type Elf, elfEndBytes, elfMachine, hasPvhEntry, readElf } from './elf.ts';
import { identifyBytes } from './identify.ts';
import type { Kernel } from './image.ts';
import { hashFile } from './object.ts';
import { type Store, sha256Of } from './store.ts';

/** With all its debugging information a kernel is about as large as this; Node cannot hold much more at once. */
const largestKernelBytes = 2 ** 31 - 1;

/** A kernel as the store keeps it: `kernel.json` in its object. Relative paths are inside the object. */
export interface KernelRecord {
  id: string;
  release: string;
  source: Kernel['source'];
  vmlinux: string;
  vmlinuxBytes: number;
  modules?: string;
}

/**
 * The kernel that a file holds: a bzImage, whose ELF kernel is unpacked into the store, a compressed vmlinux,
 * or a vmlinux, which is used where it is.
 * @param options.modulesPath the directory with its modules.dep; without it, /lib/modules/RELEASE of the host or of the
 *   tree that the file is in, as ROOT/boot/FILE; without that too, the kernel is taken to have everything built in
 * @throws LodgeError `kernel-not-found` when there is no such file; `image-unreadable` for a file that is
 *   damaged, truncated, or not a kernel with a PVH entry
 */
export async function kernelFromFile(
  store: Store,
  path: string,
  options: { modulesPath?: string; source?: Kernel['source'] } = {},
): Promise<Kernel> {
  const file = resolve(path);
  const stats = statOf(file);
  const key = `kernel in ${file}, ${stats.size} bytes of ${stats.mtimeMs}`;
  const source = options.source ?? 'file';
  const known = recallKernel(store, key);
  const kernel = known ?? (await takeApart(store, file, source));
  if (known === undefined) {
    await store.remember(key, kernel.object === undefined ? [] : [kernel.object], kernel.record);
  }
  const found = kernelOf(store, kernel.record, kernel.object);
  const modulesPath =
    options.modulesPath === undefined ? modulesOf(file, found.release) : resolve(options.modulesPath);
  return { ...found, source, ...(modulesPath === undefined ? {} : { modulesPath }) };
}

interface StoredKernel {
  record: KernelRecord;
  /** The object that holds it; none for a vmlinux used where it is. */
  object?: string;
}

/** The kernel remembered for a key, if its file is still there and whole. */
export function recallKernel(store: Store, key: string): StoredKernel | undefined {
  const known = store.recall(key);
  if (known === undefined) return undefined;
  const record = known.value as KernelRecord;
  const [object] = known.objects;
  const stats = statSync(kernelOf(store, record, object).vmlinuxPath, { throwIfNoEntry: false });
  if (stats?.size !== record.vmlinuxBytes) return undefined;
  return { record, ...(object === undefined ? {} : { object }) };
}

/** The kernel that an object of the store holds. @throws LodgeError `image-unreadable` */
export async function kernelOfObject(store: Store, object: string): Promise<Kernel> {
  await store.manifest(object);
  const path = join(store.objectPath(object), 'kernel.json');
  try {
    return kernelOf(store, JSON.parse(await readFile(path, 'utf8')) as KernelRecord, object);
  } catch (cause) {
    throw new LodgeError('image-unreadable', 'a stored kernel is damaged: kernel.json cannot be read', {
      where: path,
      fix: `rm -rf ${store.objectPath(object)}; the kernel is fetched again by itself`,
      cause,
    });
  }
}

/**
 * Keeps a kernel in the store, so that an image can refer to it.
 * @returns the object that holds it: the one it lies in already, else a new one with a copy of its vmlinux
 */
export async function storeKernel(store: Store, kernel: Kernel): Promise<string> {
  const object = store.objectIdOf(kernel.vmlinuxPath);
  if (object !== undefined) return object;
  const { id } = await store.put('kernel', kernel.vmlinuxPath, async (directory) => {
    const { id, release, source, modulesPath } = kernel;
    await copyFile(kernel.vmlinuxPath, join(directory, 'vmlinux'), constants.COPYFILE_FICLONE);
    const { size } = statSync(join(directory, 'vmlinux'));
    const modules = modulesPath === undefined ? {} : { modules: modulesPath };
    const record: KernelRecord = { id, release, source, vmlinux: 'vmlinux', vmlinuxBytes: size, ...modules };
    await writeFile(join(directory, 'kernel.json'), `${JSON.stringify(record)}\n`);
  });
  return id;
}

/** A record with its paths made absolute. */
export function kernelOf(store: Store, record: KernelRecord, object: string | undefined): Kernel {
  const inside = (path: string): string =>
    object === undefined ? path : resolve(store.objectPath(object), path);
  return {
    id: record.id,
    release: record.release,
    vmlinuxPath: inside(record.vmlinux),
    ...(record.modules === undefined ? {} : { modulesPath: inside(record.modules) }),
    source: record.source,
  };
}

/** Unpacks the kernel of a file into a new object, or, for a vmlinux, describes it where it is. */
async function takeApart(store: Store, file: string, source: Kernel['source']): Promise<StoredKernel> {
  const { header, compression, whole } = withFileBytes(file, (bytes) => {
    const header = readBootHeader(bytes);
    const compression = compressionOf(bytes.read(0, 16));
    // What is plainly something else, perhaps a disk of a terabyte, is not read whole.
    if (header === undefined && compression === undefined) checkElf(bytes, file);
    if (bytes.size > largestKernelBytes) throw notKernel(bytes, file);
    return { header, compression, whole: bytes.read(0, bytes.size) };
  });
  if (header === undefined && compression === undefined) {
    const release = checkVmlinux(bytesOfBuffer(whole), whole, file);
    const { sha256, bytes } = await hashFile(file);
    return { record: { id: sha256, release, source, vmlinux: file, vmlinuxBytes: bytes } };
  }
  let record: KernelRecord | undefined;
  const { id } = await store.put('kernel', file, async (directory) => {
    record = await unpackKernel(whole, header, file, directory, source);
    await writeFile(join(directory, 'kernel.json'), `${JSON.stringify(record)}\n`);
  });
  return { record: record!, object: id };
}

/**
 * Unpacks a compressed kernel into `directory`/vmlinux and checks it.
 * @param header its boot header, if it has one
 */
export async function unpackKernel(
  data: Buffer,
  header: BootHeader | undefined,
  where: string,
  directory: string,
  source: Kernel['source'],
): Promise<KernelRecord> {
  const image = header === undefined ? await decompress(data, compressionOf(data) ?? 'gzip', where) : data;
  // A bzImage can itself be compressed once more.
  const found = header ?? readBootHeader(bytesOfBuffer(image));
  const vmlinux = found === undefined ? image : await unpackVmlinux(bytesOfBuffer(image), found, where);
  const release = releaseOf(found?.version ?? '') ?? checkVmlinux(bytesOfBuffer(vmlinux), vmlinux, where);
  checkVmlinux(bytesOfBuffer(vmlinux), vmlinux, where, release);
  await writeFile(join(directory, 'vmlinux'), vmlinux);
  return { id: sha256Of(vmlinux), release, source, vmlinux: 'vmlinux', vmlinuxBytes: vmlinux.length };
}

/**
 * Checks that an unpacked kernel is whole and can be entered by QEMU's PVH loader; gives its release.
 * @throws LodgeError `image-unreadable` with what was found instead
 */
function checkVmlinux(bytes: Bytes, data: Buffer, where: string, release?: string): string {
  const elf = checkElf(bytes, where);
  if (elfEndBytes(elf) > bytes.size) {
    throw new LodgeError(
      'image-unreadable',
      `a kernel that is cut short: ${elfEndBytes(elf)} bytes expected`,
      {
        where,
        detail: `the file has ${bytes.size}`,
        fix: 'copy or build it again',
      },
    );
  }
  if (!hasPvhEntry(bytes, elf)) {
    throw new LodgeError('image-unreadable', 'the kernel has no PVH entry, by which lodge starts kernels', {
      where,
      fix: 'build it with CONFIG_PVH=y; without a command, a bzImage boots without that',
    });
  }
  const found = release ?? releaseIn(data);
  if (found !== undefined) return found;
  throw new LodgeError('image-unreadable', 'this ELF file does not say which Linux it is', {
    where,
    fix: 'give a bzImage or a vmlinux of Linux',
  });
}

function checkElf(bytes: Bytes, where: string): Elf {
  const elf = readElf(bytes);
  if (elf === undefined || elf.machine !== elfMachine.x86_64) throw notKernel(bytes, where);
  return elf;
}

function notKernel(bytes: Bytes, where: string): LodgeError {
  return new LodgeError('image-unreadable', 'this is not an x86-64 Linux kernel', {
    where,
    detail: `it is ${identifyBytes(bytes).description}`,
    fix: 'give a bzImage or a vmlinux',
  });
}

/** The release in the banner that every Linux kernel holds (init/version.c of Linux). */
function releaseIn(data: Buffer): string | undefined {
  const banner = 'Linux version ';
  for (let at = data.indexOf(banner); at !== -1; at = data.indexOf(banner, at + 1)) {
    const release = releaseOf(data.toString('latin1', at + banner.length, at + banner.length + 80));
    if (release !== undefined) return release;
  }
  return undefined;
}

function modulesOf(file: string, release: string): string | undefined {
  return ['/lib/modules', ...['lib', 'usr/lib'].map((place) => resolve(file, '../..', place, 'modules'))]
    .map((place) => join(place, release))
    .find((path) => statSync(join(path, 'modules.dep'), { throwIfNoEntry: false }) !== undefined);
}

function statOf(file: string): Stats {
  try {
    const stats = statSync(file);
    if (stats.isFile()) return stats;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw hostIoError('reading', file, cause);
    throw new LodgeError('kernel-not-found', 'there is no such kernel file', {
      where: file,
      fix: 'check the path',
    });
  }
  throw new LodgeError('kernel-not-found', 'this is not a file', {
    where: file,
    fix: 'give a bzImage or a vmlinux',
  });
}

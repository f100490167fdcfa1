/** What can be done to images of the store by name: list, inspect, import, remove. */

import { chmod } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { hostIoError, LodgeError } from '../errors.ts';
import { runProgram } from '../process.ts';
import { importArchive } from './archive.ts';
import { runLong } from './build/long-run.ts';
import { bytesOf, usedObjects } from './collect.ts';
import { checkNotFull } from './full-disk.ts';
import { type Identity, identify } from './identify.ts';
import type { CommandDefaults, Firmware, Kernel } from './image.ts';
import { checkName } from './image-name.ts';
import { storeKernel } from './kernel-file.ts';
import type { ObjectFile } from './object.ts';
import { type ImageRecord, imageObjectKind, putImage, readRecord } from './record.ts';
import { adviceFor, checkedInitrd, checkUsable, unusable } from './resolve.ts';
import type { NamedImage, Store } from './store.ts';

export interface ImageSummary {
  name: string;
  id: string;
  kind: ImageRecord['kind'] | 'damaged';
  /** Format of a disk or kernel, file system of a root. */
  format: string;
  source: string;
  created: string;
  bytes: number;
}

/** The images of the store in the order of their names. A damaged one is listed as such. */
export async function listImages(store: Store): Promise<ImageSummary[]> {
  const summaries: ImageSummary[] = [];
  for (const { name, id } of await store.names()) {
    try {
      const { source, created, files } = await store.manifest(id);
      const record = await readRecord(store, id);
      const format =
        record.kind === 'linux' ? record.root.filesystem : record.kind === 'iso' ? 'iso' : record.format;
      summaries.push({ name, id, kind: record.kind, format, source, created, bytes: bytesOf({ files }) });
    } catch (error) {
      if (!(error instanceof LodgeError)) throw error;
      summaries.push({ name, id, kind: 'damaged', format: '', source: error.message, created: '', bytes: 0 });
    }
  }
  return summaries;
}

export interface ImageInspection extends NamedImage {
  record: ImageRecord;
  source: string;
  created: string;
  bytes: number;
  files: ObjectFile[];
  /** Guests that run from it. */
  usedBy: { host: string; guest: string }[];
}

/** All that is known of an image. @throws LodgeError `image-not-found`, `image-unreadable` */
export async function inspectImage(store: Store, name: string): Promise<ImageInspection> {
  const image = await store.resolve(name);
  const { source, created, files } = await store.manifest(image.id);
  const record = await readRecord(store, image.id);
  return {
    ...image,
    record,
    source,
    created,
    bytes: bytesOf({ files }),
    files,
    usedBy: await usersOf(store, image.id),
  };
}

async function usersOf(store: Store, id: string): Promise<{ host: string; guest: string }[]> {
  const leases = await store.leases();
  return leases
    .filter(({ objects }) => objects.includes(id))
    .map(({ host, guest, name = guest }) => ({ host, guest: name }));
}

/**
 * Removes a name, and its content when nothing else leads to it.
 * @throws LodgeError `image-not-found`; `image-in-use` when a guest runs from it
 */
export async function removeImage(store: Store, name: string): Promise<{ id: string; freedBytes: number }> {
  const found = (await store.names()).find((image) => image.name === name);
  // A damaged image cannot be resolved, and must be removable all the same.
  const { id } = found ?? (await store.resolve(name));
  const users = await usersOf(store, id);
  if (users.length > 0) {
    const { guest, host } = users[0]!;
    const isHere = host === hostname();
    throw new LodgeError('image-in-use', `the guest '${guest}' on ${host} runs from '${name}'`, {
      fix: isHere
        ? `stop it first: lodge stop ${guest}`
        : `stop it there first, or end its job; where it was killed and ${host} runs on, lodge image gc there lets go of it`,
    });
  }
  await store.forgetName(name);
  if ((await usedObjects(store, 0)).has(id)) return { id, freedBytes: 0 };
  const freedBytes = await store.manifest(id).then(bytesOf, () => 0);
  await store.discard(id);
  return { id, freedBytes };
}

export interface ImportOptions {
  name: string;
  /** Goes with a kernel. */
  initrd?: string;
  /** The kernel that a root brings, instead of the default one. */
  kernel?: Kernel;
  defaults?: CommandDefaults;
  firmware?: Firmware;
  /** Where it is from, for people, when the file was unpacked from there. */
  source?: string;
  /** See `ResolveOptions`; what the disk is based on is taken into the import. */
  allowBacking?: boolean;
  /** Ends the work; nothing is left of it. */
  signal?: AbortSignal;
}

/**
 * Copies a kernel, disk, CD or packed root into the store under a name, or reads back an exported image. OCI
 * images must be unpacked and packed before: that is building, not importing.
 * @throws LodgeError `image-not-found`, `image-unreadable`, `disk-full`, `spec-value` for the name
 */
export async function importImage(store: Store, file: string, options: ImportOptions): Promise<NamedImage> {
  checkName(options.name);
  const path = resolve(file);
  const identity = identify(path);
  const stored =
    identity.kind === 'export'
      ? await importArchive(store, path, options.signal)
      : await importFile(store, path, identity, options);
  await store.name(options.name, stored.id);
  return { name: options.name, ...stored };
}

/**
 * Refuses what would go nowhere: a kernel or an initrd that what lies at a path does not boot with. What cannot be
 * imported at all is left to the import to tell.
 * @throws LodgeError `usage`; `image-not-found`
 */
export function checkCompanions(path: string, given: { kernel?: string; initrd?: string }): void {
  const { kind, description } = identify(path);
  if (kind === 'unknown' || kind === 'compressed' || kind === 'directory') return;
  const refuse = (flag: string, belongs: string): LodgeError =>
    new LodgeError('usage', `${flag} goes with ${belongs}, and this is no such thing: ${description}`, {
      where: path,
      fix: `leave out ${flag}`,
    });
  if (given.initrd !== undefined && kind !== 'kernel') throw refuse('--initrd', 'a kernel');
  if (given.kernel !== undefined && kind !== 'filesystem' && kind !== 'oci')
    throw refuse('--kernel', 'a root file system or container image');
}

async function importFile(store: Store, path: string, identity: Identity, options: ImportOptions) {
  checkUsable(path, identity, options);
  const record = await recordFor(store, identity, options);
  if (record === undefined) {
    throw unusable(path, `this cannot be imported: ${identity.description}`, adviceFor(identity, path));
  }
  const initrd = options.initrd === undefined ? undefined : checkedInitrd(options.initrd);
  const { signal } = options;
  const fill = async (directory: string): Promise<ImageRecord> => {
    const target = join(directory, record.kind === 'linux' ? record.root.file : record.file);
    if (record.kind === 'disk' && record.format === 'qcow2') {
      const firmware = await copyQcow2(path, target, identity, signal);
      return { ...record, firmware: options.firmware ?? firmware ?? record.firmware };
    }
    await copy(path, target, signal);
    if (record.kind === 'kernel' && initrd !== undefined)
      await copy(initrd, join(directory, initrdFile), signal);
    return record;
  };
  return putImage(store, options.source ?? path, record, fill, signal);
}

const initrdFile = 'initrd';

async function recordFor(
  store: Store,
  identity: Identity,
  options: ImportOptions,
): Promise<ImageRecord | undefined> {
  const { initrd, kernel, defaults, firmware } = options;
  switch (identity.kind) {
    case 'kernel': {
      const { format } = identity;
      return {
        kind: 'kernel',
        file: 'kernel',
        format,
        ...(initrd === undefined ? {} : { initrd: initrdFile }),
      };
    }
    case 'disk': {
      const { format } = identity;
      return { kind: 'disk', file: `disk.${format}`, format, firmware: firmware ?? identity.firmware };
    }
    case 'iso':
      return { kind: 'iso', file: 'cd.iso', firmware: firmware ?? identity.firmware };
    case 'filesystem': {
      const { filesystem } = identity;
      if (filesystem === 'ext4') return undefined;
      const own = kernel === undefined ? undefined : { object: await storeKernel(store, kernel) };
      return {
        kind: 'linux',
        root: { file: `root.${filesystem}`, filesystem },
        ...(own === undefined ? {} : { kernel: { ...own, ...outsideModules(store, kernel) } }),
        ...(defaults === undefined ? {} : { defaults }),
      };
    }
    default:
      return undefined;
  }
}

/** Modules that are not in the store stay where they are. */
function outsideModules(store: Store, kernel: Kernel | undefined): { modulesPath?: string } {
  const modulesPath = kernel?.modulesPath;
  return modulesPath === undefined || store.objectIdOf(modulesPath) !== undefined ? {} : { modulesPath };
}

/** Copies a file, sharing blocks and keeping holes where the filesystem can. */
async function copy(from: string, to: string, signal: AbortSignal | undefined): Promise<void> {
  const argv = ['cp', '--reflink=auto', '--sparse=auto', '--no-preserve=all', '--', from, to];
  const result = await runLong({ argv, signal });
  if (result.code !== 0) {
    checkNotFull(`copying ${basename(from)}`, to, result);
    throw hostIoError(`copying ${basename(from)}`, from, new Error(result.stderr.trim()));
  }
  await chmod(to, 0o644);
}

/**
 * Copies a qcow2 disk. One that is based on other files is made whole. qemu-img, where it is installed, checks
 * the copy more deeply than can be done at each start.
 * @returns what can boot it, which of a disk that is based on others is known only when it is whole
 */
async function copyQcow2(
  from: string,
  to: string,
  identity: Identity,
  signal: AbortSignal | undefined,
): Promise<Firmware | undefined> {
  const isWhole = identity.kind === 'disk' && identity.backing === undefined && identity.hasDataFile !== true;
  if (isWhole) await copy(from, to, signal);
  else {
    const argv = ['qemu-img', 'convert', '-f', 'qcow2', '-O', 'qcow2', from, to];
    const result = await runLong({ argv, signal });
    checkNotFull(`copying ${basename(from)}`, to, result);
    if (result.code !== 0) {
      throw new LodgeError('image-unreadable', 'this qcow2 disk cannot be made whole', {
        where: from,
        detail: result.stderr.trim(),
        fix: 'see that all files that it is based on are there, and whole',
      });
    }
  }
  try {
    const { code, stdout, stderr } = await runProgram(['qemu-img', 'check', '-f', 'qcow2', to]);
    // 0 is sound, 3 has leaked clusters, which cost space only (qemu-img(1)).
    if (code !== 0 && code !== 3) {
      throw new LodgeError('image-unreadable', 'this qcow2 disk is damaged', {
        where: from,
        detail: `${stdout}${stderr}`.trim().split('\n').slice(0, 8).join('\n'),
        fix: 'copy or download it again, or try `qemu-img check -r all` on a copy',
      });
    }
  } catch (error) {
    if (!(error instanceof LodgeError && error.code === 'missing-program')) throw error;
  }
  const copied = identify(to);
  return copied.kind === 'disk' ? copied.firmware : undefined;
}

/** Whether an object is an image, not a kernel or something made in passing. */
export async function isImage(store: Store, id: string): Promise<boolean> {
  return (await store.manifest(id)).kind === imageObjectKind;
}

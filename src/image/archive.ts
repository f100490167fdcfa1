/**
 * An image as one file, to carry it to another host: a plain tar archive whose first member lists the objects in
 * it. The same image gives the same bytes everywhere. Objects are checked by their ids when they are read back.
 */

import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, readFile, rename, rm, symlink } from 'node:fs/promises';
import { basename, dirname, join, posix, resolve } from 'node:path';
import { hostIoError, LodgeError } from '../errors.ts';
import { replacedFile } from '../replaced-file.ts';
import { type Bytes, openFileBytes } from './bytes.ts';
import { exportManifestName } from './identify.ts';
import { damageOf, flush, isInside, type ObjectFile } from './object.ts';
import type { Store, StoredObject } from './store.ts';
import { type TarMember, tarEnd, tarHeader, tarMembers, tarPadding } from './tar.ts';

interface ArchivedObject {
  id: string;
  kind: string;
  source: string;
  references: string[];
  files: ObjectFile[];
}

interface ExportManifest {
  format: 1;
  /** Those that others refer to come first, the image itself last. */
  objects: ArchivedObject[];
}

const pieceBytes = 1 << 20;
/** A kernel's 4000 modules take half a megabyte of manifest. */
const mostManifestBytes = 64 << 20;

/**
 * Writes an image of the store, with the kernel it brings, to a file. The file appears whole or not at all; one
 * of that name is replaced.
 * @param signal gives up; nothing is left of the file
 * @throws LodgeError `image-not-found`, `image-unreadable` when it is damaged, `disk-full`, `host-io`
 */
export async function exportImage(
  store: Store,
  name: string,
  file: string,
  signal?: AbortSignal,
): Promise<{ path: string; bytes: number }> {
  const image = await store.resolve(name);
  const path = replacedFile(resolve(file));
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.partial`);
  try {
    const handle = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o644);
    let bytes: number;
    try {
      bytes = await writeArchive(store, image.id, (data) => handle.writeFile(data), signal);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
    await flush(dirname(path));
    return { path, bytes };
  } catch (cause) {
    if (cause instanceof LodgeError) throw cause;
    throw hostIoError('exporting', path, cause);
  } finally {
    await rm(temporary, { force: true });
  }
}

/**
 * Writes the same to wherever `write` puts it, piece after piece.
 * @throws LodgeError `image-not-found`, `image-unreadable` when it is damaged; whatever `write` throws
 */
export async function streamImage(store: Store, name: string, write: Write): Promise<void> {
  await writeArchive(store, (await store.resolve(name)).id, write);
}

type Write = (data: Buffer) => Promise<void>;

async function writeArchive(store: Store, id: string, put: Write, signal?: AbortSignal): Promise<number> {
  const objects: ArchivedObject[] = [];
  for (const each of await withReferences(store, id)) {
    const path = store.objectPath(each);
    const faults = await damageOf(path, each, signal);
    if (faults.length > 0) {
      throw new LodgeError('image-unreadable', `the image is damaged: ${faults[0]}`, {
        where: path,
        fix: 'import or build it again',
      });
    }
    const { kind, source, references, files } = await store.manifest(each);
    // Where it came from is of this host: it would make the same image differ.
    objects.push({ id: each, kind, source: basename(source), references, files });
  }
  const manifest = Buffer.from(JSON.stringify({ format: 1, objects } satisfies ExportManifest));
  let bytes = 0;
  const write = async (data: Buffer): Promise<void> => {
    signal?.throwIfAborted();
    await put(data);
    bytes += data.length;
  };
  const member = {
    name: exportManifestName,
    type: 'file' as const,
    bytes: manifest.length,
    mode: 0o644,
    target: '',
  };
  for (const data of [tarHeader(member), manifest, tarPadding(manifest.length)]) await write(data);
  for (const object of objects) {
    for (const file of object.files) {
      const header = memberOf(object.id, file);
      await write(tarHeader(header));
      if (header.type === 'file')
        await writeFileInto(join(store.objectPath(object.id), file.path), header.bytes, write);
    }
  }
  await write(tarEnd);
  return bytes;
}

/** The object with all it refers to, these first. */
async function withReferences(store: Store, id: string): Promise<string[]> {
  const order: string[] = [];
  const visit = async (each: string): Promise<void> => {
    if (order.includes(each)) return;
    for (const other of (await store.manifest(each)).references) await visit(other);
    order.push(each);
  };
  await visit(id);
  return order;
}

function memberOf(id: string, file: ObjectFile): Omit<TarMember, 'at'> {
  const name = `objects/${id.slice(0, 16)}/${file.path}`;
  if ('directory' in file) return { name: `${name}/`, type: 'directory', bytes: 0, mode: 0o755, target: '' };
  if ('link' in file) return { name, type: 'link', bytes: 0, mode: 0o777, target: file.link };
  return { name, type: 'file', bytes: file.bytes, mode: 'executable' in file ? 0o555 : 0o444, target: '' };
}

async function writeFileInto(path: string, bytes: number, write: Write): Promise<void> {
  const source = openFileBytes(path);
  try {
    for (let at = 0; at < bytes; ) {
      const piece = source.read(at, Math.min(pieceBytes, bytes - at));
      if (piece.length === 0)
        throw new LodgeError('image-unreadable', 'a file changed while it was read', { where: path });
      await write(piece);
      at += piece.length;
    }
  } finally {
    source.close();
  }
  await write(tarPadding(bytes));
}

/**
 * Reads an exported image into the store.
 * @param signal gives up: the promise is rejected with its reason, and nothing is kept
 * @returns the object of the image
 * @throws LodgeError `image-unreadable` when anything in it is not as its checksums say; `disk-full`
 */
export async function importArchive(store: Store, path: string, signal?: AbortSignal): Promise<StoredObject> {
  const bytes = openFileBytes(path);
  try {
    const members = tarMembers(bytes);
    const { objects } = readExportManifest(path, bytes, members.next().value);
    let last: StoredObject | undefined;
    for (const { id, kind, source, references, files } of objects) {
      const fill = async (directory: string) => {
        for (const file of files) {
          signal?.throwIfAborted();
          await extract(path, bytes, members.next().value, memberOf(id, file), directory, file);
        }
        await checkStaysInside(path, directory, files);
        return { references };
      };
      last = await store.put(kind, source, fill, { expected: { id, where: path }, signal });
    }
    return last!;
  } finally {
    bytes.close();
  }
}

function readExportManifest(path: string, bytes: Bytes, member: TarMember | undefined): ExportManifest {
  if (member?.name !== exportManifestName || member.bytes > mostManifestBytes)
    throw broken(path, 'it has no list of contents');
  try {
    const manifest = JSON.parse(bytes.read(member.at, member.bytes).toString()) as ExportManifest;
    if (manifest.format === 1 && manifest.objects.length > 0 && manifest.objects.every(isSound))
      return manifest;
  } catch {
    // told below
  }
  throw broken(path, 'its list of contents is damaged');
}

/** Whether an object's files stay in its directory: each lies in a directory that is listed before it. */
function isSound(object: ArchivedObject): boolean {
  const directories = new Set(['.']);
  const texts = [object.id, object.kind, object.source, ...object.references];
  if (!texts.every((text) => typeof text === 'string') || !/^[0-9a-f]{64}$/.test(object.id)) return false;
  return object.files.every((file) => {
    if (typeof file.path !== 'string' || !isInside(file.path) || !directories.has(dirname(file.path)))
      return false;
    if ('directory' in file) directories.add(file.path);
    return true;
  });
}

/** Modules of a kernel that has none in the store are those of the system. */
const systemModules = /^\/lib\/modules\/[\w.+~-]*\w$/;
const mostRecordBytes = 1 << 20;

/**
 * Refuses an object that would have a guest see other files of the host: whoever made the archive chose their names.
 * @throws LodgeError `image-unreadable`
 */
async function checkStaysInside(
  archive: string,
  directory: string,
  files: readonly ObjectFile[],
): Promise<void> {
  const refuse = (where: string, named: unknown): LodgeError =>
    new LodgeError('image-unreadable', `${where} in this archive names something outside: '${named}'`, {
      where: archive,
      fix: 'do not use this archive: whoever made it may mean harm',
    });
  const leadsOut = (path: string, from = '.'): boolean => !isInside(posix.normalize(posix.join(from, path)));
  for (const file of files) {
    if (!('link' in file)) continue;
    if (file.link.startsWith('/') || leadsOut(file.link, dirname(file.path)))
      throw refuse(file.path, file.link);
  }
  for (const file of files) {
    if (file.path !== 'image.json' && file.path !== 'kernel.json') continue;
    if (!('bytes' in file) || file.bytes > mostRecordBytes)
      throw broken(archive, `its ${file.path} is damaged`);
    const record = parseObject(await readFile(join(directory, file.path), 'utf8'));
    const kernel = file.path === 'kernel.json' ? record : asObject(record?.kernel ?? {});
    if (record === undefined || kernel === undefined) throw broken(archive, `its ${file.path} is damaged`);
    for (const named of [kernel.vmlinux, kernel.modules, kernel.modulesPath]) {
      if (named === undefined || (typeof named === 'string' && systemModules.test(named))) continue;
      if (typeof named !== 'string' || named.startsWith('/') || leadsOut(named))
        throw refuse(file.path, named);
    }
  }
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    return asObject(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function asObject(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
}

async function extract(
  archive: string,
  bytes: Bytes,
  member: TarMember | undefined,
  wanted: Omit<TarMember, 'at'>,
  directory: string,
  file: ObjectFile,
): Promise<void> {
  if (
    member === undefined ||
    member.name !== wanted.name ||
    member.type !== wanted.type ||
    member.bytes !== wanted.bytes
  ) {
    throw broken(archive, `'${file.path}' is missing in it`);
  }
  const path = join(directory, file.path);
  if (member.type === 'directory') await mkdir(path);
  else if (member.type === 'link') await symlink(wanted.target, path);
  else {
    const handle = await open(path, 'wx', 'executable' in file ? 0o755 : 0o644);
    try {
      for (let at = 0; at < member.bytes; ) {
        const piece = bytes.read(member.at + at, Math.min(pieceBytes, member.bytes - at));
        if (piece.length === 0) throw broken(archive, 'it was cut short');
        await handle.writeFile(piece);
        at += piece.length;
      }
    } finally {
      await handle.close();
    }
  }
}

function broken(path: string, what: string): LodgeError {
  return new LodgeError('image-unreadable', `an exported image that cannot be read: ${what}`, {
    where: path,
    fix: 'copy or export it again',
  });
}

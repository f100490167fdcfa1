/** What the store knows of an image: `image.json` in its object. */

import { statSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CommandDefaults, Firmware, Image, Kernel } from './image.ts';
import { kernelOfObject } from './kernel-file.ts';
import { damaged, isInside, type Manifest } from './object.ts';
import type { Store, StoredObject } from './store.ts';

/** File names are relative to the object. */
export type ImageRecord =
  | {
      kind: 'linux';
      root: { file: string; filesystem: 'squashfs' | 'erofs' };
      /** The kernel it brings: an object of the store, with modules from elsewhere if it has none itself. */
      kernel?: { object: string; modulesPath?: string };
      defaults?: CommandDefaults;
    }
  | { kind: 'kernel'; file: string; initrd?: string; format: 'bzimage' | 'multiboot' | 'pvh' }
  | { kind: 'disk'; file: string; format: 'raw' | 'qcow2'; firmware: Firmware }
  | { kind: 'iso'; file: string; firmware: Firmware };

/** The kind of the objects that are images; others hold kernels and what is made from them. */
export const imageObjectKind = 'image';

/**
 * Stores an image: `fill` puts the files that the record names into the directory it is given, and may give a record
 * that says more of them.
 * @param source what it was made from, for people
 */
export function putImage(
  store: Store,
  source: string,
  record: ImageRecord,
  fill: (directory: string) => Promise<ImageRecord> | Promise<void>,
  signal?: AbortSignal,
): Promise<StoredObject> {
  const fillAll = async (directory: string): Promise<{ references: string[] }> => {
    const filled = (await fill(directory)) ?? record;
    await writeFile(join(directory, 'image.json'), `${JSON.stringify(filled)}\n`);
    return {
      references: record.kind === 'linux' && record.kernel !== undefined ? [record.kernel.object] : [],
    };
  };
  return store.put(imageObjectKind, source, fillAll, { signal });
}

/** The record of an image. @throws LodgeError `image-unreadable` when it is missing or damaged */
export async function readRecord(store: Store, id: string): Promise<ImageRecord> {
  const path = store.objectPath(id);
  const text = await readFile(join(path, 'image.json'), 'utf8').catch(() => undefined);
  if (text === undefined) throw damaged(path, 'its image.json is missing');
  const record = parseRecord(text);
  if (record === undefined) throw damaged(path, 'its image.json is damaged');
  return record;
}

function parseRecord(text: string): ImageRecord | undefined {
  try {
    const record = JSON.parse(text) as ImageRecord;
    const files = record.kind === 'linux' ? [record.root.file] : [record.file];
    if (record.kind === 'kernel' && record.initrd !== undefined) files.push(record.initrd);
    const known = ['linux', 'kernel', 'disk', 'iso'].includes(record.kind);
    return known && files.every((file) => typeof file === 'string' && isInside(file)) ? record : undefined;
  } catch {
    return undefined;
  }
}

/**
 * An image of the store as the planner sees it. Its files are checked to be there with the sizes they had.
 * @throws LodgeError `image-unreadable`
 */
export async function imageOfObject(store: Store, id: string, name: string): Promise<Image> {
  const path = store.objectPath(id);
  const manifest = await store.manifest(id);
  const record = await readRecord(store, id);
  const inside = (file: string): string => checkedFile(path, manifest, file);
  switch (record.kind) {
    case 'linux': {
      const { root, defaults } = record;
      const kernel = record.kernel === undefined ? undefined : await kernelOfImage(store, record.kernel);
      return {
        kind: 'linux',
        name,
        id,
        root: { kind: 'block', filesystem: root.filesystem, path: inside(root.file) },
        ...(kernel === undefined ? {} : { kernel }),
        ...(defaults === undefined ? {} : { defaults }),
      };
    }
    case 'kernel': {
      const initrdPath = record.initrd === undefined ? {} : { initrdPath: inside(record.initrd) };
      return { kind: 'kernel', name, kernelPath: inside(record.file), format: record.format, ...initrdPath };
    }
    case 'disk':
      return {
        kind: 'disk',
        name,
        path: inside(record.file),
        format: record.format,
        firmware: record.firmware,
      };
    case 'iso':
      return { kind: 'iso', name, path: inside(record.file), firmware: record.firmware };
  }
}

async function kernelOfImage(store: Store, from: { object: string; modulesPath?: string }): Promise<Kernel> {
  const kernel = await kernelOfObject(store, from.object);
  return from.modulesPath === undefined ? kernel : { ...kernel, modulesPath: from.modulesPath };
}

function checkedFile(directory: string, manifest: Manifest, file: string): string {
  const path = join(directory, file);
  const listed = manifest.files.find((each) => each.path === file);
  const size = statSync(path, { throwIfNoEntry: false })?.size;
  if (listed === undefined || !('bytes' in listed)) throw damaged(directory, `${file} does not belong to it`);
  if (size !== listed.bytes) {
    throw damaged(
      directory,
      size === undefined ? `${file} is missing` : `${file} has ${size} bytes, not ${listed.bytes}`,
    );
  }
  return path;
}

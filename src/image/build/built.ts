/** What building an image gives, and how its root gets into the store. */

import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { LodgeError } from '../../errors.ts';
import type { CommandDefaults } from '../image.ts';
import { kernelFromFile } from '../kernel-file.ts';
import { type ImageRecord, putImage } from '../record.ts';
import type { Store, StoredObject } from '../store.ts';
import type { Filesystem } from './pack.ts';

export interface BuiltImage extends StoredObject {
  /** The name it was given in the store. */
  name?: string;
  filesystem: Filesystem;
  /** Whether it was there already, made from the same things. */
  cached: boolean;
  /** Size of the file system. */
  rootBytes: number;
  elapsedMs: number;
  /** What a person should know: things left out, things that are not as in the original. */
  notes: string[];
}

export interface BuildOptions {
  /** A name for the image in the store. */
  name?: string;
  filesystem?: Filesystem;
  onProgress?: (text: string) => void;
  /** Ends the work; nothing is left of it. */
  signal?: AbortSignal;
}

export interface RootImage {
  /** What it was made from, for people. */
  source: string;
  filesystem: Filesystem;
  defaults?: CommandDefaults;
  /** A kernel file that the image is to boot with. */
  kernelPath?: string;
  /** Writes the file system to the path it is given, and more files beside it. */
  fill: (rootPath: string, directory: string) => Promise<void>;
}

/** Stores a root file system as an image. @throws LodgeError; whatever `fill` throws */
export async function storeRoot(store: Store, image: RootImage): Promise<StoredObject> {
  const { filesystem, defaults, kernelPath } = image;
  const file = `root.${filesystem}`;
  const kernel = kernelPath === undefined ? undefined : await storedKernel(store, kernelPath);
  const record: ImageRecord = {
    kind: 'linux',
    root: { file, filesystem },
    ...(kernel === undefined ? {} : { kernel }),
    ...(defaults === undefined || Object.keys(defaults).length === 0 ? {} : { defaults }),
  };
  return putImage(store, image.source, record, (directory) => image.fill(join(directory, file), directory));
}

async function storedKernel(store: Store, path: string): Promise<{ object: string; modulesPath?: string }> {
  const kernel = await kernelFromFile(store, path);
  const object = store.objectIdOf(kernel.vmlinuxPath);
  if (object === undefined) {
    throw new LodgeError(
      'image-build',
      'an unpacked kernel stays where it is and cannot be part of an image',
      {
        where: path,
        fix: 'give the compressed kernel (bzImage, vmlinuz), or name this one with --kernel when you run',
      },
    );
  }
  const { modulesPath } = kernel;
  const ownModules = modulesPath === undefined || store.objectIdOf(modulesPath) === object;
  return { object, ...(ownModules ? {} : { modulesPath }) };
}

/** Size of the root in a stored image. */
export async function rootBytesOf(object: StoredObject, filesystem: Filesystem): Promise<number> {
  return (await stat(join(object.path, `root.${filesystem}`))).size;
}

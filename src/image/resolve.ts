/** From what a person wrote as an image to the image itself. */

import { existsSync, type Stats, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { hostIoError, LodgeError } from '../errors.ts';
import { type Fix, fixWith, key } from '../fix.ts';
import { shellWord } from '../shell-words.ts';
import { type Identity, identify } from './identify.ts';
import type { Firmware, Image } from './image.ts';
import { imageOfObject } from './record.ts';
import { type Store, sha256Of } from './store.ts';

export type ImageReference = string | { kernel: string; initrd?: string };

export interface ResolveOptions {
  /** Overrides what the content of a disk or CD suggests. */
  firmware?: Firmware;
  /**
   * Takes qcow2 disks that name other files on the host as their base. Such a name comes from the image, and
   * whoever made it could have written any path that this user can read: only for images one made oneself.
   */
  allowBacking?: boolean;
}

/**
 * The image that was meant: `host`, a kernel with its initrd, a path (anything with a `/`), or a name in the
 * store; a name that is not in the store but is a file here is that file.
 * @throws LodgeError `image-not-found` with the nearest name, `image-unreadable` with what was found
 */
export async function resolveImage(
  reference: ImageReference,
  store: Store,
  options: ResolveOptions = {},
): Promise<Image> {
  if (typeof reference !== 'string') return kernelImage(reference);
  if (reference === 'host') return { kind: 'linux', name: 'host', id: 'host', root: { kind: 'host' } };
  if (reference.includes('/')) return imageOfFile(reference, options);
  try {
    const { name, id } = await store.resolve(reference);
    const image = await imageOfObject(store, id, name);
    return 'firmware' in image && options.firmware !== undefined
      ? { ...image, firmware: options.firmware }
      : image;
  } catch (error) {
    const isFile = error instanceof LodgeError && error.code === 'image-not-found' && existsSync(reference);
    if (isFile) return imageOfFile(reference, options);
    throw error;
  }
}

/** A kernel and an initrd that QEMU loads as they are. */
function kernelImage({ kernel, initrd }: { kernel: string; initrd?: string }): Image {
  if (statsOf(kernel) === undefined) {
    throw new LodgeError('kernel-not-found', 'there is no such kernel', {
      where: kernel,
      fix: 'check the path',
    });
  }
  const image = imageOfFile(kernel, {});
  if (image.kind !== 'kernel') {
    throw unusable(
      resolve(kernel),
      `this is not a kernel but ${identify(kernel).description}`,
      fixWith`boot it as ${key('image', kernel)}`,
    );
  }
  return initrd === undefined ? image : { ...image, initrdPath: checkedInitrd(initrd) };
}

/** The path of an initrd, made absolute. @throws LodgeError `image-not-found`, `image-unreadable` */
export function checkedInitrd(initrd: string): string {
  const path = resolve(initrd);
  const stats = statsOf(path);
  if (stats === undefined)
    throw new LodgeError('image-not-found', 'there is no such initrd', {
      where: path,
      fix: 'check the path',
    });
  if (!stats.isFile() || stats.size === 0) {
    throw unusable(path, 'the initrd is empty or not a file', 'give a cpio archive, as mkinitramfs makes');
  }
  return path;
}

function statsOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (cause) {
    throw hostIoError('reading', path, cause);
  }
}

/** An image that is a file of the host, used where it is. */
function imageOfFile(file: string, options: ResolveOptions): Image {
  const path = resolve(file);
  const identity = identify(path);
  checkUsable(path, identity, options);
  const name = file;
  switch (identity.kind) {
    case 'kernel':
      return { kind: 'kernel', name, kernelPath: path, format: identity.format };
    case 'disk': {
      const { format, firmware } = identity;
      return { kind: 'disk', name, path, format, firmware: options.firmware ?? firmware };
    }
    case 'iso':
      return { kind: 'iso', name, path, firmware: options.firmware ?? identity.firmware };
    case 'filesystem': {
      const { filesystem } = identity;
      if (filesystem === 'ext4') break;
      const { size, mtimeMs } = statSync(path);
      const id = sha256Of(`file ${path}, ${size} bytes of ${mtimeMs}`);
      return { kind: 'linux', name, id, root: { kind: 'block', filesystem, path } };
    }
  }
  throw unusable(path, `this cannot be booted as it is: ${identity.description}`, adviceFor(identity, file));
}

/**
 * Refuses what is of a known format but damaged, for another machine, or names other files of the host.
 * @throws LodgeError `image-unreadable`
 */
export function checkUsable(path: string, identity: Identity, options: ResolveOptions): void {
  const { problem, fix, description } = identity;
  if (problem !== undefined)
    throw unusable(path, `${description}: ${problem}`, fix ?? 'copy, download or build it again');
  if (identity.kind !== 'disk' || options.allowBacking === true) return;
  if (identity.backing === undefined && identity.hasDataFile !== true) return;
  throw unusable(
    path,
    identity.backing === undefined
      ? 'this qcow2 disk keeps its data in another file of the host'
      : `this qcow2 disk is based on another file of the host: '${identity.backing}'`,
    'if you made it yourself, make it whole: qemu-img convert -O qcow2 DISK WHOLE.qcow2',
  );
}

/** What to do with something that is not an image as it is. */
export function adviceFor(identity: Identity, file: string): string {
  const word = shellWord(file);
  switch (identity.kind) {
    case 'oci':
    case 'export':
    case 'compressed':
      return `import it first: lodge image import ${word} --name NAME`;
    case 'filesystem':
      return 'pack its files as squashfs or erofs, or put it on a disk with a boot loader';
    case 'directory':
      return `pack it first: mksquashfs ${word} ROOT.squashfs`;
    default:
      return 'give a kernel (bzImage, multiboot, PVH), a disk (raw, qcow2), a CD image, or a squashfs or erofs root';
  }
}

export function unusable(where: string, message: string, fix: Fix): LodgeError {
  return new LodgeError('image-unreadable', message, { where, fix });
}

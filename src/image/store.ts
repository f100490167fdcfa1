/**
 * The store of images and kernels: content-addressed, shared by every lodge process of a user.
 *
 * It works on filesystems without locks or mmap, and from several hosts at once: an object is made in `tmp/`
 * and renamed into place whole; names, keys and leases are small files written the same way.
 *
 *     objects/<id>/        immutable; object.json is the manifest
 *     names/<name>.json    an image's name → object
 *     keys/<sha256>.json   what was made from certain inputs → objects, with a small value
 *     leases/<guest>.json  objects that a running guest uses
 *     tmp/<owner>-<random> being made, or being removed
 */

import { createHash } from 'node:crypto';
import { fstatSync, statSync, utimesSync } from 'node:fs';
import { rename, stat, utimes } from 'node:fs/promises';
import { basename, isAbsolute, join, resolve } from 'node:path';
import { hostIoError, LodgeError, otherPlaceFix } from '../errors.ts';
import { makeDirectory } from '../make-directory.ts';
import { homeDir } from '../this-user.ts';
import { checkName, isName, unknownName } from './image-name.ts';
import { jobOf, type Lease, type LeaseOptions } from './lease.ts';
import { describeFiles, flush, type Manifest, objectIdOf, readManifest, sealObject } from './object.ts';
import { fateOf, thisProcess } from './owner.ts';
import { listDirectory, readJson, removeFile, removeTree, writeJson } from './small-file.ts';
import { ownerOfTag, temporaryName } from './temporary-name.ts';

export interface StoredObject {
  id: string;
  path: string;
}

/** Puts the files of an object into a directory; may give the ids of other objects without which it is of no use. */
export type Fill = (directory: string) => Promise<{ references: string[] } | undefined> | Promise<void>;

export interface PutOptions {
  expected?: { id: string; where: string };
  signal?: AbortSignal | undefined;
}

export interface NamedImage extends StoredObject {
  name: string;
}

/** What a key leads to: objects that exist, and a small value kept beside them. */
export interface KeyRecord {
  objects: string[];
  value: unknown;
}

const dayMs = 86_400_000;
const idPattern = /^[0-9a-f]{64}$/;

/**
 * The store in `directory`, or in `$LODGE_DATA_DIR`, or in lodge's part of the user's data directory (XDG Base
 * Directory Specification). Nothing is made on disk until something is stored.
 * @throws LodgeError `host-io` when `$LODGE_DATA_DIR` is relative: it would be another store in each directory
 */
export function openStore(directory?: string): Store {
  // Set to nothing is not set, as the specification has it.
  const asked = process.env.LODGE_DATA_DIR || undefined;
  if (directory === undefined && asked !== undefined && !isAbsolute(asked)) {
    throw new LodgeError('host-io', 'LODGE_DATA_DIR must be an absolute path', {
      where: asked,
      fix: `LODGE_DATA_DIR=${resolve(asked)}`,
    });
  }
  const data = process.env.XDG_DATA_HOME;
  const base = data?.startsWith('/') ? data : join(homeDir(), '.local/share');
  return new Store(resolve(directory ?? asked ?? join(base, 'lodge')));
}

export class Store {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** Where the object of this id is, or would be. */
  objectPath(id: string): string {
    return join(this.path, 'objects', id);
  }

  /** The id of the object that a path lies in, for leases; nothing for a path outside the store. */
  objectIdOf(path: string): string | undefined {
    const objects = join(this.path, 'objects/');
    const id = path.startsWith(objects) ? path.slice(objects.length).split('/')[0]! : '';
    return idPattern.test(id) ? id : undefined;
  }

  /**
   * Stores what `fill` puts into the directory it is given. When the same content is there already, that is
   * used. Nothing is seen of it until it is whole, and nothing is left of it when `fill` fails.
   * @param source what it was made from, for people
   * @param options.expected what the id must come out as, and the file to blame if not
   * @param options.signal gives up: the promise is rejected with its reason
   * @throws LodgeError `disk-full` or `host-io`; `image-unreadable` when the id is another; whatever `fill` throws
   */
  async put(
    kind: string,
    source: string,
    fill: Fill,
    { expected, signal }: PutOptions = {},
  ): Promise<StoredObject> {
    await this.cleanTemporary();
    const directory = await this.makeTemporary();
    try {
      const filled = (await fill(directory)) ?? { references: [] };
      const files = await describeFiles(directory, signal);
      const id = objectIdOf(kind, files);
      if (expected !== undefined && id !== expected.id) {
        throw new LodgeError('image-unreadable', 'the content is not what its checksum says', {
          where: expected.where,
          fix: 'the file is damaged or was changed: copy or export it again',
        });
      }
      const created = new Date().toISOString();
      const manifest: Manifest = { format: 1, kind, created, source, references: filled.references, files };
      await sealObject(directory, manifest);
      await this.place(directory, this.objectPath(id));
      return { id, path: this.objectPath(id) };
    } catch (cause) {
      if (cause instanceof LodgeError || !isSystemError(cause)) throw cause;
      throw hostIoError(`storing ${source}`, this.path, cause);
    } finally {
      await removeTree(directory);
    }
  }

  /** Renames a finished directory to its final name; one of that name that is whole is as good. */
  private async place(directory: string, target: string): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      try {
        makeDirectory(join(this.path, 'objects'));
        await rename(directory, target);
        await flush(join(this.path, 'objects'));
        return;
      } catch (cause) {
        const { code } = cause as NodeJS.ErrnoException;
        if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw cause;
        if (attempt === 0 && !(await this.isWhole(basename(target)))) {
          await this.discard(basename(target)); // lost some of it, as to a purge of old files: ours replaces it
          continue;
        }
        // As young as one made now: nobody is to collect it before it is named.
        const now = new Date();
        await utimes(target, now, now);
        return;
      }
    }
  }

  /** Whether there is an object of this id with a readable manifest. */
  async has(id: string): Promise<boolean> {
    try {
      await readManifest(this.objectPath(id));
      return true;
    } catch {
      return false;
    }
  }

  /** Whether there is an object of this id, with files of the sizes that its manifest tells. */
  private async isWhole(id: string): Promise<boolean> {
    try {
      const path = this.objectPath(id);
      for (const file of (await readManifest(path)).files) {
        if ('bytes' in file && (await stat(join(path, file.path))).size !== file.bytes) return false;
      }
      return true;
    } catch {
      return false;
    }
  }

  /** Whether there is an object of this id, without looking into it. */
  isPresent(id: string): boolean {
    return statSync(join(this.objectPath(id), 'object.json'), { throwIfNoEntry: false }) !== undefined;
  }

  /** The manifest of an object. @throws LodgeError `image-unreadable` when it is missing or damaged */
  manifest(id: string): Promise<Manifest> {
    return readManifest(this.objectPath(id));
  }

  /** The ids of all objects. */
  async objects(): Promise<string[]> {
    return (await listDirectory(join(this.path, 'objects'))).filter((id) => idPattern.test(id)).sort();
  }

  /** Takes an object out of sight in one step, then removes it. */
  async discard(id: string): Promise<void> {
    const trash = await this.makeTemporary();
    try {
      await rename(this.objectPath(id), join(trash, 'object'));
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'ENOENT')
        throw hostIoError('removing', this.objectPath(id), cause);
    }
    await removeTree(trash);
  }

  /**
   * Gives an object a name; an earlier meaning of the name is replaced.
   * @throws LodgeError `spec-value` for a name that cannot be one, `image-not-found` when the object is gone
   */
  async name(name: string, id: string): Promise<void> {
    checkName(name);
    const gone = () => new LodgeError('image-not-found', `the object ${id} is not in the store`);
    if (!(await this.has(id))) throw gone();
    await this.writeSmall(join('names', `${name}.json`), { format: 1, object: id });
    if (this.isPresent(id)) return;
    await this.forgetName(name); // collected in this very moment
    throw gone();
  }

  /** All names with their objects, in the order of the names. */
  async names(): Promise<NamedImage[]> {
    const files = (await listDirectory(join(this.path, 'names')))
      .filter((file) => file.endsWith('.json'))
      .sort();
    const named: NamedImage[] = [];
    for (const file of files) {
      const name = file.slice(0, -'.json'.length);
      const id = this.lookUp(name);
      if (id !== undefined) named.push({ name, id, path: this.objectPath(id) });
    }
    return named;
  }

  /**
   * The object of a name, its manifest checked.
   * @throws LodgeError `image-not-found` with the nearest name, `image-unreadable` for a damaged object
   */
  async resolve(name: string): Promise<NamedImage> {
    const id = isName(name) ? this.lookUp(name) : undefined;
    if (id === undefined) {
      throw unknownName(
        name,
        (await this.names()).map((image) => image.name),
      );
    }
    await this.manifest(id);
    return { name, id, path: this.objectPath(id) };
  }

  private lookUp(name: string): string | undefined {
    const value = readJson(join(this.path, 'names', `${name}.json`)) as { object?: unknown } | undefined;
    return typeof value?.object === 'string' && idPattern.test(value.object) ? value.object : undefined;
  }

  /** Takes a name away; its object stays until it is collected. */
  async forgetName(name: string): Promise<void> {
    await removeFile(join(this.path, 'names', `${name}.json`));
  }

  /** Remembers what was made from the inputs that `key` names. */
  async remember(key: string, objects: string[], value: unknown = null): Promise<void> {
    await this.writeSmall(join('keys', `${sha256Of(key)}.json`), { format: 1, key, objects, value });
  }

  /**
   * What was remembered for a key, if all its objects are still there. Cheap: one small read and a stat per
   * object, all blocking, because every `lodge run` does it.
   */
  recall(key: string): KeyRecord | undefined {
    const path = join(this.path, 'keys', `${sha256Of(key)}.json`);
    const record = readJson(path, touchDaily) as (Partial<KeyRecord> & { key?: string }) | undefined;
    if (record?.key !== key || !Array.isArray(record.objects)) return undefined;
    const present = record.objects.every((id) => this.isPresent(String(id)));
    return present ? { objects: record.objects, value: record.value } : undefined;
  }

  /** The object that was made from the inputs that `key` names, if nothing of it was lost. */
  async recallWhole(key: string): Promise<string | undefined> {
    const id = this.recall(key)?.objects[0];
    return id !== undefined && (await this.isWhole(id)) ? id : undefined;
  }

  /** Every key with its objects and when it was last used, to the day (milliseconds since 1970). */
  async keys(): Promise<{ key: string; objects: string[]; usedMs: number }[]> {
    const found: { key: string; objects: string[]; usedMs: number }[] = [];
    for (const file of await listDirectory(join(this.path, 'keys'))) {
      const path = join(this.path, 'keys', file);
      const record = readJson(path) as (Partial<KeyRecord> & { key?: string }) | undefined;
      const usedMs = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
      if (typeof record?.key !== 'string' || !Array.isArray(record.objects) || usedMs === undefined) continue;
      found.push({ key: record.key, objects: record.objects, usedMs });
    }
    return found;
  }

  /** Forgets a key. */
  async forget(key: string): Promise<void> {
    await removeFile(join(this.path, 'keys', `${sha256Of(key)}.json`));
  }

  /**
   * Keeps objects from being collected while a guest runs from them.
   * @throws LodgeError `image-not-found` when one of them was collected just before
   */
  async lease(
    guest: string,
    objects: string[],
    { owner = thisProcess(), name }: LeaseOptions = {},
  ): Promise<void> {
    const job = jobOf(process.env);
    const lease: Lease = {
      ...{ host: owner.host, guest, objects, owner },
      ...(name === undefined ? {} : { name }),
      ...(job === undefined ? {} : { job }),
    };
    // A crash of the host ends the guest as well: this need not outlive one.
    await this.writeSmall(leaseFile(owner.host, guest), lease, { durable: false });
    const gone = objects.find((id) => !this.isPresent(id));
    if (gone === undefined) return;
    await this.release(guest, owner.host);
    throw new LodgeError('image-not-found', `the object ${gone} is no longer in the store`, {
      fix: 'try again',
    });
  }

  /** Ends a guest's lease. */
  async release(guest: string, host: string = thisProcess().host): Promise<void> {
    await removeFile(join(this.path, leaseFile(host, guest)));
  }

  /** Leases that count: those of a process that is known to be gone are removed on the way. */
  async leases(): Promise<Lease[]> {
    const living: Lease[] = [];
    for (const file of await listDirectory(join(this.path, 'leases'))) {
      const lease = readJson(join(this.path, 'leases', file)) as Lease | undefined;
      if (lease?.owner === undefined || !Array.isArray(lease.objects)) continue;
      if (fateOf(lease.owner) === 'gone') await removeFile(join(this.path, 'leases', file));
      else living.push(lease);
    }
    return living;
  }

  /** A directory of this process alone, on the store's filesystem. Its name says whose it is. */
  async makeTemporary(): Promise<string> {
    const path = join(this.path, 'tmp', temporaryName());
    try {
      makeDirectory(path, 0o755);
    } catch (cause) {
      throw hostIoError('making a directory', path, cause, otherPlaceFix);
    }
    return path;
  }

  /** Removes what processes that are gone left behind, and what is older than a day. */
  async cleanTemporary(nowMs: number = Date.now()): Promise<void> {
    for (const entry of await listDirectory(join(this.path, 'tmp'))) {
      const path = join(this.path, 'tmp', entry);
      const owner = ownerOfTag(entry);
      const fate = owner === undefined ? 'unknown' : fateOf(owner);
      if (fate === 'alive') continue;
      const age = await stat(path).then(
        ({ mtimeMs }) => nowMs - mtimeMs,
        () => 0,
      );
      if (fate === 'gone' || age > dayMs) await removeTree(path);
    }
  }

  /** Writes a small JSON file so that readers see the old or the new one, never a part. */
  private writeSmall(relative: string, value: unknown, options?: { durable: boolean }): Promise<void> {
    return writeJson(join(this.path, relative), value, join(this.path, 'tmp', temporaryName()), options);
  }
}

function leaseFile(host: string, guest: string): string {
  return join('leases', `${host}-${guest}.json`.replaceAll('/', '_'));
}

export function sha256Of(text: string | Uint8Array): string {
  return createHash('sha256').update(text).digest('hex');
}

/** Keeps a key's time of last use, to the day: what is used is not collected. */
function touchDaily(descriptor: number, path: string): void {
  const now = Date.now();
  if (now - fstatSync(descriptor).mtimeMs > dayMs) utimesSync(path, now / 1000, now / 1000);
}

function isSystemError(cause: unknown): cause is NodeJS.ErrnoException {
  return cause instanceof Error && typeof (cause as NodeJS.ErrnoException).syscall === 'string';
}

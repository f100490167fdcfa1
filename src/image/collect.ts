/** Keeping the store small and sound: what nobody uses is removed, what was changed is told. */

import { rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { damageOf, type Manifest } from './object.ts';
import { listDirectory, readJson, removeTree } from './small-file.ts';
import type { Store } from './store.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

export interface CollectOptions {
  /** Objects younger than this stay: somebody may be about to name or use them. Default: one hour. */
  graceMs?: number;
  /** What was made for a key (kernels, initramfs, built roots) stays this long after its last use. Default: 30 days. */
  keepUnusedMs?: number;
  nowMs?: number;
}

export interface CollectedObject {
  id: string;
  kind: string;
  source: string;
  bytes: number;
}

/**
 * Removes objects that no name, lease or recently used key leads to, directly or through other objects.
 *
 * There are no locks. An object is first taken out of sight, then the references are read again, and if one has
 * come in between it is put back. Whoever writes a reference looks for the object after writing: so either this
 * sees the reference, or they see that the object is gone.
 */
export async function collectGarbage(store: Store, options: CollectOptions = {}): Promise<CollectedObject[]> {
  const { graceMs = hourMs, keepUnusedMs = 30 * dayMs, nowMs = Date.now() } = options;
  await store.cleanTemporary(nowMs);
  const used = await usedObjects(store, nowMs - keepUnusedMs);
  const trash = await store.makeTemporary();
  const taken: string[] = [];
  for (const id of await store.objects()) {
    if (used.has(id) || nowMs - (await madeMs(store.objectPath(id))) < graceMs) continue;
    if (await moved(store.objectPath(id), join(trash, id))) taken.push(id);
  }
  const usedNow = taken.length === 0 ? used : await usedObjects(store, nowMs - keepUnusedMs, trash);
  const collected: CollectedObject[] = [];
  for (const id of taken) {
    if (usedNow.has(id) && (await moved(join(trash, id), store.objectPath(id)))) continue;
    collected.push(describe(id, readJson(join(trash, id, 'object.json')) as Manifest | undefined));
  }
  await removeTree(trash);
  await forgetDeadKeys(store, nowMs - keepUnusedMs);
  return collected;
}

/** Every object that is in use, with all that it needs. */
export async function usedObjects(store: Store, keysSinceMs: number, trash?: string): Promise<Set<string>> {
  const roots = (await store.names()).map(({ id }) => id);
  for (const lease of await store.leases()) roots.push(...lease.objects);
  for (const key of await store.keys()) if (key.usedMs >= keysSinceMs) roots.push(...key.objects);
  const used = new Set<string>();
  for (let id = roots.pop(); id !== undefined; id = roots.pop()) {
    if (used.has(id)) continue;
    used.add(id);
    const places = [store.objectPath(id), ...(trash === undefined ? [] : [join(trash, id)])];
    for (const place of places) {
      const manifest = readJson(join(place, 'object.json')) as Partial<Manifest> | undefined;
      if (Array.isArray(manifest?.references)) roots.push(...manifest.references.map(String));
    }
  }
  return used;
}

/** When an object was put in its place; long ago if it is not there any more. */
async function madeMs(path: string): Promise<number> {
  return stat(path).then(
    ({ ctimeMs }) => ctimeMs,
    () => 0,
  );
}

async function moved(from: string, to: string): Promise<boolean> {
  return rename(from, to).then(
    () => true,
    () => false, // somebody else collected it, or made it again
  );
}

/** Keys whose objects are gone lead nowhere; those not used for long are not missed. */
async function forgetDeadKeys(store: Store, sinceMs: number): Promise<void> {
  for (const { key, objects, usedMs } of await store.keys()) {
    if (usedMs < sinceMs || !objects.every((id) => store.isPresent(id))) await store.forget(key);
  }
}

export function bytesOf(manifest: Pick<Manifest, 'files'>): number {
  return manifest.files.reduce((sum, file) => sum + ('bytes' in file ? file.bytes : 0), 0);
}

function describe(id: string, manifest: Manifest | undefined): CollectedObject {
  if (manifest === undefined) return { id, kind: 'damaged', source: 'unknown', bytes: 0 };
  return { id, kind: manifest.kind, source: manifest.source, bytes: bytesOf(manifest) };
}

export interface Damage {
  id: string;
  path: string;
  faults: string[];
}

/** Reads every byte of every object again, and gives those that are not as they were stored. */
export async function verifyStore(
  store: Store,
  onProgress: (text: string) => void = () => {},
): Promise<Damage[]> {
  const damage: Damage[] = [];
  for (const id of await store.objects()) {
    onProgress(`checking ${id.slice(0, 12)}`);
    const path = store.objectPath(id);
    const faults = await damageOf(path, id);
    if (faults.length > 0) damage.push({ id, path, faults });
  }
  return damage;
}

export interface Usage {
  objects: number;
  bytes: number;
  /** Of these bytes, what {@link collectGarbage} would free after the grace time. */
  unusedBytes: number;
  /** Things in the making, or left by a process that died. */
  temporary: number;
}

/** What the store takes on the disk, by its manifests. */
export async function usageOf(store: Store, nowMs: number = Date.now()): Promise<Usage> {
  const used = await usedObjects(store, nowMs - 30 * dayMs);
  const usage: Usage = { objects: 0, bytes: 0, unusedBytes: 0, temporary: 0 };
  for (const id of await store.objects()) {
    const { bytes } = describe(
      id,
      readJson(join(store.objectPath(id), 'object.json')) as Manifest | undefined,
    );
    usage.objects += 1;
    usage.bytes += bytes;
    if (!used.has(id)) usage.unusedBytes += bytes;
  }
  usage.temporary = (await listDirectory(join(store.path, 'tmp'))).length;
  return usage;
}

/**
 * Clusters on disk: one directory each, named as the cluster, under the user's runtime directory on this host.
 *
 *     clusters/<name>/   cluster.json   what was asked for: guests and fabric (ClusterPlan); lodge apply writes it
 *                        fabric.json    the fabric as it is, with what was changed while it ran; the host agent's
 *                        hosts.json     who the other hosts of the cluster are, where there are any; the host agent's
 *                        secret         from which come the keys of its guests
 *                        events.jsonl   what happened; the host agent's
 *                        bridges        the process that has the namespace of its bridges; host-side/holder.c
 *                        frozen         there while the cluster stands still to be saved
 *
 * Files are replaced whole. What its guests are doing is in their own directories.
 */

import { randomBytes } from 'node:crypto';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { hostIoError, LodgeError } from '../errors.ts';
import type { ClusterHosts } from '../fabric/control.ts';
import type { FabricPlan } from '../fabric/plan.ts';
import { type GuestView, listGuests, moveAway, runtimeDir } from '../guest/state.ts';
import { nearest } from '../nearest.ts';
import type { ActualGuest } from './diff.ts';
import type { ClusterPlan } from './plan.ts';
import { clusterNamePattern } from './spec.ts';

export function clustersDir(): string {
  return join(runtimeDir(), 'clusters');
}

/** The directory a cluster of this name has, or would have. */
export function clusterDir(name: string): string {
  return join(clustersDir(), name);
}

/** Makes the directory when it is not there. */
export function makeClusterDir(name: string): string {
  const dir = clusterDir(name);
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw hostIoError("making the cluster's directory", dir, error);
  }
  return dir;
}

/** What a file is to hold, on the disk already: to put it there takes no more space. */
export interface StagedFile {
  put(): void;
  drop(): void;
}

function stageFile(path: string, text: string): StagedFile {
  const part = `${path}.${process.pid}`;
  const drop = (): void => rmSync(part, { force: true });
  const orDrop = (write: () => void): void => {
    try {
      write();
    } catch (error) {
      drop();
      throw hostIoError("writing the cluster's state", path, error);
    }
  };
  orDrop(() => writeFileSync(part, text, { mode: 0o600 }));
  return { put: () => orDrop(() => renameSync(part, path)), drop };
}

function replaceFile(path: string, text: string): void {
  stageFile(path, text).put();
}

function readFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw hostIoError("reading the cluster's state", path, error);
  }
}

function parsed<T extends { version: 1 }>(text: string | undefined): T | undefined {
  if (text === undefined) return undefined;
  try {
    const value = JSON.parse(text) as T | null;
    return value?.version === 1 ? value : undefined;
  } catch {
    return undefined;
  }
}

export function writeClusterPlan(plan: ClusterPlan): void {
  replaceFile(join(clusterDir(plan.name), 'cluster.json'), JSON.stringify(plan));
}

/** What was asked for; undefined when there is no such cluster, or what tells of it is damaged or of another lodge. */
export function readClusterPlan(name: string): ClusterPlan | undefined {
  return parsed<ClusterPlan>(readFile(join(clusterDir(name), 'cluster.json')));
}

export function writeFabricPlan(plan: FabricPlan): void {
  stageFabricPlan(plan).put();
}

/** For a change that must not be made where it cannot be remembered. */
export function stageFabricPlan(plan: FabricPlan): StagedFile {
  return stageFile(join(clusterDir(plan.name), 'fabric.json'), JSON.stringify(plan));
}

export function readFabricPlan(name: string): FabricPlan | undefined {
  return parsed<FabricPlan>(readFile(join(clusterDir(name), 'fabric.json')));
}

export function removeFabricPlan(name: string): void {
  try {
    unlinkSync(join(clusterDir(name), 'fabric.json'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
      throw hostIoError("removing the cluster's fabric", clusterDir(name), error);
    }
  }
}

/** Who the other hosts of a cluster are; undefined when it was not told of any. */
export function readClusterHosts(name: string): ClusterHosts | undefined {
  return parsed<ClusterHosts & { version: 1 }>(readFile(join(clusterDir(name), 'hosts.json')));
}

/** @param hosts undefined to forget them */
export function writeClusterHosts(name: string, hosts: ClusterHosts | undefined): void {
  const path = join(clusterDir(name), 'hosts.json');
  if (hosts === undefined) rmSync(path, { force: true });
  else replaceFile(path, JSON.stringify({ version: 1, ...hosts }));
}

/** Whether there is to be a fabric for a cluster on this host. */
export function hasFabric(name: string): boolean {
  return readFabricPlan(name) !== undefined || readClusterHosts(name) !== undefined;
}

/** The secret that all keys of a cluster come from; made when there is none. 32 bytes. */
export function clusterSecret(name: string): Buffer {
  const path = join(clusterDir(name), 'secret');
  const known = readFile(path)?.trim();
  if (known !== undefined && /^[0-9a-f]{64}$/.test(known)) return Buffer.from(known, 'hex');
  const made = randomBytes(32);
  replaceFile(path, `${made.toString('hex')}\n`);
  return made;
}

/** Gives a cluster the secret of the one that it goes on from. */
export function writeClusterSecret(name: string, secret: string): void {
  replaceFile(join(clusterDir(name), 'secret'), secret);
}

/**
 * Remembers that a cluster stands still while it is saved.
 * @param part the unfinished checkpoint; undefined when the cluster goes on
 */
export function markFrozen(name: string, part: string | undefined): void {
  const path = join(clusterDir(name), 'frozen');
  if (part === undefined) rmSync(path, { force: true });
  else replaceFile(path, part);
}

/** The unfinished checkpoint for which a cluster stands still; undefined when it does not. */
export function readFrozen(name: string): string | undefined {
  return readFile(join(clusterDir(name), 'frozen'));
}

/** Names of all clusters, also of those of which only a part is left. */
export function listClusters(): string[] {
  try {
    return readdirSync(clustersDir())
      .filter((name) => clusterNamePattern.test(name))
      .sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw hostIoError('listing clusters', clustersDir(), error);
  }
}

/**
 * The cluster of this host that is meant: the one named, or the only one there is.
 * @param elsewhere names of clusters that could have been meant, too, for what is told
 * @throws LodgeError `no-such-cluster`
 */
export function whichCluster(name: string | undefined, elsewhere: readonly string[] = []): string {
  const here = clusterNames();
  const names = [...new Set([...here, ...elsewhere])].sort();
  if (name !== undefined) {
    if (here.includes(name)) return name;
    const near = nearest(name, names);
    throw new LodgeError('no-such-cluster', `there is no cluster named '${name}'`, {
      fix: near !== undefined ? `did you mean '${near}'?` : namesWords(names),
    });
  }
  if (names.length === 1 && here.length === 1) return here[0]!;
  throw new LodgeError(
    'no-such-cluster',
    names.length === 0 ? 'there is no cluster' : 'there are several clusters',
    {
      fix: names.length === 0 ? 'lodge up cluster.yaml' : `name one of them: ${names.join(', ')}`,
    },
  );
}

function namesWords(names: readonly string[]): string {
  return names.length === 0 ? 'there are none: lodge up cluster.yaml' : `clusters: ${names.join(', ')}`;
}

/** All clusters that have left anything: a directory, or guests. */
export function clusterNames(): string[] {
  const ofGuests = listGuestNames().map((name) => name.split('.')[0]!);
  return [...new Set([...listClusters(), ...ofGuests])].sort();
}

/** Full names of guests that are of clusters, without looking at them. */
function listGuestNames(): string[] {
  try {
    return readdirSync(join(runtimeDir(), 'guests')).filter((name) => name.includes('.'));
  } catch {
    return [];
  }
}

/** The guests of a cluster as they are now, whatever its plan says. */
export function guestsOf(name: string): GuestView[] {
  return listGuests((guest) => guest.startsWith(`${name}.`));
}

/** A guest for the diff. */
export function actualGuest(view: GuestView): ActualGuest {
  const filesDigest = readFile(join(view.dir, filesDigestName))?.trim();
  return {
    fullName: view.name,
    status: view.status,
    ...(view.plan.cluster === undefined ? {} : { digest: view.plan.cluster.digest }),
    ...(filesDigest === undefined ? {} : { filesDigest }),
  };
}

const filesDigestName = 'cluster-files';

/** Remembers, in a guest's directory, which names and keys it was given. */
export function writeFilesDigest(guestDirectory: string, digest: string): void {
  replaceFile(join(guestDirectory, filesDigestName), `${digest}\n`);
}

/** Removes a cluster's directory. */
export function discardCluster(name: string): void {
  const away = moveAway(clusterDir(name));
  if (away !== undefined) rmSync(away, { recursive: true, force: true, maxRetries: 5 });
}

/** Removes the directory of a cluster that was refused before anything of it was begun: then there is none. */
export function discardUnbegun(name: string): void {
  if (!hasFabric(name) && guestsOf(name).length === 0) discardCluster(name);
}

/** Identifies a directory, also when its name has become that of another. */
export function directoryIdentity(path: string): string | undefined {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats === undefined ? undefined : `${stats.dev}:${stats.ino}`;
}

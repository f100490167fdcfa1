/**
 * The closure image: programs of this host and all they need, as a root that a guest boots from without sharing
 * anything with the host. Made once for the same files, and used again as long as none of them changed.
 */

import { execFileSync } from 'node:child_process';
import { lstatSync, readFileSync, readlinkSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { homeDir, userName } from '../../this-user.ts';
import { formatSize } from '../../units.ts';
import { type Store, sha256Of } from '../store.ts';
import { type BuildOptions, type BuiltImage, rootBytesOf, storeRoot } from './built.ts';
import { collectHostFiles, findProgram, type HostFile, type HostFiles } from './closure-files.ts';
import { basicDirectories, basicLinks, rulesId } from './closure-rules.ts';
import { filesWithCapabilities } from './file-capabilities.ts';
import { packStream } from './pack.ts';
import { type TreeEntry, treeStream } from './tree-stream.ts';

/** Always squashfs: the other file system cannot be packed as the files are read. */
export interface ClosureOptions extends Omit<BuildOptions, 'filesystem'> {
  /** More files and whole directories of the host. */
  include?: readonly string[];
}

export interface BuiltClosure extends BuiltImage {
  /** Files of the host in it, and their size. */
  files: number;
  contentBytes: number;
  /** The rules that applied: `Open MPI`, `Python`, … */
  families: string[];
  /** Libraries that programs name and this host does not have. */
  missing: string[];
}

const filesystem = 'squashfs';

/** What was taken, kept beside the root in `closure.json`. */
interface ClosureRecord {
  stamps: Stamp[];
  summary: Pick<BuiltClosure, 'files' | 'contentBytes' | 'families' | 'missing' | 'notes'>;
}

/** Path, mode, size and time of change in nanoseconds, where it leads: what tells that a file is still the same. */
type Stamp = [path: string, mode: number, bytes: number, mtimeNs: string, target?: string];

/**
 * Builds the closure image of programs, or gives the one built before from the same files.
 * @param programs names as a shell finds them, or paths
 * @throws LodgeError `image-build`, `missing-program`, `disk-full`
 */
export async function buildClosure(
  programs: readonly string[],
  store: Store,
  options: ClosureOptions = {},
): Promise<BuiltClosure> {
  const startedMs = performance.now();
  const { include = [], name } = options;
  const paths = programs.map(findProgram);
  // LD_LIBRARY_PATH and PATH decide which files are found, so they are part of the request.
  const { LD_LIBRARY_PATH = '', PATH = '' } = process.env;
  const request = JSON.stringify([rulesId, filesystem, paths, include, LD_LIBRARY_PATH, PATH, userLines()]);
  const key = `closure of ${sha256Of(request)}`;
  const known = await recallClosure(store, key);
  const { object, record, cached } = known ?? (await make(paths, store, options, key));
  if (name !== undefined) await store.name(name, object.id);
  return {
    ...object,
    ...(name === undefined ? {} : { name }),
    filesystem,
    cached,
    rootBytes: await rootBytesOf(object, filesystem),
    elapsedMs: performance.now() - startedMs,
    ...record.summary,
  };
}

interface Found {
  object: { id: string; path: string };
  record: ClosureRecord;
  cached: boolean;
}

/** An image made for this request, if every file in it is as it was. */
async function recallClosure(store: Store, key: string): Promise<Found | undefined> {
  const id = await store.recallWhole(key);
  if (id === undefined) return undefined;
  const path = store.objectPath(id);
  try {
    const record = JSON.parse(await readFile(join(path, 'closure.json'), 'utf8')) as ClosureRecord;
    const same = record.stamps.every((stamp) => sameStamp(stamp, stampOf(stamp[0])));
    return same ? { object: { id, path }, record, cached: true } : undefined;
  } catch {
    return undefined; // damaged, or a file is gone: it is made again
  }
}

async function make(
  paths: readonly string[],
  store: Store,
  options: ClosureOptions,
  key: string,
): Promise<Found> {
  const { include = [], onProgress = () => {}, signal } = options;
  onProgress('finding what the programs need');
  const taken = await collectHostFiles(paths, include);
  const record = { stamps: stampsOf(taken.files), summary: await summaryOf(taken) };
  const contentKey = `closure files ${sha256Of(JSON.stringify([rulesId, record.stamps, userLines()]))}`;
  const same = await store.recallWhole(contentKey);
  if (same !== undefined) {
    await store.remember(key, [same]);
    return { object: { id: same, path: store.objectPath(same) }, record, cached: true };
  }
  const { contentBytes } = record.summary;
  const source = `host files of ${paths.join(', ')}`;
  const object = await storeRoot(store, {
    source,
    filesystem,
    fill: async (rootPath, directory) => {
      const onBytes = progressOf(contentBytes, onProgress);
      const entries = entriesOf(taken.files);
      const newestSeconds = entries.reduce((newest, entry) => Math.max(newest, entry.mtimeSeconds), 0);
      const abort = signal === undefined ? {} : { signal };
      await packStream(treeStream(entries, onBytes), rootPath, { newestSeconds, ...abort });
      await writeFile(join(directory, 'closure.json'), `${JSON.stringify(record)}\n`);
    },
  });
  await store.remember(contentKey, [object.id]);
  await store.remember(key, [object.id]);
  return { object, record, cached: false };
}

function progressOf(totalBytes: number, onProgress: (text: string) => void): (bytes: number) => void {
  let [doneBytes, shown] = [0, -1];
  return (bytes) => {
    doneBytes += bytes;
    const percent = Math.floor((doneBytes / totalBytes) * 10) * 10;
    if (percent !== shown) onProgress(`packing ${formatSize(totalBytes)} of host files: ${percent} %`);
    shown = percent;
  };
}

async function summaryOf(taken: HostFiles): Promise<ClosureRecord['summary']> {
  const files = taken.files.filter(({ kind }) => kind === 'file');
  const programs = files.filter(({ stats }) => (stats.mode & 0o111) !== 0).map(({ path }) => path);
  const capable = await filesWithCapabilities(programs);
  const notes = [
    ...taken.missing.map((name) => `the library ${name} is not on this host`),
    ...taken.unreadable.map((path) => `${path} was left out: you cannot read it`),
    ...(capable ?? []).map((file) => `file capabilities are not kept: ${file}`),
    ...(capable === undefined
      ? ['file capabilities are not kept, and without getcap none can be named']
      : []),
  ];
  return {
    files: files.length,
    contentBytes: files.reduce((sum, { stats }) => sum + stats.size, 0),
    families: taken.families,
    missing: taken.missing,
    notes,
  };
}

function stampsOf(files: readonly HostFile[]): Stamp[] {
  // A directory that was only passed through may change without changing anything here.
  return files.filter(({ kind, whole }) => kind !== 'directory' || whole).map(({ path }) => stampOf(path));
}

function stampOf(path: string): Stamp {
  const stats = lstatSync(path, { bigint: true });
  const target = stats.isSymbolicLink() ? [readlinkSync(path)] : [];
  return [path, Number(stats.mode), Number(stats.size), String(stats.mtimeNs), ...target] as Stamp;
}

function sameStamp(a: Stamp, b: Stamp): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

/** The host's files with what a root needs besides, in the order of their paths. */
export function entriesOf(files: readonly HostFile[]): TreeEntry[] {
  const entries = new Map<string, TreeEntry>();
  const root = { uid: 0, gid: 0, mtimeSeconds: 0 };
  for (const [path, mode] of basicDirectories) entries.set(path, { kind: 'directory', path, mode, ...root });
  for (const file of files) {
    const made = entries.get(file.path);
    // A directory of the root has its usual mode, whatever the host's has: /root may be open there.
    if (made === undefined || file.kind !== 'directory') entries.set(file.path, entryOf(file));
  }
  for (const path of basicLinks) {
    if (path.startsWith('/var/') && !entries.has(path)) {
      const target = path === '/var/run' ? '/run' : '/run/lock';
      entries.set(path, { kind: 'symlink', path, target, ...root });
    }
  }
  for (const [path, text] of Object.entries(generatedFiles())) {
    entries.set(path, { kind: 'file', path, mode: 0o644, data: Buffer.from(text), ...root });
  }
  return [...entries.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

function entryOf(file: HostFile): TreeEntry {
  const { path, stats } = file;
  const common = { path, uid: stats.uid, gid: stats.gid, mtimeSeconds: Math.floor(stats.mtimeMs / 1000) };
  if (file.kind === 'symlink') return { kind: 'symlink', target: file.target!, ...common };
  if (file.kind === 'file') {
    return { kind: 'file', mode: stats.mode, bytes: stats.size, from: path, ...common };
  }
  return { kind: 'directory', mode: stats.mode, ...common, mtimeSeconds: 0 };
}

function generatedFiles(): Record<string, string> {
  const [passwd, group] = userLines();
  return {
    '/etc/passwd': passwd,
    '/etc/group': group,
    '/etc/hosts': '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n',
    '/etc/resolv.conf': '',
  };
}

/** /etc/passwd and /etc/group of the host, with this user and group even if they come from elsewhere (LDAP). */
function userLines(): [passwd: string, group: string] {
  const [uid, gid] = [process.getuid!(), process.getgid!()];
  const passwd = readText('/etc/passwd');
  const group = readText('/etc/group');
  const user = `${userName()}:x:${uid}:${gid}::${homeDir()}:/bin/sh\n`;
  return [
    passwd.split('\n').some((line) => line.split(':')[2] === String(uid)) ? passwd : passwd + user,
    group.split('\n').some((line) => line.split(':')[2] === String(gid)) ? group : group + groupLine(gid),
  ];
}

function groupLine(gid: number): string {
  try {
    return execFileSync('getent', ['group', String(gid)], { encoding: 'utf8' });
  } catch {
    return '';
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

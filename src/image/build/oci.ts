/**
 * Importing container images from files: OCI layouts (a directory or an archive) and what `docker save` writes.
 * skopeo reads them and checks the digests, umoci unpacks the layers: nothing of an archive is unpacked by lodge, and
 * all of it happens in a namespace whose root is nobody on the host. No registry is asked.
 */

import { existsSync } from 'node:fs';
import { mkdir, readdir, rm, stat, symlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { LodgeError, retold } from '../../errors.ts';
import { packageOfProgram, runProgram } from '../../process.ts';
import { checkNotFull, whileDiskHasRoom } from '../full-disk.ts';
import { identify } from '../identify.ts';
import { checkName } from '../image-name.ts';
import { openTree, removeTree } from '../small-file.ts';
import type { Store } from '../store.ts';
import { quote } from './bootstrap.ts';
import { type BuildOptions, type BuiltImage, rootBytesOf, storeRoot } from './built.ts';
import { runLong } from './long-run.ts';
import { anyRootNamespace, type RootNamespace } from './namespace.ts';
import { type OciConfig, ociConfig, ociReferences } from './oci-config.ts';
import { lastLines, treePackerArgv } from './pack.ts';
import { makeScratch, packingMark, type Scratch, wasTooSmall } from './scratch.ts';

export interface OciOptions extends BuildOptions {
  /** A kernel file that the image is to boot with. */
  kernelPath?: string;
  /** Where it is from, for people, when `reference` names what was unpacked from there. */
  source?: string;
  /** Where the layers are unpacked; without it, in memory when there is enough. */
  scratch?: Scratch['kind'];
}

const unpackingAnImage = 'unpacking a container image';

type OciForm = 'layout' | 'archive' | 'docker-archive';

/** Which of skopeo's transports reads which form. */
const transports: Readonly<Record<OciForm, string>> = {
  layout: 'oci',
  // Unpacked here: skopeo follows links in it, out of where it unpacks.
  archive: 'oci',
  'docker-archive': 'docker-archive',
};

/** Whether a path, or a path with `:TAG` after it, is a container image. */
export async function isOci(reference: string): Promise<boolean> {
  const { path } = splitTag(reference);
  return existsSync(path) && identify(path).kind === 'oci';
}

/** `PATH` or `PATH:TAG`, where what is before one of the colons is there. The path becomes absolute. */
export function splitTag(reference: string): { path: string; tag?: string } {
  if (existsSync(reference)) return { path: resolve(reference) };
  for (let colon = reference.indexOf(':'); colon !== -1; colon = reference.indexOf(':', colon + 1)) {
    const [path, tag] = [reference.slice(0, colon), reference.slice(colon + 1)];
    if (path !== '' && tag !== '' && existsSync(path)) return { path: resolve(path), tag };
  }
  return { path: resolve(reference) };
}

/**
 * Imports a container image.
 * @param reference its path, with `:TAG` after it where there are several
 * @throws LodgeError `image-not-found`, `image-unreadable`, `missing-program`, `disk-full`, `image-build`
 */
export async function importOci(
  reference: string,
  store: Store,
  options: OciOptions = {},
): Promise<BuiltImage> {
  const startedMs = performance.now();
  const { name, filesystem = 'squashfs', kernelPath, onProgress = () => {}, signal } = options;
  if (name !== undefined) checkName(name);
  const { path, tag } = splitTag(reference);
  const form = formOf(path);
  const workspace = await store.makeTemporary();
  try {
    onProgress('reading the image');
    const layout = join(workspace, 'layout');
    await copyLayout(form, path, tag, workspace, signal);
    const config = configOf(layout, path);
    const namespace = await anyRootNamespace();
    const object = await storeRoot(store, {
      source: `container image ${options.source ?? path}${tag === undefined ? '' : `:${tag}`}`,
      filesystem,
      defaults: config.defaults,
      ...(kernelPath === undefined ? {} : { kernelPath }),
      fill: (rootPath) => unpack({ path, workspace, rootPath, filesystem, namespace, options }),
    });
    if (name !== undefined) await store.name(name, object.id);
    return {
      ...object,
      ...(name === undefined ? {} : { name }),
      filesystem,
      cached: false,
      rootBytes: await rootBytesOf(object, filesystem),
      elapsedMs: performance.now() - startedMs,
      notes: notesOf(config, namespace),
    };
  } finally {
    await removeTree(workspace);
  }
}

function formOf(path: string): OciForm {
  if (!existsSync(path)) throw new LodgeError('image-not-found', 'there is no such file', { where: path });
  const identity = identify(path);
  if (identity.kind === 'oci') return identity.form;
  throw new LodgeError('image-unreadable', `this is not a container image but ${identity.description}`, {
    where: path,
    fix: 'give an OCI layout, an OCI archive, or what `docker save` writes',
  });
}

/** What an image says of itself. @param path where it came from, for errors: `layout` is a copy that will be gone */
function configOf(layout: string, path: string): OciConfig {
  try {
    return ociConfig(layout);
  } catch (error) {
    throw error instanceof LodgeError ? retold(error, { where: path }) : error;
  }
}

function notesOf({ defaults: { user } }: OciConfig, { owners }: RootNamespace): string[] {
  return [
    ...(user === undefined
      ? []
      : [
          `commands run as the image's user '${user}'; --user runs them as somebody else, or as you by your name`,
        ]),
    ...(owners === 'all' ? [] : ['all files belong to root: you have no subordinate ids (/etc/subuid)']),
  ];
}

/** Brings the one image that is meant into a layout of its own, `layout:image`. */
async function copyLayout(
  form: OciForm,
  path: string,
  tag: string | undefined,
  workspace: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (form === 'layout') {
    await checkLayout(path);
    checkTag(path, tag);
  }
  const source = join(workspace, 'source');
  // skopeo takes a colon for the beginning of a tag: the path is put under a name without one.
  if (form === 'archive') await unpackArchive(path, source, workspace, signal);
  else await symlink(path, source);
  const from = `${transports[form]}:source${tag === undefined ? '' : `:${tag}`}`;
  const argv = ['skopeo', '--insecure-policy', 'copy', '--quiet', from, 'oci:layout:image'];
  const { code, stderr } = await runLong({
    argv,
    cwd: workspace,
    ...(signal === undefined ? {} : { signal }),
  });
  if (code === 0) return;
  checkNotFull('importing an image', workspace, { stderr });
  throw new LodgeError('image-unreadable', 'this container image cannot be read', {
    where: path,
    detail: lastLines(stderr, 5),
    fix: 'copy or pull the image again; one of several is named by PATH:TAG',
  });
}

/** Unpacks an archive of a layout, which must hold nothing but files and directories. */
async function unpackArchive(
  path: string,
  target: string,
  workspace: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  await mkdir(target);
  const argv = [
    'tar',
    '--extract',
    '--no-same-owner',
    '--no-same-permissions',
    '--file',
    path,
    '--directory',
    target,
  ];
  const { code, stderr } = await whileDiskHasRoom(unpackingAnImage, workspace, signal, (watched) =>
    runLong({ argv, cwd: workspace, signal: watched }),
  );
  await openTree(target);
  if (code !== 0) {
    checkNotFull('importing an image', workspace, { stderr });
    throw new LodgeError('image-unreadable', 'this archive cannot be unpacked', {
      where: path,
      detail: lastLines(stderr, 5),
      fix: 'copy or pull the image again',
    });
  }
  for (const entry of await readdir(target, { recursive: true, withFileTypes: true })) {
    if (entry.isFile() || entry.isDirectory()) continue;
    throw new LodgeError(
      'image-unreadable',
      `'${entry.name}' in this archive is neither a file nor a directory`,
      {
        where: path,
        fix: 'an image layout has no links: do not use this archive, whoever made it may mean harm',
      },
    );
  }
}

/** Refuses a layout of which a part is, or leads to, what may never end when it is read: a pipe, a device. */
async function checkLayout(path: string): Promise<void> {
  const parts = ['oci-layout', 'index.json'];
  for (const algorithm of await namesIn(join(path, 'blobs'))) {
    for (const blob of await namesIn(join(path, 'blobs', algorithm)))
      parts.push(join('blobs', algorithm, blob));
  }
  for (const part of parts) {
    const stats = await stat(join(path, part)).catch(() => undefined);
    if (stats === undefined || stats.isFile() || stats.isDirectory()) continue;
    throw new LodgeError('image-unreadable', `'${part}' in this layout is no file`, {
      where: path,
      fix: 'do not use this image: whoever made it may mean harm',
    });
  }
}

/** What is missing, or no directory, is told by what reads it. */
function namesIn(directory: string): Promise<string[]> {
  return readdir(directory).catch(() => []);
}

function checkTag(path: string, tag: string | undefined): void {
  const tags = ociReferences(path).map((reference) => reference.tag);
  if (tag === undefined ? tags.length === 1 : tags.includes(tag)) return;
  const named = tags.filter((each) => each !== undefined);
  const message = tag === undefined ? `it has ${tags.length} images` : `there is no image '${tag}' in it`;
  throw new LodgeError('image-not-found', message, {
    where: path,
    fix:
      named.length === 0
        ? 'pull the image again'
        : `name one: ${named.map((each) => `${path}:${each}`).join(', ')}`,
  });
}

interface Unpacking {
  /** The image as it was given. */
  path: string;
  workspace: string;
  rootPath: string;
  filesystem: NonNullable<BuildOptions['filesystem']>;
  namespace: RootNamespace;
  options: OciOptions;
}

/** Unpacks and packs again, in memory if that is large enough, else on the disk. */
async function unpack(unpacking: Unpacking): Promise<void> {
  const { namespace, options } = unpacking;
  await runProgram(['umoci', '--version']); // in the namespace a missing program would only be a line of an error
  for (const kind of [options.scratch, 'directory'] as const) {
    const scratch = await makeScratch(namespace, kind);
    try {
      options.onProgress?.('unpacking its layers');
      if (await attempt(unpacking, scratch)) return;
    } finally {
      await scratch.remove();
    }
  }
}

/** @returns whether it was made; if not, the scratch memory was too small */
async function attempt(unpacking: Unpacking, scratch: Scratch): Promise<boolean> {
  const { workspace, rootPath, filesystem, namespace, options } = unpacking;
  const root = join(scratch.path, 'root');
  const rootless = namespace.owners === 'root';
  const packer = treePackerArgv(root, rootPath, filesystem, rootless ? 'root' : 'kept');
  const script = `${scratch.prologue}
    umoci raw unpack ${rootless ? '--rootless' : ''} --image layout:image ${quote(root)} || exit
    cd ${quote(root)} || exit
    for name in dev proc sys run; do [ -e $name ] || [ -L $name ] || install -d -m 755 $name || exit; done
    [ -e tmp ] || [ -L tmp ] || install -d -m 1777 tmp || exit
    for name in . dev proc sys run tmp; do [ -L $name ] || touch -d @0 $name || exit; done
    echo '${packingMark}' >&2
    exec ${packer.map(quote).join(' ')}`;
  const unpacksTo = scratch.kind === 'memory' ? workspace : scratch.path;
  const { code, stderr } = await whileDiskHasRoom(unpackingAnImage, unpacksTo, options.signal, (signal) =>
    runLong({
      argv: [...namespace.prefix, 'sh', '-c', script],
      cwd: workspace,
      env: { LODGE_SCRATCH: scratch.path },
      signal,
    }),
  );
  if (code === 0) return true;
  await rm(rootPath, { force: true });
  if (scratch.kind === 'memory' && wasTooSmall(stderr)) return false;
  checkNotFull(unpackingAnImage, scratch.path, { stderr });
  throw new LodgeError('image-build', `the container image could not be unpacked (exit code ${code})`, {
    where: unpacking.path,
    detail: lastLines(stderr, 10),
    fix: `check that umoci (${packageOfProgram.umoci}) and mksquashfs work, and that the image is whole`,
  });
}

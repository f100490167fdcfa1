/** Building an image from a recipe: a Debian root made by mmdebstrap, without root, packed and stored. */

import { once } from 'node:events';
import { createWriteStream, existsSync, statSync } from 'node:fs';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { arch } from 'node:os';
import { join, resolve } from 'node:path';
import { LodgeError } from '../../errors.ts';
import { installationDir } from '../../installation.ts';
import { makeDirectory } from '../../make-directory.ts';
import { runProgram } from '../../process.ts';
import { checkNotFull } from '../full-disk.ts';
import type { CommandDefaults } from '../image.ts';
import { checkName } from '../image-name.ts';
import { removeTree } from '../small-file.ts';
import { type Store, sha256Of } from '../store.ts';
import { hostFetchOptions, hostSources, sourcesText } from './apt.ts';
import { planBootstrap, progressOf, quote } from './bootstrap.ts';
import { type BuildOptions, type BuiltImage, rootBytesOf, storeRoot } from './built.ts';
import { runLong } from './long-run.ts';
import { type RootNamespace, rootNamespace } from './namespace.ts';
import { lastLines, treePackerArgv } from './pack.ts';
import { digestOf, recipeEntries } from './recipe-files.ts';
import { checkRecipe, type Recipe, type RecipeInput, readRecipe } from './recipe-schema.ts';
import { makeScratch, packingMark, type Scratch, wasTooSmall } from './scratch.ts';
import { type TreeEntry, treeStream } from './tree-stream.ts';

export interface RecipeOptions extends Omit<BuildOptions, 'filesystem'> {
  /** Builds even when an image of the same recipe is there: packages may have moved on. */
  rebuild?: boolean;
  /** Where the root is put together; without it, in memory when there is enough. */
  scratch?: Scratch['kind'];
}

/** Raised when what is done with a recipe changes: images built before are not taken for it then. */
const recipeFormat = 1;
const logPollMs = 300;
const shownLogLines = 20;
const daySeconds = 86_400;

/**
 * Builds the image of a recipe, or gives the one built before from the same recipe, files and package sources.
 * @param recipe a file, the name of a recipe that lodge ships, or the recipe itself (paths in it are relative to
 *   the working directory then)
 * @throws LodgeError `image-not-found` for no such recipe, `spec-…` for what is wrong in it, `missing-program`,
 *   `image-build` with the end of the log, `disk-full`
 */
export async function buildRecipe(
  recipe: string | RecipeInput,
  store: Store,
  options: RecipeOptions = {},
): Promise<BuiltImage> {
  const startedMs = performance.now();
  const { recipe: checked, directory } =
    typeof recipe === 'string'
      ? readRecipe(recipePath(recipe))
      : { recipe: checkRecipe(recipe), directory: process.cwd() };
  const name = options.name ?? checked.name;
  checkName(name);
  const made = await build({ recipe: checked, directory, name, store, options });
  await store.name(name, made.id);
  const { filesystem } = checked;
  const rootBytes = await rootBytesOf(made, filesystem);
  return { ...made, name, filesystem, rootBytes, elapsedMs: performance.now() - startedMs, notes: [] };
}

/** A recipe that lodge ships is known by its name alone. */
function recipePath(recipe: string): string {
  const shipped = join(installationDir, 'images', `${recipe}.yaml`);
  return !/[/.]/.test(recipe) && !existsSync(recipe) && existsSync(shipped) ? shipped : recipe;
}

interface Job {
  recipe: Recipe;
  directory: string;
  name: string;
  store: Store;
  options: RecipeOptions;
}

async function build(job: Job): Promise<{ id: string; path: string; cached: boolean }> {
  const { recipe, directory, store, options } = job;
  const sources = sourcesText(withoutAbsent(recipe.base), hostSources());
  const entries = recipeEntries(recipe.files, directory);
  const kernelPath = recipe.kernel === undefined ? undefined : resolve(directory, recipe.kernel);
  const made = { ...recipe, name: job.name, files: digestOf(entries), kernel: stampOf(kernelPath) };
  const key = `recipe ${sha256Of(JSON.stringify([recipeFormat, arch(), made, sources]))}`;
  const known = options.rebuild === true ? undefined : await store.recallWhole(key);
  if (known !== undefined) return { id: known, path: store.objectPath(known), cached: true };
  const workspace = await store.makeTemporary();
  try {
    const object = await storeRoot(store, {
      source: `recipe ${recipe.name} (${recipe.base.suite})`,
      filesystem: recipe.filesystem,
      defaults: defaultsOf(recipe),
      ...(kernelPath === undefined ? {} : { kernelPath }),
      fill: (rootPath) => bootstrap(job, { workspace, sources, entries, rootPath }),
    });
    await store.remember(key, [object.id]);
    return { ...object, cached: false };
  } finally {
    await removeTree(workspace);
  }
}

function withoutAbsent(base: Recipe['base']): Parameters<typeof sourcesText>[0] {
  const { suite, components, mirror } = base;
  return {
    suite,
    ...(components === undefined ? {} : { components }),
    ...(mirror === undefined ? {} : { mirror }),
  };
}

function stampOf(path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  const stats = statSync(path, { throwIfNoEntry: false });
  return `${path} ${stats?.size} ${stats?.mtimeMs}`;
}

function defaultsOf({ env, cwd, entrypoint, command }: Recipe): CommandDefaults {
  return {
    ...(Object.keys(env).length === 0 ? {} : { env }),
    ...(cwd === undefined ? {} : { cwd }),
    ...(entrypoint === undefined ? {} : { entrypoint }),
    ...(command === undefined ? {} : { command }),
  };
}

interface Prepared {
  /** A directory of this build alone. */
  workspace: string;
  sources: string;
  entries: readonly TreeEntry[];
  rootPath: string;
}

/** Makes the root and packs it, in memory if that is large enough, else on the disk. */
async function bootstrap(job: Job, prepared: Prepared): Promise<void> {
  await requirePrograms(job.recipe.filesystem);
  const namespace = await rootNamespace();
  const { workspace, entries } = prepared;
  if (entries.length > 0) {
    const archive = createWriteStream(join(workspace, 'files.tar'));
    treeStream(entries).pipe(archive);
    await once(archive, 'close');
  }
  const scratch = await makeScratch(namespace, job.options.scratch);
  try {
    if (await attempt(job, prepared, namespace, scratch)) return;
  } finally {
    await scratch.remove();
  }
  job.options.onProgress?.('too large for the memory here: again, on the disk');
  const disk = await makeScratch(namespace, 'directory');
  try {
    await attempt(job, prepared, namespace, disk);
  } finally {
    await disk.remove();
  }
}

/** Inside the namespace a missing program would only be a line in a log. */
async function requirePrograms(filesystem: Recipe['filesystem']): Promise<void> {
  await runProgram(['mmdebstrap', '--version']);
  await (filesystem === 'erofs'
    ? runProgram(['mkfs.erofs', '--help'])
    : runProgram(['mksquashfs', '-version']));
}

/** @returns whether it was made; if not, the scratch memory was too small */
async function attempt(
  job: Job,
  prepared: Prepared,
  namespace: RootNamespace,
  scratch: Scratch,
): Promise<boolean> {
  const { recipe, name, options } = job;
  const { workspace, sources, entries, rootPath } = prepared;
  const target = join(scratch.path, 'root');
  const { argv, env } = planBootstrap({
    recipe,
    name,
    target,
    fetchOptions: await hostFetchOptions(),
    ...(entries.length === 0 ? {} : { filesPath: join(workspace, 'files.tar') }),
  });
  const packer = treePackerArgv(target, rootPath, recipe.filesystem, 'kept');
  const script = `${scratch.prologue}
    ${argv.map(quote).join(' ')} || exit
    find ${quote(target)} -xdev -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    echo '${packingMark}' >&2
    unset SOURCE_DATE_EPOCH
    exec ${packer.map(quote).join(' ')}`;
  const logPath = join(workspace, 'build.log');
  await rm(logPath, { force: true });
  const log = followLog(logPath, options.onProgress ?? (() => {}));
  const { code } = await runLong({
    argv: [...namespace.prefix, 'sh', '-c', script],
    env: {
      ...env,
      LODGE_SCRATCH: scratch.path,
      TMPDIR: scratch.path,
      LC_ALL: 'C.UTF-8',
      SOURCE_DATE_EPOCH: process.env.SOURCE_DATE_EPOCH ?? String(startOfDaySeconds()),
    },
    input: sources,
    logPath,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  }).finally(log.stop);
  if (code === 0) return true;
  await rm(rootPath, { force: true });
  const text = await readFile(logPath, 'utf8').catch(() => '');
  if (scratch.kind === 'memory' && wasTooSmall(text)) return false;
  throw await failure(job, code, text, logPath);
}

/** Nothing in an image is newer than the day it was built: builds of one day from the same packages are the same. */
function startOfDaySeconds(): number {
  const seconds = Math.floor(Date.now() / 1000);
  return seconds - (seconds % daySeconds);
}

async function failure(job: Job, code: number, text: string, logPath: string): Promise<LodgeError> {
  checkNotFull('building an image', job.store.path, { stderr: text });
  const kept = join(job.store.path, 'logs', `build-${job.name}.log`);
  makeDirectory(join(job.store.path, 'logs'));
  await rename(logPath, kept).catch(() => {});
  return new LodgeError('image-build', `the image '${job.name}' could not be built (exit code ${code})`, {
    detail: lastLines(text, shownLogLines),
    fix: `${adviceFor(text)}; the whole log is in ${kept}`,
  });
}

function adviceFor(log: string): string {
  const absent = /Unable to locate package (\S+)/.exec(log)?.[1];
  if (absent !== undefined) return `check the name '${absent}' (apt-cache search), and base.components`;
  if (/Temporary failure resolving|Could not connect|Connection timed out|Failed to fetch/.test(log)) {
    return 'the package sources cannot be reached from here: check the network and the proxy of apt';
  }
  if (/running command \d+ of \d+/.test(log)) return 'correct the command of the recipe that failed';
  return 'correct what the log says';
}

/** Reads a log as it grows, and shows what it says to somebody who waits. */
function followLog(path: string, onProgress: (text: string) => void): { stop: () => Promise<void> } {
  let [at, rest, reading] = [0, '', Promise.resolve()];
  const read = async (): Promise<void> => {
    const file = await open(path, 'r').catch(() => undefined);
    if (file === undefined) return;
    try {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(1 << 18), 0, 1 << 18, at);
      at += bytesRead;
      const lines = (rest + buffer.toString('utf8', 0, bytesRead)).split('\n');
      rest = lines.pop() ?? '';
      const said = lines.map(progressOf).filter((text) => text !== undefined);
      if (said.length > 0) onProgress(said.at(-1)!);
    } finally {
      await file.close();
    }
  };
  const timer = setInterval(() => {
    reading = reading.then(read);
  }, logPollMs);
  return {
    stop: async () => {
      clearInterval(timer);
      await reading;
    },
  };
}

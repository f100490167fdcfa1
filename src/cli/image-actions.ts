/** What `lodge image …` does: calls the store and the builders, and shows what came of it. */

import { once } from 'node:events';
import { basename, resolve } from 'node:path';
import { releaseEnded } from '../cluster/engine/ended-leases.ts';
import { LodgeError } from '../errors.ts';
import { throwFirst } from '../failures.ts';
import { exportImage, streamImage } from '../image/archive.ts';
import type { BuiltImage } from '../image/build/built.ts';
import { collectGarbage as collectObjects } from '../image/collect.ts';
import { checkName, isName } from '../image/image-name.ts';
import { checkCompanions, importImage, inspectImage, listImages, removeImage } from '../image/images.ts';
import { kernelFromFile } from '../image/kernel-file.ts';
import { openStore, type Store } from '../image/store.ts';
import { withUnpacked } from '../image/unpacked.ts';
import { shellWord } from '../shell-words.ts';
import { formatCount, formatSize, formatTime } from '../units.ts';
import type { BuildFlags, ImportFlags } from './image.ts';
import { type Interruptible, interruptible } from './interruptible.ts';
import { printJson } from './print-json.ts';
import type { GlobalOptions } from './program.ts';
import { openProgress } from './progress.ts';
import { table } from './table.ts';

export async function list({ json }: GlobalOptions): Promise<void> {
  const images = await listImages(openStore());
  if (json) return printJson(images);
  const rows = images.map((image) => [
    image.name,
    image.kind,
    image.format,
    formatSize(image.bytes),
    image.created.slice(0, 10),
    image.source,
  ]);
  process.stdout.write(table([['NAME', 'KIND', 'FORMAT', 'SIZE', 'CREATED', 'FROM'], ...rows]));
}

export async function build(
  what: readonly string[],
  flags: BuildFlags,
  globals: GlobalOptions,
): Promise<void> {
  const progress = openProgress(globals);
  const onProgress = (text: string): void => progress.show(text);
  const store = openStore();
  const name = flags.name === undefined ? {} : { name: flags.name };
  const built: BuiltImage[] = [];
  const { signal, stop } = interruptSignal('build');
  try {
    if (flags.closure === true) {
      const { buildClosure } = await import('../image/build/closure.ts');
      built.push(
        await buildClosure(what, store, { ...name, include: flags.include ?? [], onProgress, signal }),
      );
    } else {
      const { buildRecipe } = await import('../image/build/recipe.ts');
      const rebuild = flags.rebuild === true;
      for (const recipe of what)
        built.push(await buildRecipe(recipe, store, { ...name, rebuild, onProgress, signal }));
    }
  } finally {
    stop();
    progress.clear();
  }
  for (const note of built.flatMap(({ notes }) => notes)) process.stderr.write(`lodge: ${note}\n`);
  if (globals.json) return printJson(built);
  for (const image of built) {
    const how = image.cached ? 'was there already' : `built in ${formatTime(image.elapsedMs)}`;
    process.stdout.write(
      `${image.name ?? image.id}  ${formatSize(image.rootBytes)} ${image.filesystem}, ${how}\n`,
    );
  }
}

export async function take(file: string, flags: ImportFlags, globals: GlobalOptions): Promise<void> {
  const progress = openProgress(globals);
  const store = openStore();
  const name = flags.name ?? nameOfFile(file);
  if (flags.name === undefined && !isName(name)) {
    throw new LodgeError('spec-value', 'the name of this file cannot be the name of an image', {
      where: file,
      fix: `give it one: lodge image import ${shellWord(file)} --name NAME`,
    });
  }
  checkName(name);
  const { signal, stop } = interruptSignal('import');
  try {
    const before = (await store.names()).find((image) => image.name === name);
    progress.show(`reading ${file}`);
    const { isOci, importOci, splitTag } = await import('../image/build/oci.ts');
    const { path, tag } = splitTag(file);
    const onProgress = (text: string): void => progress.show(text);
    const common = { name, source: path, signal };
    const image = await withUnpacked(store, path, { signal, onProgress }, async (unpacked) => {
      checkCompanions(unpacked, flags);
      const reference = tag === undefined ? unpacked : `${unpacked}:${tag}`;
      if (await isOci(reference)) {
        return importOci(reference, store, {
          ...common,
          ...(flags.kernel === undefined ? {} : { kernelPath: flags.kernel }),
          onProgress,
        });
      }
      return importImage(store, reference, {
        ...common,
        ...(flags.initrd === undefined ? {} : { initrd: flags.initrd }),
        ...(flags.kernel === undefined ? {} : { kernel: await kernelFromFile(store, flags.kernel) }),
        allowBacking: flags.allowBacking === true,
      });
    });
    progress.clear();
    if (before !== undefined && before.id !== image.id)
      process.stderr.write(`lodge: '${name}' named another image until now; \`lodge image gc\` frees it\n`);
    for (const note of 'notes' in image ? image.notes : []) process.stderr.write(`lodge: ${note}\n`);
    if (globals.json) printJson({ name, id: image.id });
    else process.stdout.write(`${name}\n`);
  } finally {
    stop();
    progress.clear();
  }
}

/** The name of a file without the endings of its formats: `debian-12.3.qcow2` is `debian-12.3`. */
function nameOfFile(file: string): string {
  const name = basename(resolve(file));
  return (
    name.replace(
      /(\.(tar|gz|xz|zst|bz2|tgz|img|raw|qcow2|iso|bin|elf|oci|squashfs|sqfs|erofs|lodge))+$/i,
      '',
    ) || name
  );
}

export async function write(name: string, file: string, globals: GlobalOptions): Promise<void> {
  const store = openStore();
  if (file === '-') return writeOut(store, name);
  const progress = openProgress(globals);
  const { signal, stop } = interruptSignal('export');
  try {
    progress.show(`writing ${file}`);
    const written = await exportImage(store, name, file, signal);
    progress.clear();
    if (globals.json) printJson(written);
    else process.stdout.write(`${written.path}  ${formatSize(written.bytes)}\n`);
  } finally {
    stop();
    progress.clear();
  }
}

/** The image on standard output, which then has nothing else on it. */
async function writeOut(store: Store, name: string): Promise<void> {
  if (process.stdout.isTTY) {
    throw new LodgeError('usage', 'an image is nothing for a terminal to show', {
      where: 'standard output',
      fix: `lodge image export ${shellWord(name)} FILE, or send it to a program`,
    });
  }
  await streamImage(store, name, async (data) => {
    if (!process.stdout.write(data)) await once(process.stdout, 'drain');
  });
}

export async function inspect(name: string): Promise<void> {
  printJson(await inspectImage(openStore(), name));
}

export async function remove(names: readonly string[], globals: GlobalOptions): Promise<void> {
  const store = openStore();
  await releaseEnded(store);
  const removed: { name: string; freedBytes: number }[] = [];
  const failures: unknown[] = [];
  for (const name of names) {
    try {
      removed.push({ name, freedBytes: (await removeImage(store, name)).freedBytes });
    } catch (error) {
      failures.push(error);
    }
  }
  throwFirst(failures);
  if (globals.json) printJson(removed);
}

export async function collectGarbage(globals: GlobalOptions): Promise<void> {
  const store = openStore();
  await releaseEnded(store);
  const collected = await collectObjects(store);
  if (globals.json) return printJson(collected);
  const bytes = collected.reduce((sum, object) => sum + object.bytes, 0);
  process.stdout.write(`${formatCount(collected.length, 'object')}, ${formatSize(bytes)} freed\n`);
}

/** Interrupts end the work instead of this process, so that nothing half-made is left. */
function interruptSignal(what: 'build' | 'import' | 'export'): Interruptible {
  return interruptible(
    () => new LodgeError('image-build', `the ${what} was interrupted; nothing of it is left`),
  );
}

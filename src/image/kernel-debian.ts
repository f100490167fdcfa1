/** Debian's generic kernel, fetched as a package and unpacked into the store: nothing is installed, no root is needed. */

import { mkdir, readdir, readFile, rename, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hostIoError, LodgeError } from '../errors.ts';
import { fixWith, key } from '../fix.ts';
import { type ProgramResult, runProgram } from '../process.ts';
import { formatSize } from '../units.ts';
import { bytesOfBuffer } from './bytes.ts';
import { readBootHeader } from './bzimage.ts';
import { checkNotFull } from './full-disk.ts';
import { type KernelRecord, recallKernel, unpackKernel } from './kernel-file.ts';
import { writeModuleFiles } from './modules.ts';
import type { Store } from './store.ts';

/** Told of each step; of one that takes many seconds as such, so that nobody waits in silence. */
export type Progress = (text: string, isLong?: boolean) => void;

/** The package that always depends on the newest generic kernel. The cloud kernel has no 9p and will not do. */
const metaPackage = 'linux-image-amd64';
/** The package, what is in it, and the unpacked kernel: about 530 MB for Linux 6.1. */
const neededBytes = 640 * 2 ** 20;
/** No mirror that is worth waiting for takes longer for 70 MB. */
const downloadLimitMs = 30 * 60_000;
const plainOutput = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };

/**
 * Fetches and unpacks the kernel package, unless the store has it already.
 * @returns the object that holds it, and its record
 * @throws LodgeError `kernel-not-found` when the package cannot be had, `disk-full`, `image-unreadable`
 */
export async function fetchDebianKernel(
  store: Store,
  onProgress: Progress = () => {},
): Promise<{ object: string; record: KernelRecord }> {
  const wanted = await newestKernelPackage();
  const key = `Debian package ${wanted.file}, ${wanted.checksum}`;
  const known = recallKernel(store, key);
  if (known?.object !== undefined) return { object: known.object, record: known.record };
  let record: KernelRecord | undefined;
  const { id } = await store.put('kernel', `Debian package ${wanted.file}`, async (directory) => {
    await checkSpace(directory);
    onProgress(`fetching ${wanted.name} (once; ${formatSize(wanted.bytes)})`, true);
    const file = await download(wanted.name, join(directory, 'download'));
    record = await unpackPackage(file, directory, onProgress);
    onProgress(`storing Linux ${record.release}`);
  });
  await store.remember(key, [id], record);
  return { object: id, record: record! };
}

interface KernelPackage {
  name: string;
  file: string;
  bytes: number;
  checksum: string;
}

/** The kernel package of this moment: what the meta package depends on by the lists apt has now. */
async function newestKernelPackage(): Promise<KernelPackage> {
  const { stdout } = await runApt(['apt-cache', 'depends', metaPackage]);
  const name = /Depends: (linux-image-\d\S*)/.exec(stdout)?.[1];
  if (name === undefined) throw noPackage(`apt knows no package ${metaPackage}`, stdout);
  const place = await runApt(['apt-get', '--print-uris', 'download', name]);
  const [, file, bytes, checksum] = /^'\S+' (\S+\.deb) (\d+) (\S+)$/m.exec(place.stdout) ?? [];
  if (file === undefined || checksum === undefined)
    throw noPackage(`apt knows no place for ${name}`, place.stderr);
  return { name, file, bytes: Number(bytes), checksum };
}

async function download(packageName: string, directory: string): Promise<string> {
  await mkdir(directory);
  // As root, apt would fetch as its own user, who cannot write here.
  const asRoot = process.getuid?.() === 0 ? ['-o', 'APT::Sandbox::User=root'] : [];
  const result = await runApt(['apt-get', ...asRoot, '--quiet', 'download', packageName], directory);
  const file = (await readdir(directory)).find((name) => name.endsWith('.deb'));
  if (result.code === 0 && file !== undefined) return join(directory, file);
  checkNotFull('fetching the kernel', directory, result);
  throw noPackage(`${packageName} could not be fetched`, result.stderr);
}

async function runApt(argv: string[], cwd?: string): Promise<ProgramResult> {
  try {
    return await runProgram(argv, {
      env: plainOutput,
      timeoutMs: downloadLimitMs,
      ...(cwd === undefined ? {} : { cwd }),
    });
  } catch (cause) {
    if (cause instanceof LodgeError && cause.code === 'missing-program') {
      throw noPackage('this host has no apt to fetch a kernel with', '', cause);
    }
    throw cause;
  }
}

function noPackage(what: string, output: string, cause?: unknown): LodgeError {
  const lastLines = output.trim().split('\n').slice(-5).join('\n');
  return new LodgeError('kernel-not-found', `no kernel to boot with: ${what}`, {
    ...(lastLines === '' ? {} : { detail: lastLines }),
    fix: fixWith`run \`apt-get update\` and try again, or give one: ${key('kernel', '/path/to/bzImage')}`,
    cause,
  });
}

/**
 * Takes a kernel package apart: `vmlinux`, `config`, `lib/modules/RELEASE` and `kernel.json` are left in
 * `directory`, nothing else.
 */
export async function unpackPackage(
  file: string,
  directory: string,
  onProgress: Progress,
): Promise<KernelRecord> {
  onProgress('unpacking the kernel and its modules', true);
  const unpacked = join(directory, 'package');
  const result = await runProgram(['dpkg-deb', '-x', file, unpacked], { env: plainOutput });
  if (result.code !== 0) {
    checkNotFull('unpacking the kernel', directory, result);
    throw new LodgeError('image-unreadable', 'the kernel package cannot be unpacked', {
      where: file,
      detail: result.stderr.trim(),
      fix: 'try again; if it stays so, the mirror has a damaged file',
    });
  }
  const boot = join(unpacked, 'boot');
  const names = await readdir(boot).catch((): string[] => []);
  const image = names.find((name) => name.startsWith('vmlinuz-'));
  if (image === undefined) {
    throw new LodgeError('image-unreadable', 'there is no kernel in the package', { where: file });
  }
  const data = await readFile(join(boot, image));
  const record = await unpackKernel(data, readBootHeader(bytesOfBuffer(data)), image, directory, 'debian');
  const config = names.find((name) => name.startsWith('config-'));
  if (config !== undefined) await rename(join(boot, config), join(directory, 'config'));
  const modules = join('lib/modules', record.release);
  await mkdir(join(directory, 'lib/modules'), { recursive: true });
  await rename(await modulesIn(unpacked, record.release), join(directory, modules));
  await writeModuleFiles(join(directory, modules));
  await rm(unpacked, { recursive: true });
  await rm(join(directory, 'download'), { recursive: true, force: true });
  const whole = { ...record, modules };
  await writeFile(join(directory, 'kernel.json'), `${JSON.stringify(whole)}\n`);
  return whole;
}

/** Newer packages put modules under /usr/lib. */
async function modulesIn(unpacked: string, release: string): Promise<string> {
  const places = ['lib/modules', 'usr/lib/modules'].map((place) => join(unpacked, place, release));
  for (const place of places) {
    if ((await readdir(place).catch((): string[] => [])).includes('kernel')) return place;
  }
  throw new LodgeError(
    'image-unreadable',
    `there are no modules for Linux ${release} in the kernel package`,
    {
      where: places[0]!,
    },
  );
}

async function checkSpace(directory: string): Promise<void> {
  const { bavail, bsize } = await statfs(directory);
  if (bavail * bsize >= neededBytes) return;
  const text = `${formatSize(neededBytes)} are needed and ${formatSize(bavail * bsize)} are free`;
  throw hostIoError('storing a kernel', directory, Object.assign(new Error(text), { code: 'ENOSPC' }));
}

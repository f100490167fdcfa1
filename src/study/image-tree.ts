/**
 * The programs of a study from an image instead of the host: guests boot from it, and native runs have its files as
 * their root. For these it is unpacked into a temporary directory, which needs neither root nor FUSE nor a loop device,
 * and entered by chroot in a mount namespace; who is not root makes a user namespace for that.
 */

import { lstatSync } from 'node:fs';
import { join } from 'node:path';
import { LodgeError } from '../errors.ts';
import type { RootNamespace } from '../image/build/namespace.ts';
import { makeScratch } from '../image/build/scratch.ts';
import { checkNotFull } from '../image/full-disk.ts';
import type { Root } from '../image/image.ts';
import { resolveImage } from '../image/resolve.ts';
import type { Store } from '../image/store.ts';
import { runProgram } from '../process.ts';
import type { BenchmarkCommand } from './benchmarks/benchmark.ts';
import { baseEnvironment } from './environment.ts';
import type { StudyImage } from './samples.ts';

type BlockRoot = Extract<Root, { kind: 'block' }>;

export interface ImageTree {
  image: StudyImage;
  /** The directory that the image is unpacked in. */
  path: string;
  /** What is put before a command so that it may mount. */
  entry: readonly string[];
}

/** What the image of a spec is at this moment. @throws LodgeError as `resolveImage` does; `spec-value` without files */
export async function lookUpImage(
  name: string,
  store: Store,
): Promise<{ image: StudyImage; root: BlockRoot }> {
  const image = await resolveImage(name, store);
  if (image.kind === 'linux' && image.root.kind === 'block') {
    return { image: { name, id: image.id }, root: image.root };
  }
  throw new LodgeError('spec-value', 'a study needs an image whose files native runs can have too', {
    where: name,
    fix: 'give one with a root of its own: lodge image build debian-hpc',
  });
}

/**
 * Does something while an image is unpacked; without a name, with none. What a killed study left is removed by the next.
 * @throws LodgeError as {@link lookUpImage} does; `missing-program`, `disk-full`; `host-io` where this user may make
 *   no namespaces; whatever `act` throws
 */
export async function withImageTree<T>(
  name: string | undefined,
  store: Store,
  act: (tree: ImageTree | undefined) => Promise<T>,
): Promise<T> {
  if (name === undefined) return act(undefined);
  const { image, root } = await lookUpImage(name, store);
  const entry = await namespaceEntry();
  // All files belong to this user, or to whom they should when this is root: no namespace is needed to remove them.
  const namespace: RootNamespace = { prefix: [], owners: 'root' };
  const scratch = await makeScratch(namespace, 'directory');
  const path = join(scratch.path, 'root');
  try {
    await unpack(root, path);
    return await act({ image, path, entry });
  } finally {
    await scratch.remove();
  }
}

async function unpack({ path: file, filesystem }: BlockRoot, path: string): Promise<void> {
  const isErofs = filesystem === 'erofs';
  const argv = isErofs
    ? ['fsck.erofs', `--extract=${path}`, '--no-preserve', file]
    : ['unsquashfs', '-no-progress', '-quiet', '-no-xattrs', '-dest', path, file];
  const result = await runProgram(argv);
  const { code, stderr } = result;
  checkNotFull('unpacking an image', path, result);
  // 2 is what unsquashfs ends with when some files could not be made, as devices cannot without root.
  if (code === 0 || (code === 2 && !isErofs)) return;
  throw new LodgeError('host-io', 'the image could not be unpacked', {
    where: file,
    detail: stderr.trim().split('\n').slice(-5).join('\n'),
  });
}

/** The first way that works here. @throws LodgeError `host-io` */
async function namespaceEntry(): Promise<string[]> {
  const ways = [
    ['unshare', '--mount', '--'],
    ['unshare', '--user', '--map-root-user', '--mount', '--'],
  ];
  let said = '';
  for (const way of ways) {
    const { code, stderr } = await runProgram([...way, 'true']);
    if (code === 0) return way;
    said = stderr.trim();
  }
  throw new LodgeError('host-io', 'native runs cannot have the files of an image here: no namespaces', {
    detail: said,
    fix: 'install the benchmarks on this host and leave --image out, or have user namespaces allowed',
  });
}

/** $1 is the new root, $2 a directory of the host that it has at the same place, the rest the command. */
const script = `
root=$1
shared=$2
shift 2
for dir in proc sys dev tmp; do mkdir -p "$root/$dir" || exit 125; done
for dir in proc sys dev; do mount --rbind "/$dir" "$root/$dir" || exit 125; done
mount -t tmpfs -o mode=1777 tmp "$root/tmp" && mkdir -p "$root$shared" && mount --bind "$shared" "$root$shared" || exit 125
exec chroot "$root" "$@"
`;

/** A command as it runs on this host with the files of an image. Pure. */
export function inTree(
  command: BenchmarkCommand,
  { entry, path }: Pick<ImageTree, 'entry' | 'path'>,
  programsDir: string,
): BenchmarkCommand {
  return { ...command, argv: [...entry, 'sh', '-c', script, 'image', path, programsDir, ...command.argv] };
}

/** Whether a program is on the PATH of the image. */
export function hasProgram({ path }: Pick<ImageTree, 'path'>, program: string): boolean {
  // Links may be absolute, and lead elsewhere on the host: that they are there must do.
  return baseEnvironment
    .PATH!.split(':')
    .some((dir) => lstatSync(join(path, dir, program), { throwIfNoEntry: false }) !== undefined);
}

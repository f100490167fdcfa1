/** What a kernel has built in, told from the kernel itself: some come without a list of it. */

import { readFile } from 'node:fs/promises';
import { hostIoError, LodgeError } from '../errors.ts';
import type { Kernel } from './image.ts';

/**
 * A text that the code of each module holds, by the name it registers a driver or a cache of memory under. It is in a
 * kernel that has the module built in, and was in no kernel of Debian, which has none of these.
 */
const marks: Readonly<Record<string, string>> = {
  virtio_pci: 'virtio-pci',
  virtio_console: 'virtio_console',
  virtio_blk: 'virtio_blk',
  '9pnet_virtio': '9pnet_virtio',
  '9p': 'v9fs_inode_cache',
  overlay: 'ovl_inode',
  squashfs: 'squashfs_inode_cache',
  erofs: 'erofs_inode',
};

/**
 * Refuses a kernel without modules that has not all built in that a guest needs: it would boot into a guest that
 * nobody can reach.
 * @param modules names; those that no mark is known of are taken to be there
 * @throws LodgeError `kernel-not-found` naming what is missing
 */
export async function requireBuiltIn(
  kernel: Pick<Kernel, 'file' | 'release' | 'vmlinuxPath'>,
  modules: readonly string[],
): Promise<void> {
  const code = await readFile(kernel.vmlinuxPath).catch((cause: unknown) => {
    throw hostIoError('reading the kernel', kernel.vmlinuxPath, cause);
  });
  const missing = modules.filter((name) => marks[name] !== undefined && !code.includes(marks[name]));
  if (missing.length === 0) return;
  throw new LodgeError(
    'kernel-not-found',
    `this kernel (Linux ${kernel.release}) has no modules on this host, and has not built in: ${missing.join(', ')}`,
    {
      where: kernel.file ?? kernel.vmlinuxPath,
      fix: `put its modules into /lib/modules/${kernel.release} (make modules_install, depmod), or with the kernel into ROOT/lib/modules/${kernel.release} and ROOT/boot, build these in (=y), or boot it as it is, without a command`,
    },
  );
}

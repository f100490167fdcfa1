/** `lodge image …`: the store of what guests boot from. */

import type { Command } from 'commander';
import type { GlobalOptions } from './program.ts';
import { collect } from './spec-flags.ts';

export interface BuildFlags {
  closure?: boolean;
  include?: string[];
  name?: string;
  rebuild?: boolean;
}

export interface ImportFlags {
  name?: string;
  kernel?: string;
  initrd?: string;
  allowBacking?: boolean;
}

export function defineImage(program: Command): void {
  const image = program.command('image').description('Images: what guests boot from.');
  const globals = (): GlobalOptions => program.opts<GlobalOptions>();
  image
    .command('ls')
    .description('Images in the store.')
    .action(async () => (await import('./image-actions.ts')).list(globals()));
  image
    .command('build')
    .description(
      'Build an image from a recipe (a file, or the name of one that ships: debian-hpc), without root.',
    )
    .argument('<recipe...>', 'The recipe; with --closure, programs of this host.')
    .option('--closure', 'From programs of this host and all they need.')
    .option('--include <path>', 'With --closure: also this file or directory; repeatable.', collect)
    .option('--name <name>', "Name in the store (default: the recipe's).")
    .option('--rebuild', 'Even when the same recipe was built before.')
    .action(async (what: string[], flags: BuildFlags) =>
      (await import('./image-actions.ts')).build(what, flags, globals()),
    );
  image
    .command('import')
    .description(
      'Take a kernel, disk (raw, qcow2), ISO, root file system, OCI layout or archive into the store.',
    )
    .argument('<file>', 'The file or directory.')
    .option('--name <name>', "Name in the store (default: the file's, without its endings).")
    .option('--kernel <file>', 'The Linux kernel that a root file system is to be booted with.')
    .option('--initrd <file>', 'The initial RAM disk of a kernel.')
    .option('--allow-backing', 'Take a qcow2 disk that names other files of this host as its base.')
    .action(async (file: string, flags: ImportFlags) =>
      (await import('./image-actions.ts')).take(file, flags, globals()),
    );
  image
    .command('export')
    .description('Write an image to one file that `lodge image import` reads, or, for -, to standard output.')
    .argument('<name>', 'The image.')
    .argument('<file>', 'The file to write; - for standard output.')
    .action(async (name: string, file: string) =>
      (await import('./image-actions.ts')).write(name, file, globals()),
    );
  image
    .command('inspect')
    .description('What an image is made of.')
    .argument('<name>', 'The image.')
    .action(async (name: string) => (await import('./image-actions.ts')).inspect(name));
  image
    .command('rm')
    .description('Remove images; one that a guest runs from is refused.')
    .argument('<names...>', 'The images.')
    .action(async (names: string[]) => (await import('./image-actions.ts')).remove(names, globals()));
  image
    .command('gc')
    .description('Remove what nothing refers to any more: old builds, kernels, initramfs files.')
    .action(async () => (await import('./image-actions.ts')).collectGarbage(globals()));
}

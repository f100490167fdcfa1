/** `lodge cp`: copies files into and out of a guest that runs. */

import type { Command } from 'commander';

export function defineCopy(program: Command): void {
  program
    .command('cp')
    .description(
      'Copy files and directories between this host and a guest: NAME:PATH is a path in a guest, or in several with ranges.',
    )
    .argument('<source>', 'PATH or NAME:PATH.')
    .argument('<destination>', 'PATH or NAME:PATH; exactly one of the two is in a guest.')
    .action(async (source: string, destination: string) => {
      const { copyFiles } = await import('./copy-files.ts');
      await copyFiles(source, destination);
    });
}

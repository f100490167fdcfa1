/** `lodge cp`: copies files into and out of a guest that runs. */

import type { Command } from 'commander';
import type { GlobalOptions } from './program.ts';

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
      const copied = await copyFiles(source, destination);
      if (!program.opts<GlobalOptions>().json) return;
      const { printJson } = await import('./print-json.ts');
      printJson(copied);
    });
}

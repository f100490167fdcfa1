/** `lodge checkpoint` and `lodge restore`: a whole cluster saved at one instant, and going on from it. */

import type { Command } from 'commander';
import type { GlobalOptions } from './program.ts';

export interface RestoreFlags {
  name?: string;
  fork?: boolean;
}

export function defineCheckpoint(program: Command): void {
  program
    .command('checkpoint')
    .description('Save all guests and links of a cluster at one instant; it goes on afterwards.')
    .argument('<directory>', 'Where to; it must not be there yet.')
    .option('--cluster <name>', 'Which cluster, when there are several.')
    .action(async (directory: string, flags: { cluster?: string }) => {
      const { checkpointVerb } = await import('./checkpoint-actions.ts');
      await checkpointVerb(directory, flags.cluster, program.opts<GlobalOptions>());
    });
  program
    .command('restore')
    .description('Let a cluster go on from a checkpoint.')
    .argument('<directory>', 'The checkpoint.')
    .option('--fork', 'Beside the cluster that was saved, under a name of its own.')
    .option('--name <name>', 'Under this name.')
    .action(async (directory: string, flags: RestoreFlags) => {
      const { restoreVerb } = await import('./checkpoint-actions.ts');
      await restoreVerb(directory, flags, program.opts<GlobalOptions>());
    });
}

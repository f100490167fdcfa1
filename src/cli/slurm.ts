/** `lodge slurm`: a Slurm of one's own, and guests as nodes of the site's. */

import type { Command } from 'commander';
import { parseTimeMs } from '../units.ts';
import type { GlobalOptions } from './program.ts';

export function defineSlurm(program: Command): void {
  const globals = (): GlobalOptions => program.opts<GlobalOptions>();
  const slurm = program
    .command('slurm')
    .description('A Slurm of your own, with hosts and guests as its nodes.');
  slurm
    .command('up')
    .description(
      'Start a cluster and a Slurm over it, as you: hosts are nodes n01…, guests nodes of their own names. Prints what to set in a shell: eval "$(lodge slurm up cluster.yaml)".',
    )
    .argument('[file]', 'The cluster spec.', 'cluster.yaml')
    .action(async (file: string) => {
      const { slurmUpVerb } = await import('./slurm-private.ts');
      await slurmUpVerb(file, globals());
    });
  slurm
    .command('down')
    .description('End the Slurm, its jobs and its cluster. Nothing is left of them.')
    .argument('[name]', 'The cluster; the only one by default.')
    .option('--grace <time>', 'Between asking guests to go down and ending them by force.', '5s')
    .action(async (name: string | undefined, flags: { grace: string }) => {
      const { slurmDownVerb } = await import('./slurm-private.ts');
      await slurmDownVerb(name, { ...globals(), graceMs: parseTimeMs(flags.grace, '--grace') });
    });
}

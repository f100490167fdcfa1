/** Verbs about clusters as wholes: `up`, `apply`, `down`, `status`. */

import type { Command } from 'commander';
import { parseTimeMs } from '../units.ts';
import type { GlobalOptions } from './program.ts';

export function defineCluster(program: Command): void {
  const globals = (): GlobalOptions => program.opts<GlobalOptions>();
  program
    .command('up')
    .description('Start a cluster: its fabric and all its guests.')
    .argument('[file]', 'The cluster spec.', 'cluster.yaml')
    .option('-n, --dry-run', 'Print guests, addresses, links and memory, and start nothing.')
    .action(async (file: string, flags: { dryRun?: boolean }) => {
      const { upVerb } = await import('./cluster-actions.ts');
      await upVerb(file, { ...globals(), isNew: true, dryRun: flags.dryRun === true });
    });
  program
    .command('apply')
    .description('Make a cluster what its spec says now: only what differs is touched.')
    .argument('[file]', 'The cluster spec.', 'cluster.yaml')
    .option('-n, --dry-run', 'Print what would be done, and do nothing.')
    .action(async (file: string, flags: { dryRun?: boolean }) => {
      const { upVerb } = await import('./cluster-actions.ts');
      await upVerb(file, { ...globals(), isNew: false, dryRun: flags.dryRun === true });
    });
  program
    .command('down')
    .description('End a cluster: all its guests and its fabric. Nothing is left of it.')
    .argument('[name]', 'The cluster; the only one by default.')
    .option('--grace <time>', 'Between asking guests to go down and ending them by force.', '5s')
    .action(async (name: string | undefined, flags: { grace: string }) => {
      const graceMs = parseTimeMs(flags.grace, '--grace');
      const { downVerb } = await import('./cluster-actions.ts');
      await downVerb(name, { ...globals(), graceMs });
    });
  program
    .command('status')
    .description('The guests of a cluster, their addresses and links.')
    .argument('[name]', 'The cluster; the only one by default.')
    .action(async (name: string | undefined) => {
      const { statusVerb } = await import('./cluster-status.ts');
      await statusVerb(name, globals().json);
    });
}

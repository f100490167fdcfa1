/** `lodge slurm`: a Slurm of one's own, and guests as nodes of the site's. */

import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { defaultSiteFile } from '../cluster/engine/site/place.ts';
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
    .description(
      'End the Slurm, its jobs and its cluster. Nothing is left of them. Prints what makes a shell as it was before: eval "$(lodge slurm down)".',
    )
    .argument('[name]', 'The cluster; by default the one whose Slurm the shell is in, or the only one.')
    .option('--grace <time>', 'Between asking guests to go down and ending them by force.', '5s')
    .action(async (name: string | undefined, flags: { grace: string }) => {
      const { slurmDownVerb } = await import('./slurm-private.ts');
      await slurmDownVerb(name, { ...globals(), graceMs: parseTimeMs(flags.grace, '--grace') });
    });
  slurm
    .command('setup')
    .description(
      "For administrators: what a site's slurm.conf lacks for guests to be nodes of it, each line with its reason. Ends with 1 when there is anything.",
    )
    .argument(
      '[file]',
      `The site file; by default ${defaultSiteFile}, where slurmctld's programs look for it.`,
    )
    .option('--options', 'Print what is missing of the options alone, to be added to slurm.conf.')
    .option(
      '--nodes',
      'Print the v-nodes and their partition alone, whole: a file for slurm.conf to include.',
    )
    .action(async (file: string | undefined, flags: { options?: boolean; nodes?: boolean }) => {
      const { slurmSetupVerb } = await import('./slurm-site.ts');
      process.exitCode = await slurmSetupVerb(file, { ...globals(), ...flags });
    });
  const powerVerb = (name: string, description: string): void => {
    slurm
      .command(name)
      .description(`${description} Run by slurmctld, as SlurmUser: see scripts/slurm/.`)
      .argument('<nodelist>', 'Names, as Slurm writes them.')
      .action(async (list: string) => {
        const { slurmPowerVerb } = await import('./slurm-site.ts');
        await slurmPowerVerb(name as 'resume' | 'suspend' | 'resume-fail', list);
      });
  };
  powerVerb('resume', 'Ask for the holder jobs of v-nodes.');
  powerVerb('suspend', 'Cancel the holder jobs of v-nodes.');
  powerVerb('resume-fail', 'Say why v-nodes did not come up in time, and give their hosts back.');
  slurm
    .command('ended', { hidden: true })
    .argument('<node>')
    .argument('<job>')
    .action(async (node: string, job: string) => {
      const { holderEnded } = await import('../cluster/engine/site/power.ts');
      await holderEnded(node, job);
    });
  slurm.command('hold', { hidden: true }).action(async () => {
    const { holdNode } = await import('../server/slurm-holder.ts');
    await holdNode(readFileSync(0, 'utf8'));
  });
}

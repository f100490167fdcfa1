/** `lodge agent`: the host agent, which other verbs start when they need it. */

import { type Command, Option } from 'commander';

export function defineAgent(program: Command): void {
  program
    .command('agent', { hidden: true })
    .description('Own detached guests for other lodge commands; started by them when needed.')
    .addOption(
      new Option('--job <directory>', 'Be the agent of a job on this host, until Slurm ends the step.'),
    )
    .action(async (flags: { job?: string }) => {
      if (flags.job !== undefined) {
        const { serveJobAgent } = await import('../server/job-agent.ts');
        await serveJobAgent(flags.job);
        return;
      }
      const { serveHostAgent } = await import('../server/host-agent.ts');
      await serveHostAgent();
    });
}

/** `lodge agent`: the host agent, which other verbs start when they need it. */

import type { Command } from 'commander';

export function defineAgent(program: Command): void {
  program
    .command('agent', { hidden: true })
    .description('Own detached guests for other lodge commands; started by them when needed.')
    .action(async () => {
      const { serveHostAgent } = await import('../server/host-agent.ts');
      await serveHostAgent();
    });
}

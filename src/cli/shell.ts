/** `lodge shell`: a shell in a guest that runs. */

import type { Command } from 'commander';
import { addCommandFlags, type CommandFlags } from './command-flags.ts';
import { execInto } from './exec.ts';

export function defineShell(program: Command): void {
  const shell = program
    .command('shell')
    .description('A shell in a guest that runs.')
    .argument('<name>', 'The guest.');
  addCommandFlags(shell).action(async (name: string, flags: CommandFlags) => {
    const { namedGuest } = await import('./guest-names.ts');
    process.exitCode = await execInto(namedGuest(name), [], flags);
  });
}

/** `lodge exec`: runs a command in a guest that runs. */

import type { Command } from 'commander';
import { addCommandFlags, type CommandFlags, requestOf, splitVariables } from './command-flags.ts';

export function defineExec(program: Command): void {
  const exec = program
    .command('exec')
    .description('Run a command in a guest that runs, as if it ran here.')
    .usage('[options] NAME [--] command [arg…]')
    .argument('<name>', 'The guest.')
    .argument('<command...>', 'The command and its arguments.')
    .passThroughOptions();
  addCommandFlags(exec).action(async (name: string, argv: string[], flags: CommandFlags) => {
    process.exitCode = await execInto(name, argv[0] === '--' ? argv.slice(1) : argv, flags);
  });
}

/** Joins a command in a guest to this process. @returns the exit code */
export async function execInto(name: string, argv: readonly string[], flags: CommandFlags): Promise<number> {
  const [{ execInGuest }, { requireGuest }, { thisUser }, { dieOf, joinCommand }] = await Promise.all([
    import('../server/client.ts'),
    import('../guest/state.ts'),
    import('../guest/user.ts'),
    import('./stdio.ts'),
  ]);
  const { plan } = requireGuest(name);
  const request = requestOf(argv, { ...flags, env: splitVariables(flags.env) }, plan, thisUser());
  const session = await execInGuest(name, request);
  return joinCommand(session, {
    terminal: request.terminal !== undefined && process.stdin.isTTY === true,
    onImpatience: (signal) => {
      session.close();
      dieOf(signal);
    },
  });
}

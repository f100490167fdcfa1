/** `lodge exec`: runs a command in a guest that runs. */

import type { Command } from 'commander';
import { LodgeError } from '../errors.ts';
import { shellWord } from '../shell-words.ts';
import { addCommandFlags, type CommandFlags, requestOf, splitVariables } from './command-flags.ts';

export function defineExec(program: Command): void {
  const exec = program
    .command('exec')
    .description('Run a command in a guest that runs, as if it ran here; or in many guests at once.')
    .usage('[options] NAME [--] command [arg…]')
    .argument(
      '<name>',
      "The guest; 'v[01-04]' for several, whose lines of output then have their names before them.",
    )
    .argument('<command...>', 'The command and its arguments.')
    .passThroughOptions();
  addCommandFlags(exec)
    .option('--at-once <n>', 'With several guests: in how many at the same time (default: 64).')
    .action(async (name: string, words: string[], flags: CommandFlags & { atOnce?: string }) => {
      // Before the name, commander takes it away: what follows is a command then, whatever it looks like.
      const isEnded = process.argv.at(-words.length - 2) === '--';
      if (!isEnded) requireNoFlag(name, words[0]!);
      const argv = words[0] === '--' ? words.slice(1) : words;
      if (argv.length === 0) {
        throw new LodgeError('usage', 'no command follows --', {
          fix: `lodge exec ${shellWord(name)} -- COMMAND; for a shell: lodge shell ${shellWord(name)}`,
        });
      }
      const [{ isHostList }, { namedGuest, namedGuests }] = await Promise.all([
        import('../host-list.ts'),
        import('./guest-names.ts'),
      ]);
      if (!isHostList(name)) {
        process.exitCode = await execInto(namedGuest(name), argv, flags);
        return;
      }
      const { execInMany } = await import('./exec-many.ts');
      process.exitCode = await execInMany(namedGuests([name]), argv, flags, atOnce(flags.atOnce));
    });
}

/** What begins with a dash after the name was meant as a flag, more often than as a program. */
function requireNoFlag(name: string, word: string): void {
  if (!/^-[^-]|^--./.test(word)) return;
  throw new LodgeError('usage', `'${word}' follows the name of the guest, where the command begins`, {
    fix:
      `flags stand before the name: lodge exec ${shellWord(word)} … ${shellWord(name)} -- COMMAND; ` +
      `a program of that name is run by lodge exec ${shellWord(name)} -- ${shellWord(word)}`,
  });
}

const mostAtOnce = 64;

function atOnce(text: string | undefined): number {
  if (text === undefined) return mostAtOnce;
  const count = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (count > 0) return count;
  throw new LodgeError('usage', `'${text}' is not a number of guests`, { where: '--at-once' });
}

/** Joins a command in a guest to this process. @returns the exit code */
export async function execInto(name: string, argv: readonly string[], flags: CommandFlags): Promise<number> {
  const [{ execInGuest }, { locateGuest }, { thisUser }, { dieOf, joinCommand }] = await Promise.all([
    import('../server/client.ts'),
    import('../server/locate.ts'),
    import('../guest/user.ts'),
    import('./stdio.ts'),
  ]);
  const { plan } = (await locateGuest(name)).guest;
  const request = requestOf(argv, { ...flags, env: splitVariables(flags.env) }, plan, thisUser(), false);
  const session = await execInGuest(name, request);
  try {
    return await joinCommand(session, {
      terminal: request.terminal !== undefined && process.stdin.isTTY === true,
      onImpatience: (signal) => {
        session.close();
        dieOf(signal);
      },
    });
  } catch (error) {
    throw await explained(error, name);
  }
}

/** A broken channel is the first sign that a guest died; its log says why. */
async function explained(error: unknown, name: string): Promise<unknown> {
  if (!(error instanceof LodgeError) || error.code !== 'channel-broken') return error;
  const [{ deathNoticeMs, deathOf }, { viewGuest }, { untilGone }] = await Promise.all([
    import('../guest/death.ts'),
    import('../guest/state.ts'),
    import('../guest/sweep.ts'),
  ]);
  const hasEnded = await untilGone(() => viewGuest(name)?.status === 'running', deathNoticeMs);
  const guest = viewGuest(name);
  return hasEnded && guest !== undefined ? deathOf(guest.plan) : error;
}

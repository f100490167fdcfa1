/** Verbs about guests that exist: `ps`, `logs`, `console`, `stop`, `rm`. */

import type { Command } from 'commander';
import { LodgeError } from '../errors.ts';
import { throwFirst } from '../failures.ts';
import { parseTimeMs } from '../units.ts';
import type { GlobalOptions } from './program.ts';

export function defineGuests(program: Command): void {
  program
    .command('ps')
    .description('Guests on this host, and how they are.')
    .option('--placement', 'Where their vCPUs and memory sit: asked for and found.')
    .action(async (flags: { placement?: boolean }) => {
      const { showGuests } = await import('./show-guests.ts');
      await showGuests({ ...flags, json: program.opts<GlobalOptions>().json });
    });
  program
    .command('logs')
    .description("A guest's console so far, or the complaints of its virtual machine.")
    .argument('<name>', "The guest; 'v[01-04]' for several.")
    .option('--vmm', "What QEMU or the user-mode kernel complained about, instead of the guest's console.")
    .option('--raw', 'With control characters, as the guest wrote it.')
    .action(async (name: string, flags: { vmm?: boolean; raw?: boolean }) => {
      const [{ showLog }, { namedGuests }] = await Promise.all([
        import('./show-guests.ts'),
        import('./guest-names.ts'),
      ]);
      const names = namedGuests([name]);
      const { onItsHost } = await import('./far-verb.ts');
      const { json } = program.opts<GlobalOptions>();
      const words = [
        ...(flags.vmm === true ? ['--vmm'] : []),
        ...(flags.raw === true ? ['--raw'] : []),
        // Names the guest on each line itself.
        ...(json ? ['--json'] : []),
      ];
      const isOneOfMany = names.length > 1;
      for (const one of names) {
        if (!(await onItsHost(one, ['logs', ...words, one], isOneOfMany && !json ? one : undefined)))
          showLog(one, { ...flags, json, isOneOfMany });
      }
    });
  program
    .command('console')
    .description("Join this terminal to a guest's console; Ctrl-] leaves it.")
    .argument('<name>', 'The guest.')
    .action(async (name: string) => {
      const [{ showConsole }, { requireGuestHere }, { namedGuest }] = await Promise.all([
        import('./console.ts'),
        import('../server/locate.ts'),
        import('./guest-names.ts'),
      ]);
      const { onItsHost } = await import('./far-verb.ts');
      const full = namedGuest(name);
      if (!(await onItsHost(full, ['console', full]))) await showConsole(requireGuestHere(full).dir);
    });
  program
    .command('stop')
    .description('Bring guests down in good order.')
    .argument('<names...>', "The guests; ranges as in 'v[01-04]'.")
    .option('--grace <time>', 'Between asking and ending by force.', '10s')
    .action(async (names: string[], flags: { grace: string }) => {
      const graceMs = parseTimeMs(flags.grace, '--grace');
      const { stopThroughOwner } = await import('../server/client.ts');
      const stopped = await forEachNamed(names, (name) => stopThroughOwner(name, graceMs));
      await tellDone(stopped, program.opts<GlobalOptions>());
    });
  program
    .command('rm')
    .description('Remove guests that have ended, and all they left.')
    .argument('<names...>', "The guests; ranges as in 'v[01-04]'.")
    .option('-f, --force', 'Also guests that run: they are ended at once.')
    .action(async (names: string[], flags: { force?: boolean }) => {
      const removed = await forEachNamed(names, (name) => remove(name, flags.force === true));
      await tellDone(removed, program.opts<GlobalOptions>());
    });
}

const mostAtOnce = 32;

/** What was done is seen by people; programs are told of which guests. */
async function tellDone(names: readonly string[], { json }: GlobalOptions): Promise<void> {
  if (!json) return;
  const { printJson } = await import('./print-json.ts');
  printJson(names.map((name) => ({ name })));
}

/**
 * Does something to all guests that are named, also when it fails for some; the first failure is then told in full.
 * @returns their full names
 */
async function forEachNamed(
  texts: readonly string[],
  action: (name: string) => Promise<void>,
): Promise<string[]> {
  const [{ namedGuests }, { forEachBounded }] = await Promise.all([
    import('./guest-names.ts'),
    import('../cluster/governor.ts'),
  ]);
  const errors: unknown[] = [];
  const names = namedGuests(texts);
  await forEachBounded(names, mostAtOnce, (name) =>
    action(name).catch((error: unknown) => {
      errors.push(error);
    }),
  );
  throwFirst(errors);
  return names;
}

async function remove(name: string, force: boolean): Promise<void> {
  const { onItsHost } = await import('./far-verb.ts');
  if (await onItsHost(name, ['rm', ...(force ? ['-f'] : []), name])) return;
  const [{ requireGuestHere }, { endGuest }, { removeGuestFiles }, { openStore }] = await Promise.all([
    import('../server/locate.ts'),
    import('../guest/sweep.ts'),
    import('../guest/start.ts'),
    import('../image/store.ts'),
  ]);
  const guest = requireGuestHere(name);
  if (guest.status !== 'exited' && !force) {
    throw new LodgeError('usage', `'${name}' is ${guest.status}`, {
      fix: `lodge stop ${name} first, or lodge rm -f ${name}`,
    });
  }
  await endGuest(guest);
  await removeGuestFiles({ dir: guest.dir, id: guest.plan.id }, openStore());
}

/** Verbs about guests on other hosts of a job: done there by lodge itself, with the streams of this process. */

import { viewGuest } from '../guest/state.ts';
import { startVerb } from '../server/job.ts';
import { doorOfGuest } from '../server/locate.ts';
import { prefixer } from './exec-many.ts';
import { dieOf, joinCommand } from './stdio.ts';

/**
 * Has a verb about a guest done on its host. Only `console` is given our input.
 * @param label stands before each line of its output
 * @returns false when the guest is on this host, or nowhere: then nothing was done
 */
export async function onItsHost(name: string, argv: readonly string[], label?: string): Promise<boolean> {
  const door = viewGuest(name) === undefined ? doorOfGuest(name) : undefined;
  if (door === undefined) return false;
  const session = startVerb({ door }, argv, '/');
  let code: number;
  if (argv[0] === 'console') {
    code = await joinCommand(session, {
      terminal: process.stdin.isTTY === true,
      onImpatience: (signal) => {
        session.close();
        dieOf(signal);
      },
    });
  } else {
    const write = (to: NodeJS.WriteStream) => (bytes: Buffer) =>
      new Promise<void>((resolve) => to.write(bytes, () => resolve()));
    const labelled = [process.stdout, process.stderr].map((to) =>
      label === undefined ? undefined : prefixer(label, to),
    );
    session.output('stdout', labelled[0]?.take ?? write(process.stdout));
    session.output('stderr', labelled[1]?.take ?? write(process.stderr));
    session.endInput();
    ({ code } = await session.end);
    await Promise.all(labelled.map((one) => one?.end()));
  }
  if (code !== 0) process.exitCode = code;
  return true;
}

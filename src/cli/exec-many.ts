/** A command in many guests at once: each line of output with the name of its guest before it. */

import { forEachBounded } from '../cluster/governor.ts';
import { shortNames } from '../cluster/guest-names.ts';
import { describeError, exitCodes, LodgeError } from '../errors.ts';
import { thisUser } from '../guest/user.ts';
import { signalNumbers } from '../process.ts';
import { execInGuest } from '../server/client.ts';
import { locateGuest } from '../server/locate.ts';
import type { RemoteSession } from '../server/remote-session.ts';
import { type CommandFlags, requestOf, splitVariables } from './command-flags.ts';
import { interruptible } from './interruptible.ts';

/**
 * Runs a command in all of them, with empty input.
 * @param most at the same time
 * @returns the largest of the exit codes
 */
export async function execInMany(
  names: readonly string[],
  argv: readonly string[],
  flags: CommandFlags,
  most: number,
): Promise<number> {
  const shown = shortNames(names);
  const env = splitVariables(flags.env);
  const caller = thisUser();
  // A name that is not there is told before anything is run.
  const located = await Promise.all(names.map((name) => locateGuest(name)));
  const plans = new Map(located.map(({ guest }) => [guest.name, guest.plan]));
  const sessions = new Set<RemoteSession>();
  const interrupt = interruptible((name) => new LodgeError('usage', `ended by ${name}`));
  interrupt.signal.addEventListener('abort', () => {
    for (const session of sessions) session.signal(signalNumbers[interrupt.received!]!);
  });
  let worst = 0;
  await forEachBounded(names, most, async (name) => {
    const label = shown.get(name)!;
    if (interrupt.signal.aborted) return;
    try {
      const request = requestOf(argv, { ...flags, tty: false, env }, plans.get(name)!, caller, false);
      const session = await execInGuest(name, request);
      sessions.add(session);
      // It may have come while the session was opened.
      if (interrupt.signal.aborted) session.signal(signalNumbers[interrupt.received!]!);
      const [out, err] = [prefixer(label, process.stdout), prefixer(label, process.stderr)];
      session.output('stdout', out.take);
      session.output('stderr', err.take);
      session.endInput();
      const { code, signal } = await session.end.finally(() => sessions.delete(session));
      await Promise.all([out.end(), err.end()]);
      worst = Math.max(worst, signal > 0 ? 128 + signal : code);
      if (worst === 0 && err.isLost()) worst = exitCodes.refused;
    } catch (error) {
      process.stderr.write(`${describeError(error).replaceAll(/^/gm, `${label}: `)}\n`);
      worst = Math.max(worst, error instanceof LodgeError ? error.exitCode : 1);
    }
  });
  interrupt.stop();
  return interrupt.received === undefined ? worst : 128 + signalNumbers[interrupt.received]!;
}

/** A line that grows beyond this is written in pieces: a guest may send no end of line at all. */
const longestLineBytes = 64 * 1024;

/** Whole lines, each with a label before it, whatever pieces they come in. */
export function prefixer(
  label: string,
  to: { write(text: Buffer, done: (error?: Error | null) => void): boolean },
): { take(bytes: Buffer): Promise<void> | void; end(): Promise<void>; isLost(): boolean } {
  const before = Buffer.from(`${label}: `);
  const newline = Buffer.from('\n');
  let rest: Buffer[] = [];
  let restBytes = 0;
  let isLost = false;
  const write = (pieces: Buffer[]): Promise<void> =>
    new Promise((resolve) => {
      to.write(Buffer.concat(pieces), (error) => {
        // Who has stopped reading misses nothing.
        if (error && (error as NodeJS.ErrnoException).code !== 'EPIPE') isLost = true;
        resolve();
      });
    });
  return {
    /** Whether not all could be written: a full disk. */
    isLost: () => isLost,
    take(bytes) {
      const pieces: Buffer[] = [];
      let from = 0;
      for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, from)) {
        pieces.push(before, ...rest, bytes.subarray(from, at + 1));
        rest = [];
        restBytes = 0;
        from = at + 1;
      }
      if (from < bytes.length) {
        rest.push(Buffer.from(bytes.subarray(from)));
        restBytes += bytes.length - from;
      }
      if (restBytes > longestLineBytes) {
        pieces.push(before, ...rest, newline);
        rest = [];
        restBytes = 0;
      }
      return pieces.length === 0 ? undefined : write(pieces);
    },
    async end() {
      if (rest.length > 0) await write([before, ...rest, newline]);
      rest = [];
    },
  };
}

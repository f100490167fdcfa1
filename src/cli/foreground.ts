/** A guest in the foreground: this process owns it, joins it to the terminal, and takes it along when it ends. */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LodgeError } from '../errors.ts';
import type { Channel } from '../guest/channel/channel.ts';
import { requireFits } from '../guest/channel/frames.ts';
import { crashOf, deathNoticeMs, deathOf } from '../guest/death.ts';
import { consoleLogs } from '../guest/keeper.ts';
import { type CommandRequest, withNamedUser } from '../guest/named-user.ts';
import { type GuestPlan, guestFiles } from '../guest/plan.ts';
import { type RunningGuest, removeGuestFiles, startGuest } from '../guest/start.ts';
import { pressPowerButton } from '../guest/stop.ts';
import { sweep } from '../guest/sweep.ts';
import { thisUser } from '../guest/user.ts';
import type { Store } from '../image/store.ts';
import { signalNumbers } from '../process.ts';
import { openOwnerSocket } from '../server/owner-socket.ts';
import { type CommandFlags, requestOf } from './command-flags.ts';
import { interruptible } from './interruptible.ts';
import type { Progress } from './progress.ts';
import { dieOf, joinCommand, keySignals } from './stdio.ts';

export interface ForegroundInput {
  plan: GuestPlan;
  store: Store;
  progress: Progress;
  argv: readonly string[];
  command: Omit<CommandFlags, 'env'> & { env: Record<string, string> };
}

/** Between SIGTERM and SIGKILL for what a command has left running. */
const leftoverGraceMs = 500;

/** Between the power button and the end of a guest without an agent, which may not know what the button means. */
const powerButtonGraceMs = 10_000;

/** How long writing everything out may take before the guest is ended all the same. */
const syncLimitMs = 60_000;

/** Runs the guest to its end. @returns the exit code to end with */
export async function runForeground(input: ForegroundInput): Promise<number> {
  const { plan, store, progress } = input;
  // Made before anything boots: a user, directory or length that cannot be is refused at once.
  const request = requestOf(input.argv, input.command, plan, thisUser(), true);
  requireFits(request);
  await sweep(store);
  const interrupt = interruptible((name) => new LodgeError('guest-died', `the start was ended by ${name}`));
  let guest: RunningGuest;
  try {
    guest = await startGuest(plan, {
      mode: 'foreground',
      store,
      user: thisUser(),
      onProgress: (text) => progress.show(text),
      signal: interrupt.signal,
    });
  } catch (error) {
    // Nothing comes after it, what is below neither.
    progress.clear();
    if (interrupt.received !== undefined) dieOf(interrupt.received);
    throw error;
  } finally {
    interrupt.stop();
    progress.clear();
  }
  const server = openOwnerSocket(guest);
  try {
    return guest.channel === undefined ? await watchForeign(guest) : await runCommand(guest, request, store);
  } finally {
    server.close();
    guest.channel?.close();
    guest.kill();
    await guest.ended;
    await removeGuestFiles(plan, store);
  }
}

async function runCommand(guest: RunningGuest, request: CommandRequest, store: Store): Promise<number> {
  const { plan } = guest;
  const channel = guest.channel!;
  const session = channel.exec(await withNamedUser(channel, request));
  let hasEnded = false;
  let dying: Promise<void> | undefined;
  void guest.ended.then(() => {
    hasEnded = true;
  });
  // The channel breaks first; the process that carried it follows, and can say why.
  const isOver = channel.ended.then(() =>
    Promise.race([guest.ended, new Promise((resolve) => setTimeout(resolve, deathNoticeMs))]),
  );
  try {
    const code = await joinCommand(session, {
      terminal: request.terminal !== undefined && process.stdin.isTTY === true,
      onImpatience: (signal) => {
        guest.kill();
        dying ??= guest.ended.then(() => removeGuestFiles(plan, store)).then(() => dieOf(signal));
      },
    });
    if (!(await halts(channel))) {
      process.stderr.write(
        'lodge: the guest did not say that all its files are written; check what it wrote last\n',
      );
    }
    return code;
  } catch (error) {
    // Ended on demand: that it is gone then is no news, however late its end is noticed.
    await dying;
    if (!(error instanceof LodgeError) || error.code !== 'channel-broken') throw error;
    await isOver;
    // A guest that broke the rules of its channel still runs; one that died says why in its log.
    throw hasEnded ? deathOf(plan) : error;
  }
}

/** Has the guest end what is left in it and write everything out. @returns whether it said so in time */
async function halts(channel: Channel): Promise<boolean> {
  const halted = channel.halt('power-off', leftoverGraceMs).then(
    () => true,
    () => false,
  );
  return Promise.race([
    halted,
    new Promise<false>((resolve) => setTimeout(() => resolve(false), syncLimitMs)),
  ]);
}

function showLogged(dir: string): void {
  for (const path of consoleLogs(dir)) if (existsSync(path)) process.stdout.write(readFileSync(path));
}

/** Shows the console of a guest without an agent until it ends. */
async function watchForeign(guest: RunningGuest): Promise<number> {
  const { showConsole } = await import('./console.ts');
  const { dir, driver } = guest.plan;
  let isLeft = false;
  let received: NodeJS.Signals | undefined;
  let limit: NodeJS.Timeout | undefined;
  let hasEnded = false;
  void guest.ended.then(() => {
    hasEnded = true;
  });
  const shownBytes = await showConsole(dir, {
    untilEnd: guest.ended,
    // Told, the guest is asked to go down, and ended when it does not; by a key after that, or Ctrl-], at once.
    onLeave: (signal) => {
      received ??= signal;
      isLeft = true;
      const isAgain = limit !== undefined;
      if (signal === undefined || (isAgain && keySignals.includes(signal)) || driver !== 'qemu') {
        guest.kill();
        return;
      }
      if (isAgain) return;
      process.stderr.write(
        `lodge: the guest was asked to shut down and is ended in ${powerButtonGraceMs / 1000} s, or at once by SIGINT\n`,
      );
      limit = setTimeout(() => guest.kill(), powerButtonGraceMs);
      pressPowerButton(join(dir, guestFiles.monitor)).catch(() => guest.kill());
    },
  }).catch(async (error: unknown) => {
    // One that came and went before there was anybody at its console: the log has all.
    await Promise.race([guest.ended, new Promise((resolve) => setTimeout(resolve, deathNoticeMs))]);
    if (!hasEnded) throw error;
    return 0;
  });
  if (shownBytes === 0 && !isLeft) showLogged(dir);
  clearTimeout(limit);
  if (received !== undefined) return 128 + signalNumbers[received]!;
  const crash = isLeft ? undefined : crashOf(guest.plan);
  if (crash !== undefined) throw crash;
  return 0;
}

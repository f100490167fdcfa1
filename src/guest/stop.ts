/** Bringing a guest down in good order. */

import { join } from 'node:path';
import { LodgeError } from '../errors.ts';
import { isAlive } from '../process-identity.ts';
import type { Channel } from './channel/channel.ts';
import { guestFiles } from './plan.ts';
import { type GuestView, requireGuest, viewGuest, writeRecord } from './state.ts';
import { endGuest, untilGone } from './sweep.ts';
import { Qmp } from './vmm/qemu/qmp.ts';

/** How long a guest that says it is down may take to be gone. */
const farewellMs = 5000;

/**
 * Asks a guest to go down, by its agent or by its power button, and ends it when the time is over.
 * @param channel to its agent, where it has one
 * @throws LodgeError `no-such-guest`, `guest-not-running`
 */
export async function stopGuest(name: string, channel: Channel | undefined, graceMs: number): Promise<void> {
  const guest = requireGuest(name);
  const { keeper } = guest;
  if (keeper === undefined) {
    throw new LodgeError('guest-not-running', `'${name}' is not running`, {
      fix: `lodge rm ${name} removes it`,
    });
  }
  markStopping(guest);
  const limit = new Promise<void>((resolve) => setTimeout(resolve, graceMs + farewellMs).unref());
  if (channel !== undefined) {
    await Promise.race([channel.halt('power-off', graceMs), limit]).catch(() => {});
    channel.close();
    await untilGone(() => isAlive(keeper), farewellMs);
  } else if (guest.plan.driver === 'qemu') {
    await pressPowerButton(join(guest.dir, guestFiles.monitor)).catch(() => {});
    await untilGone(() => isAlive(keeper), graceMs);
  }
  // In the foreground it may be gone already, with all that was there.
  const left = viewGuest(name);
  if (left !== undefined) await endGuest(left);
}

/** Only `ps` reads it: a full disk must not keep what may have filled it. */
function markStopping({ dir, record }: GuestView): void {
  try {
    writeRecord(dir, { ...record, phase: 'stopping' });
  } catch (error) {
    if (!(error instanceof LodgeError) || error.code !== 'disk-full') throw error;
  }
}

/** Presses the power button of a QEMU guest. @param monitor path of its QMP socket */
export async function pressPowerButton(monitor: string): Promise<void> {
  const qmp = await Qmp.connect(monitor);
  try {
    await qmp.execute('system_powerdown');
  } finally {
    qmp.close();
  }
}

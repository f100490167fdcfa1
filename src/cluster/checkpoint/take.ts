/**
 * Taking a checkpoint: all guests and the fabric stand still at one instant, are saved, and go on.
 *
 * The order makes the instant one: first the fabric's time stops, so that nothing is delivered any more; then the
 * guests stop; then what they had sent before they stopped is taken in. So each frame is either in a guest that has
 * it, or in the fabric.
 */

import { constants } from 'node:os';
import { join } from 'node:path';
import { LodgeError } from '../../errors.ts';
import type { RequestKind, Requests } from '../../fabric/control.ts';
import type { FabricPlan } from '../../fabric/plan.ts';
import type { Channel, Step } from '../../guest/channel/channel.ts';
import { type GuestPlan, guestFiles } from '../../guest/plan.ts';
import { sharesOf } from '../../guest/saved.ts';
import { Qmp } from '../../guest/vmm/qemu/qmp.ts';
import { saveState } from '../../guest/vmm/qemu/saved-state.ts';
import { forEachBounded } from '../governor.ts';
import type { ClusterPlan } from '../plan.ts';
import { beginCheckpoint, discardCheckpoint, finishCheckpoint, stateFileOf } from './files.ts';
import { requireSavable } from './plan.ts';

/** Asks a fabric's worker. */
export type AskFabric = <Kind extends RequestKind>(
  kind: Kind,
  ask: Requests[Kind]['ask'],
) => Promise<Requests[Kind]['answer']>;

export interface GuestToSave {
  /** Its host name. */
  name: string;
  plan: GuestPlan;
  /** Absent in guests without an agent. */
  channel?: Channel;
}

export interface TakeInput {
  /** Where the checkpoint is to be. */
  dir: string;
  cluster: ClusterPlan;
  fabric: FabricPlan;
  secret: Buffer;
  guests: readonly GuestToSave[];
  askFabric: AskFabric;
  /** Remembers for what the cluster stands still, or that it goes on: if this process dies between, the next one acts. */
  markFrozen: (part: string | undefined) => void;
  onProgress: (text: string) => void;
}

export interface Taken {
  /** Of all guests' states. */
  bytes: number;
  /** How long the guests stood still. */
  stillMs: number;
}

/** How long what guests sent may take to come out of the sockets, after they were stopped. */
const drainMs = 200;

/** Files written at once: a disk is not faster with more. */
const savesAtOnce = 4;

/**
 * Takes a checkpoint; the cluster goes on afterwards, also when it fails.
 * @throws LodgeError `checkpoint`, `disk-full`, `host-io`, `vmm-failed`
 */
export async function takeCheckpoint(input: TakeInput): Promise<Taken> {
  const { dir, guests, onProgress } = input;
  requireSavable(new Map(guests.map(({ name, plan }) => [name, plan])));
  const part = beginCheckpoint(dir);
  try {
    onProgress('letting go of shared directories');
    const taken = await withoutShares(guests, () => stillAndSaved(input, part));
    await finishCheckpoint(part, dir, {
      record: {
        version: 1,
        takenAt: new Date().toISOString(),
        cluster: input.cluster,
        guests: Object.fromEntries(guests.map(({ name, plan }) => [name, plan])),
      },
      fabric: input.fabric,
      fabricState: taken.fabricState,
      secret: input.secret,
    });
    return taken;
  } catch (error) {
    discardCheckpoint(part);
    throw error;
  }
}

/** Takes the host's directories from the guests, and gives them back whatever happens. */
async function withoutShares<T>(guests: readonly GuestToSave[], action: () => Promise<T>): Promise<T> {
  const all = await Promise.all(guests.map(({ channel, plan }) => letGoOfShares(channel, plan)));
  try {
    const busy = all.flatMap(({ inUse }, i) => inUse.map((path) => `${guests[i]!.name}: ${path}`));
    if (busy.length > 0) {
      throw new LodgeError(
        'checkpoint',
        'shared directories are in use, and guests cannot be saved with them',
        {
          detail: busy.join('\n'),
          fix: 'end what uses them, or give these guests share: false and no volumes',
        },
      );
    }
    return await action();
  } finally {
    await Promise.all(all.map(({ released }, i) => guests[i]!.channel?.configure(released)));
  }
}

interface LetGo {
  /** The steps that mount again what was let go of. */
  released: Step[];
  /** Paths in the guest that something there uses. */
  inUse: string[];
}

/** What is mounted nowhere, because somebody was killed before it could be again, counts as let go of. */
async function letGoOfShares(channel: Channel | undefined, plan: GuestPlan): Promise<LetGo> {
  const letGo: LetGo = { released: [], inUse: [] };
  if (channel === undefined) return letGo;
  for (const step of sharesOf(plan).reverse()) {
    const errno = await channel.attempt(['release', step[2]!]);
    if (errno === 0 || errno === constants.errno.EINVAL) letGo.released.unshift(step);
    else letGo.inUse.push(step[2]!);
  }
  return letGo;
}

async function stillAndSaved(
  { guests, askFabric, markFrozen, onProgress }: TakeInput,
  part: string,
): Promise<Taken & { fabricState: Uint8Array }> {
  const monitors = await Promise.all(
    guests.map(({ plan }) => Qmp.connect(join(plan.dir, guestFiles.monitor))),
  );
  let begunMs = Date.now();
  try {
    onProgress('stopping');
    markFrozen(part);
    begunMs = Date.now();
    await askFabric('freeze', {});
    await Promise.all(monitors.map((qmp) => qmp.execute('stop')));
    const { bytes: fabricState } = await askFabric('save', { drainMs });
    let bytes = 0;
    let saved = 0;
    await forEachBounded([...guests.entries()], savesAtOnce, async ([i, { name, plan }]) => {
      bytes += await saveState(monitors[i]!, plan.dir, stateFileOf(part, name));
      onProgress(`saving: ${++saved} of ${guests.length}`);
    });
    return { bytes, stillMs: await goOn(), fabricState };
  } catch (error) {
    await goOn();
    throw error;
  } finally {
    for (const qmp of monitors) qmp.close();
  }

  async function goOn(): Promise<number> {
    // A guest that has died meanwhile must not keep the others standing.
    await Promise.all(monitors.map((qmp) => qmp.execute('cont').catch(() => {})));
    await askFabric('thaw', {});
    markFrozen(undefined);
    return Date.now() - begunMs;
  }
}

/** Lets a cluster go on that stands still because whoever was saving it has died. */
export async function goOnAfterDeath(
  plans: readonly GuestPlan[],
  channelOf: (plan: GuestPlan) => Promise<Channel | undefined>,
): Promise<void> {
  await Promise.all(
    plans.map(async (plan) => {
      const qmp = await Qmp.connect(join(plan.dir, guestFiles.monitor));
      // A migration that was under way ended with the socket it went to.
      await qmp.execute('cont').finally(() => qmp.close());
      const channel = await channelOf(plan);
      const { released } = await letGoOfShares(channel, plan);
      await channel?.configure(released);
    }),
  );
}

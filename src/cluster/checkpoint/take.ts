/**
 * Taking a checkpoint: all guests and the fabric stand still at one instant, are saved, and go on.
 *
 * The order makes the instant one: first the fabric's time stops, so that nothing is delivered any more; then the
 * guests stop; then what they had sent before they stopped is taken in. So each frame is either in a guest that has
 * it, or in the fabric.
 *
 * Over several hosts the same is done on each at one time, and they wait for one another in between ({@link SaveMeeting}):
 * once all fabrics stand still, nothing goes out to other hosts any more, and a mark is the last thing on each trunk. The
 * host that it leads to takes in what comes before the mark. So each frame is in one host's part, and in one only.
 */

import { constants } from 'node:os';
import { join } from 'node:path';
import { LodgeError } from '../../errors.ts';
import type { RequestKind, Requests } from '../../fabric/control.ts';
import type { FabricPlan } from '../../fabric/plan.ts';
import type { Channel, Step } from '../../guest/channel/channel.ts';
import { type GuestPlan, guestFiles, type StateSum } from '../../guest/plan.ts';
import { sharesOf } from '../../guest/saved.ts';
import { Qmp } from '../../guest/vmm/qemu/qmp.ts';
import { saveState } from '../../guest/vmm/qemu/saved-state.ts';
import { openStore } from '../../image/store.ts';
import { forEachBounded } from '../governor.ts';
import type { ClusterPlan } from '../plan.ts';
import { beginCheckpoint, discardCheckpoint, finishCheckpoint, stateFileOf, writeFabric } from './files.ts';
import { describeObjects } from './images.ts';
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

/**
 * Moments at which all hosts of a cluster meet before any goes on: all can be saved; time stands still in all fabrics;
 * all is saved.
 */
export type SaveMeeting = 'ready' | 'frozen' | 'saved';

export interface SaveInput {
  /** The unfinished checkpoint. */
  part: string;
  fabric: FabricPlan;
  guests: readonly GuestToSave[];
  askFabric: AskFabric;
  /** Remembers for what the cluster stands still, or that it goes on: if this process dies between, the next one acts. */
  markFrozen: (part: string | undefined) => void;
  onProgress: (text: string) => void;
  /** Where the cluster goes over several hosts. */
  together?: SavedTogether;
}

export interface SavedTogether {
  /** This one; undefined when it is the only one. */
  host: string | undefined;
  /** The same on all hosts, and of this checkpoint alone: it ends what was on its way between them. */
  mark: string;
  /** Waits until all hosts have come as far; rejects when one has failed. */
  meet(meeting: SaveMeeting): Promise<void>;
  /** Gives up. */
  signal: AbortSignal;
  /** Asked when all is saved: whether the guests are to be ended, and do nothing any more. */
  staysStill: () => boolean;
}

export interface TakeInput extends Omit<SaveInput, 'part' | 'together'> {
  /** Where the checkpoint is to be. */
  dir: string;
  cluster: ClusterPlan;
  secret: Buffer;
}

export interface Taken {
  /** Of all guests' states. */
  bytes: number;
  /** How long the guests stood still. */
  stillMs: number;
}

/** What of a host is saved. */
export interface SavedPart extends Taken {
  /** By host name. */
  states: Record<string, StateSum>;
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
  const { dir, guests } = input;
  requireSavable(new Map(guests.map(({ name, plan }) => [name, plan])));
  const part = beginCheckpoint(dir);
  try {
    const { states, ...taken } = await savePart({ ...input, part });
    await finishCheckpoint(part, dir, {
      record: {
        version: 1,
        takenAt: new Date().toISOString(),
        cluster: input.cluster,
        guests: Object.fromEntries(guests.map(({ name, plan }) => [name, plan])),
        states,
        objects: await describeObjects(
          guests.map(({ plan }) => plan),
          openStore(),
        ),
        taken,
      },
      secret: input.secret,
    });
    return taken;
  } catch (error) {
    discardCheckpoint(part);
    throw error;
  }
}

/**
 * Saves the guests and the fabric of this host into an unfinished checkpoint; they go on afterwards, also when it fails.
 * @throws LodgeError `checkpoint`, `disk-full`, `host-io`, `vmm-failed`, `fabric-unavailable`
 */
export async function savePart(input: SaveInput): Promise<SavedPart> {
  const { part, guests, fabric, together, onProgress } = input;
  requireSavable(new Map(guests.map(({ name, plan }) => [name, plan])));
  onProgress('letting go of shared directories');
  const { fabricState, isStill: _, ...taken } = await withoutShares(guests, () => stillAndSaved(input));
  writeFabric(part, together?.host, fabric, fabricState);
  return taken;
}

/** Takes the host's directories from the guests, and gives them back whatever happens, unless they stay still. */
async function withoutShares<T extends { isStill: boolean }>(
  guests: readonly GuestToSave[],
  action: () => Promise<T>,
): Promise<T> {
  const all = await Promise.all(guests.map(({ channel, plan }) => letGoOfShares(channel, plan)));
  let isStill = false;
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
    const done = await action();
    isStill = done.isStill;
    return done;
  } finally {
    if (!isStill) await Promise.all(all.map(({ released }, i) => guests[i]!.channel?.configure(released)));
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

async function stillAndSaved({
  part,
  guests,
  askFabric,
  markFrozen,
  onProgress,
  together,
}: SaveInput): Promise<SavedPart & { fabricState: Uint8Array; isStill: boolean }> {
  const monitors = await Promise.all(
    guests.map(({ plan }) => Qmp.connect(join(plan.dir, guestFiles.monitor))),
  );
  const mark = together === undefined ? {} : { mark: together.mark };
  let begunMs = Date.now();
  try {
    await together?.meet('ready');
    return await whileStill(async () => {
      await askFabric('freeze', mark);
      // No guest runs on for long while others stand, whichever host is slow.
      await together?.meet('frozen');
      await Promise.all(monitors.map((qmp) => qmp.execute('stop')));
      const { bytes: fabricState } = await askFabric('save', { drainMs, ...mark });
      const states = await saveAll();
      await together?.meet('saved');
      const bytes = Object.values(states).reduce((sum, state) => sum + state.bytes, 0);
      return { bytes, states, fabricState };
    });
  } finally {
    for (const qmp of monitors) qmp.close();
  }

  async function whileStill<T>(action: () => Promise<T>): Promise<T & { stillMs: number; isStill: boolean }> {
    onProgress('stopping');
    markFrozen(part);
    begunMs = Date.now();
    let done: T;
    try {
      done = await action();
    } catch (error) {
      await goOn();
      throw error;
    }
    const isStill = together?.staysStill() === true;
    return { ...done, isStill, stillMs: isStill ? Date.now() - begunMs : await goOn() };
  }

  /** When one fails, the others are given up, and none writes any more. */
  async function saveAll(): Promise<Record<string, StateSum>> {
    const failed = new AbortController();
    const signal = AbortSignal.any([failed.signal, ...(together === undefined ? [] : [together.signal])]);
    const states: Record<string, StateSum> = {};
    let saved = 0;
    await forEachBounded([...guests.entries()], savesAtOnce, async ([i, { name, plan }]) => {
      if (signal.aborted) return;
      try {
        states[name] = await saveState(monitors[i]!, plan.dir, stateFileOf(part, name), signal);
        onProgress(`saving: ${++saved} of ${guests.length}`);
      } catch (error) {
        failed.abort(error);
      }
    });
    signal.throwIfAborted();
    return states;
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

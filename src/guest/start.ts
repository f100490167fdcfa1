/** Acting on a plan: a guest's directory, its process, its placement and its agent, in that order; undone if any fails. */

import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { LodgeError } from '../errors.ts';
import { thisProcess } from '../image/owner.ts';
import type { Store } from '../image/store.ts';
import { identify } from '../process-identity.ts';
import { Channel, type Step } from './channel/channel.ts';
import { deathNoticeMs, deathOf } from './death.ts';
import { type Keeper, startKeeper } from './keeper.ts';
import { channelAddress, type GuestPlan, guestFiles } from './plan.ts';
import {
  claimGuest,
  discardGuest,
  type GuestMode,
  type GuestRecord,
  viewGuest,
  writeRecord,
} from './state.ts';
import { type HostUser, userSteps } from './user.ts';
import { pinProcess, verifyAffinity } from './vmm/affinity.ts';
import { Qmp } from './vmm/qemu/qmp.ts';
import { loadState } from './vmm/qemu/saved-state.ts';
import {
  applyLayout,
  compareGuestTopology,
  guestTopologyPaths,
  requireMet,
  verifyLayout,
} from './vmm/qemu/verify.ts';

export interface StartOptions {
  mode: GuestMode;
  store: Store;
  user: HostUser;
  onProgress: (text: string) => void;
  /** A detached guest ends with this process, as one in the foreground does: in a job, nothing outlives its agent. */
  isBound?: boolean;
  /** Gives up and undoes all; the promise is then rejected with the signal's reason. */
  signal?: AbortSignal;
  /** A guest that goes on from a saved state waits for this before it does: others may have to go on with it. */
  beforeGoingOn?: () => Promise<void>;
  /** Its process runs, and its devices on bridges are there: before anything else is done. */
  onDevices?: () => Promise<void>;
}

/** A guest that runs and is ready. */
export interface RunningGuest {
  plan: GuestPlan;
  record: GuestRecord;
  /** Absent in guests without an agent. */
  channel?: Channel;
  /** Resolves when the virtual machine has ended, however it did. */
  ended: Promise<void>;
  /** Ends the virtual machine now. */
  kill(): void;
}

/**
 * Starts a guest and waits until it is ready: its agent has set it up, or, without an agent, its process runs.
 * @throws LodgeError; nothing is left of the guest then
 */
export async function startGuest(plan: GuestPlan, options: StartOptions): Promise<RunningGuest> {
  const { mode, store, onProgress } = options;
  const owner = identify(process.pid)!;
  const record: GuestRecord = { version: 1, mode, phase: 'starting', owner, createdAt: Date.now() };
  claimGuest(plan, record);
  const start = new GuestStart(plan, record, options);
  try {
    await store.lease(plan.id, plan.objects, { name: plan.name });
    return await start.run();
  } catch (error) {
    onProgress('cleaning up');
    await start.undo();
    await removeGuestFiles(plan, store);
    throw error;
  }
}

/** Removes what a guest that has ended leaves: its directory and its hold on images. */
export async function removeGuestFiles(plan: Pick<GuestPlan, 'dir' | 'id'>, store: Store): Promise<void> {
  discardGuest(plan);
  await store.release(plan.id);
}

class GuestStart {
  readonly #plan: GuestPlan;
  readonly #record: GuestRecord;
  readonly #options: StartOptions;
  #keeper: Keeper | undefined;
  #channel: Channel | undefined;

  constructor(plan: GuestPlan, record: GuestRecord, options: StartOptions) {
    this.#plan = plan;
    this.#record = record;
    this.#options = options;
  }

  async run(): Promise<RunningGuest> {
    const { mode, onProgress, signal, store, isBound = false } = this.#options;
    const plan = this.#plan;
    signal?.throwIfAborted();
    const keeper = await startKeeper(plan, mode, isBound);
    this.#keeper = keeper;
    this.#record.vmmPid = keeper.vmmPid;
    this.#record.contained = keeper.contained;
    this.#record.confined = keeper.confined;
    writeRecord(plan.dir, this.#record);
    if (mode === 'detached') await leaseByKeeper(plan, store);
    await this.#options.onDevices?.();
    for (const note of keeper.notes) onProgress(note);
    if (plan.contain && !keeper.contained) {
      onProgress(
        'no PID namespace can be made here: a killed guest may leave processes until the next lodge command',
      );
    }
    if (plan.writable !== undefined && !keeper.confined) {
      onProgress(
        "no mount namespace can be made here: the guest's root can write what you can, also where :ro is asked",
      );
    }
    if (plan.savedState !== undefined || (plan.verifyPlacement && plan.driver === 'qemu')) {
      await this.#untilDeath(() => this.#letRun());
    }
    if (plan.agent) await this.#untilDeath((giveUp) => this.#joinAgent(giveUp));
    signal?.throwIfAborted();
    this.#record.phase = 'running';
    this.#record.runningAt = Date.now();
    writeRecord(plan.dir, this.#record);
    return {
      plan,
      record: this.#record,
      ...(this.#channel === undefined ? {} : { channel: this.#channel }),
      ended: keeper.ended,
      kill: () => keeper.kill(),
    };
  }

  async undo(): Promise<void> {
    this.#channel?.close();
    this.#keeper?.kill();
    await this.#keeper?.ended;
  }

  /** Does something that the guest's death, the boot time limit or the caller ends early, with the right error. */
  async #untilDeath<T>(action: (giveUp: AbortSignal) => Promise<T>): Promise<T> {
    const { signal } = this.#options;
    const giveUp = new AbortController();
    const outcome = action(giveUp.signal);
    const abandon = (): void => giveUp.abort(signal?.reason);
    signal?.addEventListener('abort', abandon);
    // One that came before anybody listened is not told again.
    if (signal?.aborted) abandon();
    const died = this.#keeper!.ended.then(() => {
      giveUp.abort(deathOf(this.#plan));
    });
    try {
      return await Promise.race([outcome, this.#rejection(giveUp.signal)]);
    } catch (error) {
      // A channel that closes is the first sign of a death; the death itself says more.
      if (error instanceof LodgeError && error.code === 'channel-broken') {
        await Promise.race([died, new Promise((resolve) => setTimeout(resolve, deathNoticeMs))]);
        if (giveUp.signal.aborted) throw giveUp.signal.reason;
      }
      if (error instanceof LodgeError && (error.code === 'boot-timeout' || error.code === 'guest-setup')) {
        throw deathOf(this.#plan, error);
      }
      throw error;
    } finally {
      signal?.removeEventListener('abort', abandon);
      outcome.catch(() => {});
    }
  }

  #rejection(signal: AbortSignal): Promise<never> {
    return new Promise((_, reject) => {
      const tell = (): void => reject(signal.reason);
      if (signal.aborted) tell();
      else signal.addEventListener('abort', tell, { once: true });
    });
  }

  /** What is to be done with a guest that was started paused, before it runs. */
  async #letRun(): Promise<void> {
    const { dir, verifyPlacement, savedState } = this.#plan;
    const qmp = await Qmp.connect(join(dir, guestFiles.monitor));
    try {
      if (verifyPlacement) await this.#place(qmp);
      if (savedState !== undefined) {
        this.#options.onProgress('loading its state');
        await loadState(qmp, dir, savedState.file, savedState.sum);
        await this.#options.beforeGoingOn?.();
      }
      await qmp.execute('cont');
    } finally {
      qmp.close();
    }
  }

  /** Pins and checks. */
  async #place(qmp: Qmp): Promise<void> {
    const { layout } = this.#plan;
    this.#options.onProgress('placing');
    await applyLayout({ pid: this.#keeper!.vmmPid, qmp, layout });
    const found = await verifyLayout({ pid: this.#keeper!.vmmPid, qmp, layout });
    this.#record.placement = found;
    requireMet(found, layout);
  }

  async #joinAgent(giveUp: AbortSignal): Promise<void> {
    const { bootTimeoutMs, setup, volumeSetup, layout, verifyPlacement, namespaces, savedState } = this.#plan;
    this.#options.onProgress(savedState === undefined ? 'booting' : 'joining');
    const isFresh = savedState === undefined;
    this.#channel = await Channel.connect(channelAddress(this.#plan), bootTimeoutMs, {
      signal: giveUp,
      isFresh,
    });
    this.#record.guestKernel = this.#channel.kernelRelease;
    // The clock and the randomness of the host's kernel are the host's.
    const fresh = namespaces === undefined ? freshness() : [];
    // A guest that goes on is set up already; it only let go of the host's directories before it was saved.
    await this.#channel.configure(isFresh ? [...fresh, ...setup] : fresh);
    const isUserKnown = !isFresh || namespaces?.layered === false;
    const user = isUserKnown ? [] : await userStepsIn(this.#channel, this.#options.user);
    await this.#channel.configure([...user, ...volumeSetup]);
    if (verifyPlacement && this.#plan.driver === 'netns') {
      // Before anything is started in it: all inherit it.
      await pinProcess(this.#keeper!.vmmPid, layout);
    }
    if (verifyPlacement && this.#plan.driver !== 'qemu') {
      this.#record.placement = verifyAffinity(this.#keeper!.vmmPid, this.#keeper!.contained, layout);
      requireMet(this.#record.placement, layout);
    }
    if (verifyPlacement && this.#plan.driver === 'qemu') {
      const contents = new Map<string, string>();
      for (const path of guestTopologyPaths(layout)) {
        const content = await this.#channel.read(path);
        if (content !== undefined) contents.set(path, content.toString());
      }
      const differences = compareGuestTopology(layout, contents);
      const placement = this.#record.placement!;
      placement.differences.push(...differences);
      placement.met &&= differences.length === 0;
      requireMet(placement, layout);
    }
  }
}

/** An image that is not the host's own does not know the user. */
async function userStepsIn(channel: Channel, user: HostUser): Promise<Step[]> {
  const [passwd, group] = await Promise.all([
    channel.readWhole('/etc/passwd'),
    channel.readWhole('/etc/group'),
  ]);
  return userSteps(user, passwd?.toString() ?? '', group?.toString() ?? '');
}

/** What only the moment of the start can give: the time, and randomness that no other guest has. */
function freshness(): Step[] {
  const now = Date.now();
  return [
    ['clock', String(Math.floor(now / 1000)), String((now % 1000) * 1_000_000)],
    ['entropy', randomBytes(64).toString('hex')],
  ];
}

/** A detached guest holds its images itself, so that they stay when the host agent is gone. */
async function leaseByKeeper(plan: GuestPlan, store: Store): Promise<void> {
  const keeper = viewGuest(plan.name)?.keeper;
  if (keeper === undefined) return;
  await store.lease(plan.id, plan.objects, { owner: { ...thisProcess(), ...keeper }, name: plan.name });
}

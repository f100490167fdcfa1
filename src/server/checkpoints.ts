/** Checkpoints of clusters, taken and gone on from by the host agent: it has the fabrics and the guests' channels. */

import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import {
  type Checkpoint,
  type CheckpointRecord,
  discardCheckpoint,
  fabricStateOf,
  readCheckpoint,
  readSecret,
} from '../cluster/checkpoint/files.ts';
import { requireImages } from '../cluster/checkpoint/images.ts';
import { planRestore, type RestoreJob, type RestorePlan } from '../cluster/checkpoint/plan.ts';
import { goOnAfterDeath, type TakeInput, type Taken, takeCheckpoint } from '../cluster/checkpoint/take.ts';
import type { ClusterPlan } from '../cluster/plan.ts';
import { checkClusterMemory } from '../cluster/resources.ts';
import {
  clusterSecret,
  discardCluster,
  guestsOf,
  makeClusterDir,
  markFrozen,
  readClusterHosts,
  readClusterPlan,
  readFabricPlan,
  readFrozen,
  writeClusterPlan,
  writeClusterSecret,
} from '../cluster/state.ts';
import { LodgeError, retold } from '../errors.ts';
import type { Channel } from '../guest/channel/channel.ts';
import type { GuestPlan } from '../guest/plan.ts';
import { type GuestView, guestDir } from '../guest/state.ts';
import { foldHostList } from '../host-list.ts';
import { openStore, type Store } from '../image/store.ts';
import { probeLimits } from '../machine/basics.ts';
import type { Fabrics } from './fabrics.ts';

/** What of the host agent is needed. */
export interface CheckpointContext {
  fabrics: Fabrics;
  channelOf: (plan: GuestPlan) => Promise<Channel | undefined>;
  /** Whether this agent ends, and all guests with it, once what is under way is done. */
  isEnding?: () => boolean;
  /** Starts a guest from its saved state; it goes on when `beforeGoingOn` resolves. */
  startSaved: (plan: GuestPlan, beforeGoingOn: () => Promise<void>) => Promise<void>;
}

/** @throws LodgeError `no-such-cluster`, and what {@link takeCheckpoint} throws */
export async function checkpointCluster(
  name: string,
  dir: string,
  { fabrics, channelOf }: CheckpointContext,
  onProgress: (text: string) => void,
): Promise<Taken> {
  if (readClusterHosts(name) !== undefined) {
    throw new LodgeError(
      'checkpoint',
      `cluster '${name}' goes on at other hosts, and only a job's can be saved over several`,
      {
        fix: 'bring it up on one host, or in a job of Slurm: lodge up',
      },
    );
  }
  const { cluster, ...toSave } = await whatToSave(name, dir, { fabrics, channelOf });
  return takeCheckpoint({ ...toSave, dir, cluster, secret: clusterSecret(name), onProgress });
}

/** What there is to be saved of a cluster on this host. @throws LodgeError `no-such-cluster`, `checkpoint` */
export async function whatToSave(
  name: string,
  dir: string,
  { fabrics, channelOf }: Omit<CheckpointContext, 'startSaved'>,
): Promise<{ cluster: ClusterPlan } & Pick<TakeInput, 'fabric' | 'guests' | 'askFabric' | 'markFrozen'>> {
  const cluster = readClusterPlan(name);
  const fabric = readFabricPlan(name);
  if (cluster === undefined || fabric === undefined) {
    throw new LodgeError('no-such-cluster', `there is no cluster named '${name}' on this host`);
  }
  const bridged = fabric.networks.filter(({ bridge }) => bridge !== undefined);
  if (bridged.length > 0) {
    throw new LodgeError(
      'checkpoint',
      `${bridged.map((network) => network.name).join(', ')}: the kernel cannot hold the frames on a bridge while a cluster is saved`,
      { fix: 'leave out bridge: the user-space fabric stands still and is saved' },
    );
  }
  const views = guestsOf(name);
  const away = notRunning(cluster, views);
  if (away.length > 0) {
    throw new LodgeError('checkpoint', 'not all guests of this cluster run', {
      detail: away.join('\n'),
      fix: `lodge status ${name}, and lodge apply ${cluster.file}`,
    });
  }
  const guests = await Promise.all(
    views.map(async ({ plan }) => {
      const channel = await channelOf(plan);
      return { name: plan.hostname, plan, ...(channel === undefined ? {} : { channel }) };
    }),
  );
  const mark = (part: string | undefined): void => {
    markFrozen(name, part);
    fabrics.note(name, {
      kind: part === undefined ? 'fabric-thawed' : 'fabric-frozen',
      subject: name,
      text: part === undefined ? 'guests and links go on' : `for a checkpoint in ${dir}`,
    });
  };
  return {
    cluster,
    fabric,
    guests,
    askFabric: (kind, ask) => fabrics.askWorker(name, kind, ask),
    markFrozen: mark,
  };
}

/** The guests of a cluster that do not run, a line for each status: `exited: v[1-3]`. */
export function notRunning(
  { name, guests }: Pick<ClusterPlan, 'name' | 'guests'>,
  views: readonly Pick<GuestView, 'name' | 'status'>[],
): string[] {
  const statuses = new Map<string, string>(guests.map(({ fullName }) => [fullName, 'missing']));
  for (const view of views) statuses.set(view.name, view.status);
  const lines = new Map<string, string[]>();
  for (const [fullName, status] of statuses) {
    if (status === 'running') continue;
    const own = fullName.slice(name.length + 1);
    lines.set(status, [...(lines.get(status) ?? []), own]);
  }
  return [...lines].map(([status, names]) => `${status}: ${foldHostList(names)}`);
}

/** How long the fabric may take to reach all guests before it goes on without those it does not. */
const connectLimitMs = 10_000;

/** Starts a cluster from a checkpoint. @throws LodgeError; nothing of it is left then */
export async function restoreCluster(
  name: string,
  dir: string,
  context: CheckpointContext,
  onProgress: (text: string) => void,
): Promise<void> {
  const checkpoint = readCheckpoint(dir);
  requireFreeName(name, dir);
  requireMemory(checkpoint);
  const plan = await whatToRestore(checkpoint, name);
  const saved = { plan, secret: readSecret(dir), fabricState: readFileSync(fabricStateOf(dir)) };
  await goOnFrom(saved, context, onProgress);
  context.fabrics.note(name, { kind: 'fabric-thawed', subject: name, text: `goes on from ${dir}` });
}

/**
 * What goes on on this host of what was saved.
 * @param job that it goes on in: see {@link planRestore}
 * @throws LodgeError `image-not-found` when what guests run from is not there any more
 */
export async function whatToRestore(
  checkpoint: Checkpoint,
  name: string,
  job?: RestoreJob,
): Promise<RestorePlan> {
  const store = openStore();
  const newId = (): string => randomBytes(8).toString('hex');
  const objectPath = (id: string): string => store.objectPath(id);
  const plan = planRestore({
    ...{ checkpoint, name, guestDir, objectPath, newId },
    ...(job === undefined ? {} : { job }),
  });
  await requireImagesHere(plan.guests, checkpoint.objects, store);
  return plan;
}

/**
 * @param hasFile whether an image is there that is no object of the store
 * @throws LodgeError `image-not-found` naming all that is missing of what guests run from
 */
export async function requireImagesHere(
  plans: readonly GuestPlan[],
  objects: CheckpointRecord['objects'],
  store: Store,
  hasFile: (path: string) => boolean = existsSync,
): Promise<void> {
  const names = new Map((await store.names()).map((image) => [image.name, image.id]));
  requireImages(new Map(plans.map((plan) => [plan.hostname, plan])), objects ?? {}, {
    hasObject: (id) => store.isPresent(id),
    hasFile,
    contentOf: (image) => names.get(image),
  });
}

/** @throws LodgeError `name-taken` */
export function requireFreeName(name: string, dir: string): void {
  if (readClusterPlan(name) !== undefined || guestsOf(name).length > 0) {
    throw new LodgeError('name-taken', `there is a cluster named '${name}' already`, {
      fix: `lodge down ${name}, or go on beside it: lodge restore --fork ${dir}`,
    });
  }
}

/** @throws LodgeError `not-enough-memory` with the sum, before anything is started */
function requireMemory({ cluster }: Checkpoint): void {
  try {
    checkClusterMemory(cluster.guests, probeLimits().limits);
  } catch (error) {
    if (!(error instanceof LodgeError)) throw error;
    throw retold(error, { fix: 'end other guests first, or restore it where there is as much' });
  }
}

export interface Saved {
  plan: RestorePlan;
  secret: string;
  fabricState: Uint8Array;
}

/**
 * Starts what was saved on this host.
 * @param allLoaded waits for others that go on at the same time
 * @throws LodgeError; nothing of it is left then
 */
export async function goOnFrom(
  { plan, secret, fabricState }: Saved,
  { fabrics, startSaved }: CheckpointContext,
  onProgress: (text: string) => void,
  allLoaded: () => Promise<void> = async () => {},
): Promise<void> {
  const { name } = plan.cluster;
  makeClusterDir(name);
  writeClusterSecret(name, secret);
  writeClusterPlan(plan.cluster);
  const together = meeting(plan.guests.length);
  try {
    onProgress('loading guests');
    const guests = plan.guests.map((guest) =>
      startSaved(guest, together.arrive).catch((error) => {
        together.fail(error);
        throw error;
      }),
    );
    const started = Promise.allSettled(guests);
    try {
      await fabrics.begin(plan.fabric, fabricState);
      await together.allHere;
      onProgress('joining the fabric');
      await untilConnected(fabrics, name);
      await allLoaded();
      together.goOn();
      await fabrics.askWorker(name, 'thaw', {});
    } catch (error) {
      together.fail(error);
      throw error;
    } finally {
      await started;
    }
    await Promise.all(guests);
  } catch (error) {
    await fabrics.stop(name);
    discardCluster(name);
    throw error;
  }
}

async function untilConnected(fabrics: Fabrics, name: string): Promise<void> {
  const deadlineMs = Date.now() + connectLimitMs;
  for (;;) {
    const { ports, connectedPorts } = await fabrics.ask(name, 'status', {});
    if (connectedPorts === ports || Date.now() > deadlineMs) return;
    await delay(20);
  }
}

interface Meeting {
  /** Says that one is here, and waits until all may go on. */
  arrive: () => Promise<void>;
  allHere: Promise<void>;
  goOn: () => void;
  fail: (error: unknown) => void;
}

/** So many come together, and then go on at once; or none does. */
function meeting(many: number): Meeting {
  let missing = many;
  const here = deferred();
  const onward = deferred();
  if (many === 0) here.resolve();
  return {
    arrive: () => {
      if (--missing === 0) here.resolve();
      return onward.promise;
    },
    allHere: here.promise,
    goOn: onward.resolve,
    fail: (error) => {
      here.reject(error);
      onward.reject(error);
    },
  };
}

interface Deferred {
  promise: Promise<void>;
  resolve: () => void;
  reject: (error: unknown) => void;
}

function deferred(): Deferred {
  const made = {} as Deferred;
  made.promise = new Promise((resolve, reject) => {
    Object.assign(made, { resolve, reject });
  });
  // Whoever waits is told; nobody need.
  made.promise.catch(() => {});
  return made;
}

/** Lets a cluster go on that a killed host agent has left standing. */
export async function thawAbandoned(name: string, { fabrics, channelOf }: CheckpointContext): Promise<void> {
  const part = readFrozen(name);
  if (part === undefined) return;
  const plans = guestsOf(name).flatMap(({ status, plan }) => (status === 'running' ? [plan] : []));
  await goOnAfterDeath(plans, channelOf);
  discardCheckpoint(part);
  markFrozen(name, undefined);
  fabrics.note(name, {
    kind: 'fabric-thawed',
    subject: name,
    text: 'it stood still for a checkpoint whose taker was killed',
  });
}

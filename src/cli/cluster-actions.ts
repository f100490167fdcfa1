/** What `up`, `apply` and `down` do. */

import { applySteps, type ClusterActions, describeSteps, stepsTo } from '../cluster/apply.ts';
import { isNothing, type Step } from '../cluster/diff.ts';
import { bootRoom, forEachBounded, usableCpuCount } from '../cluster/governor.ts';
import { rankGuests } from '../cluster/guest-files.ts';
import { type ClusterKeys, clusterKeys, planSetUps, setUpSteps, sshScript } from '../cluster/guest-setup.ts';
import { lockCluster } from '../cluster/lock.ts';
import { lookAtCluster, readPressure, residentMemoryBytes } from '../cluster/look.ts';
import type { ClusterPlan, PlannedGuest } from '../cluster/plan.ts';
import { checkClusterMemory } from '../cluster/resources.ts';
import {
  clusterSecret,
  discardCluster,
  guestsOf,
  hasFabric,
  readClusterPlan,
  whichCluster,
} from '../cluster/state.ts';
import { LodgeError } from '../errors.ts';
import { removeGuestFiles } from '../guest/start.ts';
import { type GuestView, viewGuest } from '../guest/state.ts';
import { endGuest, sweep } from '../guest/sweep.ts';
import { openStore, type Store } from '../image/store.ts';
import { probeLimits } from '../machine/basics.ts';
import { configureGuest, execInGuest, startDetached, stopThroughOwner } from '../server/client.ts';
import { applyFabric, noteEvent, stopFabric } from '../server/cluster-client.ts';
import type { GlobalOptions } from './program.ts';
import { openProgress, progressBar } from './progress.ts';
import { printClusterPlan } from './show-cluster.ts';

/** How long guests that are removed or replaced may take to go down. */
const graceMs = 5000;

export interface UpOptions extends GlobalOptions {
  /** `up`: refuses a cluster that is there from another file. */
  isNew: boolean;
  dryRun: boolean;
}

export async function upVerb(file: string, options: UpOptions): Promise<void> {
  const store = openStore();
  const progress = openProgress(options);
  try {
    const look = await lookAtCluster(file, { store, onProgress: progress.show, cwd: process.cwd() });
    const { plan } = look;
    if (options.dryRun) {
      // Keys are the cluster's own: until there is one, nobody has any.
      const setUps = planSetUps(plan, clusterKeys(plan.name, new Uint8Array(32)));
      progress.clear();
      const isThere = readClusterPlan(plan.name) !== undefined;
      const steps = isThere ? stepsTo(plan, planSetUps(plan, keysOf(plan.name))) : stepsTo(plan, setUps);
      checkMemory(plan, steps);
      printClusterPlan(plan, steps, options.json);
      return;
    }
    if (options.isNew) requireSameFile(plan);
    const lock = await lockCluster(plan.name);
    try {
      if (options.isNew) requireSameFile(plan);
      await sweep(store);
      const setUps = planSetUps(plan, keysOf(plan.name));
      const steps = stepsTo(plan, setUps);
      checkMemory(plan, steps);
      const basics = probeLimits();
      await applySteps({
        plan,
        steps,
        setUps,
        guestPlan: look.guestPlan,
        actions: actionsFor(plan, keysOf(plan.name), store),
        room: () => bootRoom(usableCpuCount(basics), readPressure()),
        onProgress: (state) => progress.show(progressBar(state)),
      });
      progress.clear();
      const text = isNothing(steps) ? 'nothing to do' : describeSteps(steps);
      if (options.json) process.stdout.write(`${JSON.stringify({ name: plan.name, steps })}\n`);
      else process.stdout.write(`${plan.name}: ${text}\n`);
    } finally {
      // Refused before anything was begun: then there is no cluster.
      if (readClusterPlan(plan.name) === undefined && guestsOf(plan.name).length === 0)
        discardCluster(plan.name);
      await lock.release();
    }
  } finally {
    progress.clear();
  }
}

function keysOf(name: string): ClusterKeys {
  return clusterKeys(name, clusterSecret(name));
}

function requireSameFile(plan: ClusterPlan): void {
  const there = readClusterPlan(plan.name);
  if (there === undefined || there.file === plan.file) return;
  throw new LodgeError('cluster-exists', `there is a cluster '${plan.name}' already, from ${there.file}`, {
    fix: `lodge apply ${plan.file} makes it this one; lodge down ${plan.name} ends it; or give this one another name`,
  });
}

/** What is to be started must fit into what is free and what will be. */
function checkMemory(plan: ClusterPlan, steps: readonly Step[]): void {
  const named = (kinds: readonly Step['kind'][]): Set<string> =>
    new Set(steps.flatMap((step) => ('guest' in step && kinds.includes(step.kind) ? [step.guest] : [])));
  const [starting, leaving] = [named(['start', 'replace']), named(['remove', 'replace'])];
  const leavingBytes = [...leaving].reduce((sum, name) => sum + residentBytes(viewGuest(name)), 0);
  checkClusterMemory(
    plan.guests.filter((guest) => starting.has(guest.fullName)),
    probeLimits().limits,
    leavingBytes,
  );
}

/** Memory that a guest's process has now. */
function residentBytes(guest: GuestView | undefined): number {
  return guest?.keeper === undefined ? 0 : residentMemoryBytes(guest.keeper.pid);
}

function actionsFor(plan: ClusterPlan, keys: ClusterKeys, store: Store): ClusterActions {
  const ranks = new Set(rankGuests(plan).map((guest) => guest.fullName));
  return {
    startGuest: async (guest) => {
      await startDetached(guest, () => {});
    },
    removeGuest: (guest) => removeGuest(guest, store, graceMs),
    setUpGuest: async (guest, setUp) => {
      const isRootWritable = viewGuest(guest.fullName)?.plan.namespaces?.layered !== false;
      await configureGuest(guest.fullName, setUpSteps(plan, guest, setUp, keys, isRootWritable));
      if (isRootWritable && ranks.has(guest.fullName)) await startSsh(guest);
    },
    applyFabric: async () => {
      await applyFabric(plan.name);
    },
    note: (event) => noteEvent(plan.name, event),
  };
}

/** Ends a guest, asked first where it can be, and removes what it leaves. */
async function removeGuest(guest: GuestView, store: Store, limitMs: number): Promise<void> {
  if (guest.status === 'running') await stopThroughOwner(guest.name, limitMs).catch(() => {});
  const left = viewGuest(guest.name);
  if (left === undefined) return;
  await endGuest(left);
  await removeGuestFiles({ dir: left.dir, id: left.plan.id }, store);
}

/** Has the guest's own SSH server listen, where it has one. */
async function startSsh(guest: PlannedGuest): Promise<void> {
  const session = await execInGuest(guest.fullName, {
    argv: ['/bin/sh', '-c', sshScript],
    env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' },
    cwd: '/',
    uid: 0,
    gid: 0,
    groups: [0],
    umask: 0o022,
  });
  let output = '';
  const collect = (bytes: Buffer): void => {
    if (output.length < 4096) output += bytes.toString();
  };
  session.output('stdout', collect);
  session.output('stderr', collect);
  session.endInput();
  try {
    const { code, signal } = await session.end;
    if (code === 0 && signal === 0) return;
  } catch (error) {
    // An image without a shell has no server for SSH either.
    if (error instanceof LodgeError && error.code === 'command-not-found') return;
    throw error;
  }
  throw new LodgeError('guest-setup', 'the SSH server of the guest could not be started', {
    ...(output === '' ? {} : { detail: output.trim() }),
    fix: `look at it: lodge exec ${guest.fullName} -u root -- /usr/sbin/sshd -t -f /etc/lodge/ssh/sshd_config`,
  });
}

/** Guests that are ended at once. */
const mostAtOnce = 64;

export async function downVerb(
  asked: string | undefined,
  options: GlobalOptions & { graceMs: number },
): Promise<void> {
  const name = whichCluster(asked);
  const store = openStore();
  const progress = openProgress(options);
  const lock = await lockCluster(name);
  try {
    await sweep(store);
    const guests = guestsOf(name);
    let ended = 0;
    await forEachBounded(guests, mostAtOnce, async (guest) => {
      progress.show(`${ended++} of ${guests.length} guests ended`);
      await removeGuest(guest, store, options.graceMs);
    });
    // Without anything on disk no host agent has a fabric of it.
    if (hasFabric(name)) await stopFabric(name);
    discardCluster(name);
    progress.clear();
    if (options.json) process.stdout.write(`${JSON.stringify({ name, guests: guests.length })}\n`);
  } finally {
    progress.clear();
    await lock.release();
  }
}

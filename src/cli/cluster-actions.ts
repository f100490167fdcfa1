/** What `up`, `apply` and `down` do. */

import { applySteps, type ClusterActions, describeSteps, stepsTo } from '../cluster/apply.ts';
import { isNothing, type Step } from '../cluster/diff.ts';
import { bootRoom, forEachBounded, usableCpuCount } from '../cluster/governor.ts';
import { rankGuests } from '../cluster/guest-files.ts';
import { type ClusterKeys, clusterKeys, planSetUps, setUpSteps, sshScript } from '../cluster/guest-setup.ts';
import { checkClusterPages } from '../cluster/huge-pages.ts';
import { lockCluster } from '../cluster/lock.ts';
import {
  type ClusterExtension,
  lookAtCluster,
  planPlaced,
  readPressure,
  residentMemoryBytes,
} from '../cluster/look.ts';
import type { ClusterPlan, PlannedGuest } from '../cluster/plan.ts';
import { checkClusterMemory } from '../cluster/resources.ts';
import {
  clusterSecret,
  discardCluster,
  discardUnbegun,
  guestsOf,
  hasFabric,
  readClusterPlan,
} from '../cluster/state.ts';
import { LodgeError } from '../errors.ts';
import { removeGuestFiles } from '../guest/start.ts';
import { type GuestView, viewGuest } from '../guest/state.ts';
import { endGuest, sweep } from '../guest/sweep.ts';
import { openStore, type Store } from '../image/store.ts';
import { probeLimits } from '../machine/basics.ts';
import {
  configureGuest,
  execInGuest,
  startDetached,
  stopServices,
  stopThroughOwner,
} from '../server/client.ts';
import { applyFabric, noteEvent, stopFabric } from '../server/cluster-client.ts';
import { jobForClusters } from '../server/job.ts';
import { type Interruptible, interruptible } from './interruptible.ts';
import { hostClusterNamed, jobClusterNamed } from './job-names.ts';
import type { GlobalOptions } from './program.ts';
import { openProgress, type Progress, progressBar } from './progress.ts';
import { printClusterPlan } from './show-cluster.ts';
import { dieOf } from './stdio.ts';

/** How long guests that are removed or replaced may take to go down. */
const graceMs = 5000;

export interface UpOptions extends GlobalOptions {
  /** `up`: refuses a cluster that is there from another file. */
  isNew: boolean;
  dryRun: boolean;
  /** What the cluster has beside what its spec says. */
  extension?: ClusterExtension;
  /** Nothing is printed of what was done. */
  isSilent?: boolean;
}

export async function upVerb(file: string, options: UpOptions): Promise<void> {
  const job = jobForClusters();
  if (job !== undefined) {
    const { upInJob } = await import('./job-cluster.ts');
    await upInJob(file, job, options);
    return;
  }
  const store = openStore();
  const progress = openProgress(options);
  try {
    const look = await lookAtCluster(
      file,
      { store, onProgress: progress.show, cwd: process.cwd() },
      options.extension,
    );
    const { plan } = look;
    requireOwner(readClusterPlan(plan.name), options);
    if (options.dryRun) {
      // Keys are the cluster's own: until there is one, nobody has any.
      const setUps = planSetUps(plan, clusterKeys(plan.name, new Uint8Array(32)));
      progress.clear();
      const isThere = readClusterPlan(plan.name) !== undefined;
      const steps = isThere ? stepsTo(plan, planSetUps(plan, keysOf(plan.name))) : stepsTo(plan, setUps);
      look.requireSources(startingIn(steps));
      checkMemory(plan, steps);
      await planPlaced(plan.guests, steps, look.guestPlan);
      printClusterPlan(plan, steps, options.json);
      return;
    }
    if (plan.onEnd !== undefined && !options.quiet) {
      progress.clear();
      process.stderr.write(
        'lodge: on-end is for jobs of Slurm: here nothing ends a cluster but lodge down, and it is not saved then\n',
      );
    }
    if (options.isNew) requireSameFile(plan);
    const lock = await lockCluster(plan.name);
    try {
      if (options.isNew) requireSameFile(plan);
      await sweep(store);
      const setUps = planSetUps(plan, keysOf(plan.name));
      const steps = stepsTo(plan, setUps);
      look.requireSources(startingIn(steps));
      checkMemory(plan, steps);
      const guestPlan = await planPlaced(plan.guests, steps, look.guestPlan);
      const basics = probeLimits();
      const interrupt = tellWhenInterrupted(plan, progress);
      await applySteps({
        plan,
        steps,
        setUps,
        guestPlan,
        actions: actionsFor(plan, keysOf(plan.name), store),
        room: () => bootRoom(usableCpuCount(basics), readPressure()),
        onProgress: (state) => progress.show(progressBar(state)),
      }).finally(interrupt.stop);
      progress.clear();
      const text = isNothing(steps) ? 'nothing to do' : describeSteps(steps);
      if (options.isSilent === true) return;
      if (options.json) process.stdout.write(`${JSON.stringify({ name: plan.name, steps })}\n`);
      else process.stdout.write(`${plan.name}: ${text}\n`);
    } finally {
      discardUnbegun(plan.name);
      await lock.release();
    }
  } finally {
    progress.clear();
  }
}

/** What the host agent was asked to start it goes on starting: whoever ends this command is told. */
function tellWhenInterrupted(plan: ClusterPlan, progress: Progress): Interruptible {
  const interrupt = interruptible((name) => new LodgeError('usage', `ended by ${name}`));
  interrupt.signal.addEventListener('abort', () => {
    progress.clear();
    process.stderr.write(
      `lodge: '${plan.name}' is not whole: guests that were being started go on, as lodge status shows; ` +
        'the same command again does the rest\n',
    );
    dieOf(interrupt.received!);
  });
  return interrupt;
}

function keysOf(name: string): ClusterKeys {
  return clusterKeys(name, clusterSecret(name));
}

function requireSameFile(plan: ClusterPlan): void {
  const there = readClusterPlan(plan.name);
  if (there === undefined || there.file === plan.file) return;
  throw otherFile(plan, there);
}

/** A cluster with a Slurm over it has a network more than its file says. @throws LodgeError `usage` */
export function requireOwner(there: ClusterPlan | undefined, options: UpOptions): void {
  const isOfSlurm = there?.fabric.networks.some(({ ports }) =>
    ports.some(({ end }) => end.kind === 'uplink' && end.publish !== undefined),
  );
  if (isOfSlurm !== true || options.extension !== undefined) return;
  throw new LodgeError('usage', `there is a Slurm over cluster '${there!.name}'`, {
    fix: `lodge slurm up ${there!.file} changes both`,
  });
}

/** The error of a cluster that is there from another file. */
export function otherFile(
  plan: Pick<ClusterPlan, 'name' | 'file'>,
  there: Pick<ClusterPlan, 'file'>,
): LodgeError {
  return new LodgeError('cluster-exists', `there is a cluster '${plan.name}' already, from ${there.file}`, {
    fix: `lodge apply ${plan.file} makes it this one; lodge down ${plan.name} ends it; or give this one another name`,
  });
}

/** Guests that are to be started, by their full names. */
export function startingIn(steps: readonly Step[]): Set<string> {
  return guestsIn(steps, ['start', 'replace']);
}

function guestsIn(steps: readonly Step[], kinds: readonly Step['kind'][]): Set<string> {
  return new Set(steps.flatMap((step) => ('guest' in step && kinds.includes(step.kind) ? [step.guest] : [])));
}

/**
 * What is to be started must fit into what is free and what will be.
 * @throws LodgeError `not-enough-memory`, `placement-unmet`
 */
export function checkMemory(plan: ClusterPlan, steps: readonly Step[]): void {
  const [starting, leaving] = [startingIn(steps), guestsIn(steps, ['remove', 'replace'])];
  const guests = plan.guests.filter((guest) => starting.has(guest.fullName));
  const views = [...leaving].map((name) => viewGuest(name)).filter((view) => view !== undefined);
  const basics = probeLimits();
  checkClusterMemory(
    guests,
    basics.limits,
    views.reduce((sum, view) => sum + residentBytes(view), 0),
  );
  checkClusterPages(
    guests,
    basics,
    views.filter(({ status }) => status !== 'exited').map((view) => view.plan),
  );
}

/** Memory that a guest's process has now. */
export function residentBytes(guest: GuestView | undefined): number {
  return guest?.keeper === undefined ? 0 : residentMemoryBytes(guest.keeper.pid);
}

/** @param plan the whole of the cluster: names and keys come from it */
export function actionsFor(plan: ClusterPlan, keys: ClusterKeys, store: Store): ClusterActions {
  const ranks = new Set(rankGuests(plan).map((guest) => guest.fullName));
  return {
    startGuest: async (guest) => {
      await startDetached(guest, () => {});
    },
    removeGuest: (guest) => removeGuest(guest, store, graceMs),
    setUpGuest: async (guest, setUp) => {
      const isRootWritable = viewGuest(guest.fullName)?.plan.namespaces?.layered !== false;
      await configureGuest(guest.fullName, setUpSteps(plan, guest, setUp, keys, isRootWritable));
      if (isRootWritable && plan.ssh !== false && ranks.has(guest.fullName)) await startSsh(guest);
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
  const ofJob = jobClusterNamed(asked);
  if (ofJob !== undefined) {
    const { downInJob } = await import('./job-cluster.ts');
    await downInJob(ofJob, options);
    return;
  }
  const name = hostClusterNamed(asked);
  const progress = openProgress(options);
  const lock = await lockCluster(name);
  try {
    const guests = await endCluster(name, options.graceMs, progress.show);
    progress.clear();
    if (options.json) process.stdout.write(`${JSON.stringify({ name, guests })}\n`);
  } finally {
    progress.clear();
    await lock.release();
  }
}

/** Ends all guests and the fabric of a cluster on this host. The caller holds its lock. @returns how many guests */
export async function endCluster(
  name: string,
  limitMs: number,
  onProgress: (text: string) => void,
): Promise<number> {
  const store = openStore();
  await sweep(store);
  const guests = guestsOf(name);
  let ended = 0;
  await forEachBounded(guests, mostAtOnce, async (guest) => {
    onProgress(`${ended++} of ${guests.length} guests ended`);
    await removeGuest(guest, store, limitMs);
  });
  // Without anything on disk no host agent has a fabric of it.
  if (hasFabric(name)) {
    await stopFabric(name);
    // Of a Slurm over the cluster, where there is one.
    await stopServices(`slurm-${name}`);
  }
  discardCluster(name);
  return guests.length;
}

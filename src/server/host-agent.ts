/**
 * The host agent: one process per user and host that owns detached guests for as long as anybody needs it.
 * It keeps no truth of its own: killed at any moment, the next one finds the guests in their directories.
 */

import { rmSync } from 'node:fs';
import type { Server } from 'node:http';
import { join } from 'node:path';
import type { Taken } from '../cluster/checkpoint/take.ts';
import { clusterDir, guestsOf, listClusters, readFabricPlan } from '../cluster/state.ts';
import { LodgeError } from '../errors.ts';
import { findHolder } from '../fabric/bridge/holder.ts';
import type { IsolationFinding } from '../fabric/isolation/finding.ts';
import { proveIsolation } from '../fabric/isolation/prove.ts';
import { Channel } from '../guest/channel/channel.ts';
import { crashOf } from '../guest/death.ts';
import { channelAddress, type GuestPlan } from '../guest/plan.ts';
import { type RunningGuest, startGuest } from '../guest/start.ts';
import { listGuests, requireGuest, runtimeDir } from '../guest/state.ts';
import { stopGuest } from '../guest/stop.ts';
import { sweep } from '../guest/sweep.ts';
import { thisUser } from '../guest/user.ts';
import { openStore } from '../image/store.ts';
import { installationVersion } from '../installation.ts';
import type { StartRequest } from './api.ts';
import { type CheckpointContext, checkpointCluster, restoreCluster, thawAbandoned } from './checkpoints.ts';
import type { ClusterOwner } from './cluster-routes.ts';
import { Fabrics } from './fabrics.ts';
import { createApi, type GuestOwner } from './http.ts';
import { doPart } from './job-checkpoints.ts';
import { type AgentJob, type JobSaver, jobSaver } from './job-saver.ts';
import { Services } from './services.ts';
import { Verbs } from './verb.ts';

/** With no guest running and no client, the agent goes after this long. */
const idleLimitMs = 60_000;

/** Guests are started by the hundred: what killed processes have left is looked for once in so long. */
const sweepIntervalMs = 1000;
/** Of this process's time at most, in which it does nothing else: a look is the longer the more guests there are. */
const sweepShare = 1 / 20;

/** How long the agent of a guest that runs already may take to answer. */
const adoptionLimitMs = 15_000;

export function agentSocketPath(): string {
  return join(runtimeDir(), 'agent.sock');
}

export interface HostAgentOptions {
  /** Of a job: its guests end with it, it stays until it is told to end, and it runs verbs for the job's other hosts. */
  job?: AgentJob;
  /** Called once it can be asked. */
  onReady?: (api: Server) => Promise<void>;
  /** What it is there for alone: begun once it can be asked, and it ends with it. */
  task?: (owner: TaskOwner) => Promise<void>;
}

/** What a task of the agent's own process has of it, without a socket between. */
export type TaskOwner = Pick<HostAgent, 'start' | 'channel' | 'fabrics'>;

/**
 * Serves until told to leave or idle. The caller holds the lock that makes this the only one; a socket that is
 * there was left by one that was killed.
 */
export async function serveHostAgent({ job, onReady, task }: HostAgentOptions = {}): Promise<void> {
  const owner = new HostAgent(job);
  owner.adopt();
  const path = agentSocketPath();
  rmSync(path, { force: true });
  const server = createApi(owner);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  await onReady?.(server);
  let clients = 0;
  let lastBusyMs = performance.now();
  server.on('connection', (socket) => {
    clients++;
    socket.on('close', () => {
      clients--;
      lastBusyMs = performance.now();
    });
  });
  await new Promise<void>((resolve) => {
    owner.onLeave = resolve;
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => resolve());
    task?.(owner).then(resolve, resolve);
    if (job !== undefined) return;
    setInterval(() => {
      const isNeeded =
        clients > 0 ||
        listGuests().some((guest) => guest.status !== 'exited') ||
        owner.fabrics.isJoined ||
        owner.services.isAny;
      if (isNeeded) lastBusyMs = performance.now();
      else if (performance.now() - lastBusyMs > idleLimitMs) resolve();
    }, 5000);
  });
  try {
    await owner.beforeEnd();
  } finally {
    await owner.verbs?.end();
  }
  await owner.services.stopAll();
  await owner.fabrics.leave();
  rmSync(path, { force: true });
}

class HostAgent implements GuestOwner, ClusterOwner {
  readonly version = installationVersion();
  readonly fabrics = new Fabrics();
  readonly clusters = this;
  readonly services = new Services();
  readonly verbs: Verbs | undefined;
  onLeave: () => void = () => {};
  readonly #store = openStore();
  #nextSweepMs = 0;
  #sweeping: Promise<void> = Promise.resolve();
  /** Channels to guests, by guest id; shared by all that ask at the same time. */
  readonly #channels = new Map<string, Promise<Channel>>();
  readonly #job: AgentJob | undefined;
  readonly #saver: JobSaver | undefined;
  #isEnding = false;
  readonly doPart?: NonNullable<ClusterOwner['doPart']>;

  constructor(job: AgentJob | undefined) {
    this.#job = job;
    this.verbs = job === undefined ? undefined : new Verbs();
    if (job !== undefined) {
      this.#saver = jobSaver(job);
      this.doPart = (name, request, session) => doPart(name, request, this.#checkpointContext(), session);
    }
  }

  start({ plan }: StartRequest, onProgress: (text: string) => void): Promise<void> {
    return this.#start(plan, onProgress);
  }

  async #start(
    plan: GuestPlan,
    onProgress: (text: string) => void,
    beforeGoingOn?: () => Promise<void>,
  ): Promise<void> {
    const hasSwept = this.#sweep();
    await this.#sweeping;
    const joinBridges = bridgesOf(plan, this.fabrics);
    await joinBridges?.();
    // One that begins now would not be seen by who ends them all.
    if (this.#isEnding) throw new LodgeError('host-agent', 'the host agent is ending');
    const start = (): Promise<RunningGuest> =>
      startGuest(plan, {
        mode: 'detached',
        isBound: this.#job !== undefined,
        store: this.#store,
        user: thisUser(),
        onProgress,
        ...(beforeGoingOn === undefined ? {} : { beforeGoingOn }),
        ...(joinBridges === undefined ? {} : { onDevices: joinBridges }),
      });
    const guest = await start().catch(async (error) => {
      // What was killed a moment ago may still have the name.
      if (hasSwept || !(error instanceof LodgeError) || error.code !== 'name-taken') throw error;
      await sweep(this.#store);
      return start();
    });
    this.#watch(guest);
    if (guest.channel !== undefined) this.#keep(plan.id, Promise.resolve(guest.channel));
  }

  /** Begins to look at all guests; those that start at the same time share one look. @returns whether it began now */
  #sweep(): boolean {
    const nowMs = performance.now();
    if (nowMs < this.#nextSweepMs) return false;
    this.#sweeping = sweep(this.#store);
    const tookMs = performance.now() - nowMs;
    this.#nextSweepMs = nowMs + Math.max(sweepIntervalMs, tookMs / sweepShare);
    return true;
  }

  /** What happens to a guest of a cluster is in the cluster's log. */
  #watch({ plan, ended }: RunningGuest): void {
    if (plan.cluster === undefined) return;
    const { name: cluster } = plan.cluster;
    // Its sockets are there now; the fabric need not find out by and by.
    const links = plan.interfaces.flatMap(({ network, bridge }) =>
      bridge === undefined ? [`${network}/${plan.hostname}`] : [],
    );
    this.fabrics.askWorker(cluster, 'connect', { links }).catch(() => {});
    this.fabrics.note(cluster, {
      kind: 'guest-started',
      subject: plan.hostname,
      text: `${plan.accelerator}, ready`,
    });
    void ended.then(() => {
      const crash = crashOf(plan);
      const kind = crash?.code === 'guest-panicked' ? 'guest-panicked' : 'guest-exited';
      this.fabrics.note(cluster, { kind, subject: plan.hostname, text: crash?.message ?? 'it has ended' });
    });
  }

  channel(name: string): Promise<Channel> {
    const guest = requireGuest(name);
    const { plan } = guest;
    if (guest.status !== 'running') {
      throw new LodgeError('guest-not-running', `'${name}' is ${guest.status}`, {
        fix:
          guest.status === 'exited'
            ? `lodge logs ${name} shows its end; lodge rm ${name} removes it`
            : 'wait',
      });
    }
    if (!plan.agent) {
      throw new LodgeError('no-agent-in-guest', `'${name}' has no agent to run commands`, {
        fix: `lodge console ${name}`,
      });
    }
    const known = this.#channels.get(plan.id);
    if (known !== undefined) return known;
    return this.#keep(plan.id, Channel.connect(channelAddress(plan), adoptionLimitMs));
  }

  async stop(name: string, graceMs: number): Promise<void> {
    const { plan, status } = requireGuest(name);
    const channel =
      plan.agent && status === 'running' ? await this.channel(name).catch(() => undefined) : undefined;
    await stopGuest(name, channel, graceMs);
  }

  /** Takes over what an agent before this one has left. */
  adopt(): void {
    this.fabrics.adopt();
    for (const name of listClusters()) {
      thawAbandoned(name, this.#checkpointContext()).catch((error: Error) => {
        this.fabrics.note(name, { kind: 'fabric-failed', subject: name, text: error.message });
      });
    }
  }

  checkpoint(name: string, dir: string, onProgress: (text: string) => void): Promise<Taken> {
    return (
      this.#saver?.checkpoint(name, dir, { onProgress }) ??
      checkpointCluster(name, dir, this.#checkpointContext(), onProgress)
    );
  }

  async endOfJob(name: string): Promise<void> {
    await this.#saver?.saveAtEnd(name);
  }

  /** It was told to end: clusters of its job may be saved first. */
  async beforeEnd(): Promise<void> {
    this.#isEnding = true;
    await this.#saver?.atEnd();
  }

  restore(name: string, dir: string, onProgress: (text: string) => void): Promise<void> {
    return restoreCluster(name, dir, this.#checkpointContext(), onProgress);
  }

  /** @throws LodgeError `no-such-cluster` */
  async prove(name: string): Promise<IsolationFinding[]> {
    const plan = readFabricPlan(name);
    if (plan === undefined) throw new LodgeError('no-such-cluster', `there is no cluster named '${name}'`);
    const running = guestsOf(name).filter(({ status }) => status === 'running');
    const guests = await Promise.all(
      running.map(async ({ plan: guest, record }) => ({
        guest: guest.name,
        pid: record.vmmPid!,
        allowed: guest.namespaces === undefined ? [] : guest.interfaces.map((one) => one.name),
        ...(guest.agent ? { channel: await this.channel(guest.name) } : {}),
      })),
    );
    const holder = findHolder(clusterDir(name));
    return proveIsolation(plan, guests, holder?.pid, this.#saver?.planOf(name)?.fabric);
  }

  #checkpointContext(): CheckpointContext {
    return {
      fabrics: this.fabrics,
      isEnding: () => this.#isEnding,
      channelOf: async ({ name, agent }) => (agent ? this.channel(name) : undefined),
      startSaved: (plan, beforeGoingOn) => this.#start(plan, () => {}, beforeGoingOn),
    };
  }

  leave(): void {
    if (this.#job !== undefined) {
      throw new LodgeError('host-agent', 'the agent of a job stays as long as the job does', {
        fix: 'lodge was built anew while the job ran: end the job and begin a new one',
      });
    }
    this.onLeave();
  }

  #keep(id: string, connecting: Promise<Channel>): Promise<Channel> {
    this.#channels.set(id, connecting);
    const forget = (): void => {
      if (this.#channels.get(id) === connecting) this.#channels.delete(id);
    };
    connecting.then((channel) => channel.ended.then(forget), forget);
    return connecting;
  }
}

/** Makes the ports of a guest on bridges what the cluster's plan says; none where it has no such port. */
function bridgesOf(
  { cluster, hostname, interfaces }: GuestPlan,
  fabrics: Fabrics,
): (() => Promise<void>) | undefined {
  const links = interfaces.flatMap(({ network, bridge }) =>
    bridge === undefined ? [] : [`${network}/${hostname}`],
  );
  if (cluster === undefined || links.length === 0) return undefined;
  return () => fabrics.joinBridges(cluster.name, links);
}

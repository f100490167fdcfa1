/**
 * The fabrics of this user's clusters: the host agent has one worker for each. What they are is on disk; a worker that
 * dies is started again, and so are all of them when the agent itself was killed.
 */

import { diffFabric } from '../cluster/diff.ts';
import { type ClusterEvent, ofFabric } from '../cluster/events.ts';
import { changedFabric, type FabricChange, requireLink } from '../cluster/fabric-change.ts';
import {
  clusterDir,
  discardCluster,
  hasFabric,
  listClusters,
  makeClusterDir,
  readClusterHosts,
  readClusterPlan,
  readFabricPlan,
  removeFabricPlan,
  stageFabricPlan,
  writeClusterHosts,
  writeFabricPlan,
} from '../cluster/state.ts';
import { LodgeError } from '../errors.ts';
import { applyBridges, applyPorts, endBridges } from '../fabric/bridge/bridges.ts';
import { bridgedPorts, onlyBridges, withoutBridges } from '../fabric/bridge/devices.ts';
import { lookAtBridges } from '../fabric/bridge/look.ts';
import { requireBridges } from '../fabric/bridge/requirements.ts';
import { capturePath } from '../fabric/capture/capture.ts';
import { FabricClient } from '../fabric/client.ts';
import type { ApplyResult, ClusterHosts, RequestKind, Requests } from '../fabric/control.ts';
import type { FabricPlan, LinkPlan } from '../fabric/plan.ts';
import { formatShape } from '../fabric/shape.ts';
import { listGuests } from '../guest/state.ts';
import { allLinks, bridgedCluster, bridgedNames } from './bridged-links.ts';
import { ClusterLogs } from './cluster-logs.ts';
import { untilTrunksJoin } from './joined-trunks.ts';

/** Questions that change nothing. */
export type Question = 'links' | 'matrix' | 'status';

interface RunningFabric {
  client: FabricClient;
  /** As it is, with all that was changed. */
  plan: FabricPlan;
}

/** Between the death of a worker and the next one; doubled each time up to the longest. */
const restartMs = 100;
const longestRestartMs = 5000;

export class Fabrics {
  readonly #running = new Map<string, Promise<RunningFabric>>();
  readonly #logs = new ClusterLogs();
  /** Requests about one cluster are done one after the other. */
  readonly #queues = new Map<string, Promise<unknown>>();

  /** Starts the fabrics of all clusters found on disk. */
  adopt(): void {
    for (const name of listClusters()) {
      if (!hasFabric(name)) continue;
      this.#inTurn(name, () => this.#fabric(name)).catch((error: Error) => {
        this.note(name, { kind: 'fabric-failed', subject: name, text: error.message });
        this.#restart(name, restartMs);
      });
    }
  }

  /** Whether other hosts count on a fabric here, though no guest runs. */
  get isJoined(): boolean {
    return listClusters().some((name) => readClusterHosts(name) !== undefined);
  }

  /**
   * Joins a fabric to those of other hosts, and remembers it; see `hosts` in control.ts. The cluster need not have a
   * plan yet.
   */
  joinHosts(name: string, hosts: ClusterHosts): Promise<{ port: number }> {
    return this.#inTurn(name, async () => {
      const [isNew, isFirst] = [!listClusters().includes(name), !hasFabric(name)];
      makeClusterDir(name);
      try {
        const { client } = await this.#fabric(name, true);
        const before = readClusterHosts(name);
        const port = hosts.listen.port === 0 ? (before?.listen.port ?? 0) : hosts.listen.port;
        const wanted = { ...hosts, listen: { ...hosts.listen, port } };
        const answer = await client.ask('hosts', { ...wanted, cluster: name });
        writeClusterHosts(name, { ...wanted, listen: { ...wanted.listen, port: answer.port } });
        return answer;
      } catch (error) {
        if (isFirst) await this.#end(name);
        if (isNew) discardCluster(name);
        throw error;
      }
    });
  }

  /** Makes the fabric what `cluster.json` says. */
  apply(name: string): Promise<ApplyResult> {
    return this.#inTurn(name, async () => {
      const plan = readClusterPlan(name)?.fabric;
      if (plan === undefined) throw noCluster(name);
      const running = this.#running.get(name);
      if (running === undefined) {
        const isFirst = !hasFabric(name);
        writeFabricPlan(plan);
        try {
          await this.#fabric(name);
        } catch (error) {
          // What never began is not begun again by whoever asks for it.
          if (isFirst) await this.#end(name);
          throw error;
        }
        return { added: plan.networks.flatMap(linkNames), removed: [], changed: [] };
      }
      const fabric = await running;
      const bridges = diffFabric(onlyBridges(fabric.plan), onlyBridges(plan));
      const result = await remembering(fabric, plan, async () => {
        await applyBridges(bridgedCluster(name), plan);
        return fabric.client.ask('apply', { plan: withoutBridges(plan) });
      });
      return {
        added: [...result.added, ...(bridges?.added ?? [])],
        removed: [...result.removed, ...(bridges?.removed ?? [])],
        changed: [...result.changed, ...(bridges?.changed ?? [])],
      };
    });
  }

  /**
   * Starts a fabric from what was saved of one; it stands still until it is told to `thaw`.
   * @throws LodgeError `fabric-unavailable` when other hosts that it goes on at are not reached
   */
  begin(plan: FabricPlan, state: Uint8Array): Promise<void> {
    const { name } = plan;
    return this.#inTurn(name, async () => {
      writeFabricPlan(plan);
      // Where it was joined to other hosts it runs already, with nothing in it.
      const running = await this.#running.get(name);
      const { client } = running ?? (await this.#fabric(name));
      if (running !== undefined) {
        await client.ask('apply', { plan });
        running.plan = plan;
      }
      // One that stands still hears nothing from other hosts, and what goes out to them when it goes on must arrive.
      await untilTrunksJoin(client, plan);
      await client.ask('freeze', {});
      await client.ask('load', { bytes: Uint8Array.from(state) });
    });
  }

  /** Changes something of a fabric that runs, and remembers it. */
  change(name: string, change: FabricChange): Promise<void> {
    return this.#inTurn(name, async () => {
      const fabric = await this.#fabric(name);
      const plan = changedFabric(fabric.plan, change);
      const { link } = change.ask;
      const before = requireLink(fabric.plan, link);
      await remembering(fabric, plan, async () => {
        if (bridgedNames(plan).has(link)) return this.#changeBridged(name, plan, change);
        await fabric.client.ask(change.kind, change.ask);
        const event = eventOfChange(change, before);
        if (event !== undefined) this.note(name, { ...event, subject: link });
      });
    });
  }

  /** A link on a bridge of the kernel. @throws LodgeError `bridge-unmet` */
  async #changeBridged(name: string, plan: FabricPlan, { kind, ask: { link } }: FabricChange): Promise<void> {
    // There is none, and none can be begun.
    if (kind === 'capture-stop') return;
    const port = bridgedPorts(plan).find((one) => one.port.link.name === link)!;
    if (kind === 'shape') {
      const only = { ...plan, networks: [{ ...port.network, ports: [port.port] }] };
      requireBridges(only, await lookAtBridges(), () => link);
    }
    await applyPorts(bridgedCluster(name), plan, [link]);
    this.note(name, {
      kind: kind === 'shape' ? 'link-shaped' : kind === 'cut' ? 'link-cut' : 'link-healed',
      subject: link,
      text: 'on a bridge of the kernel',
    });
  }

  /**
   * Before a guest on bridges is started, and again once its devices are there.
   * @throws LodgeError `bridge-unmet`
   */
  joinBridges(name: string, links: readonly string[]): Promise<void> {
    return this.#inTurn(name, async () => {
      const { plan } = await this.#fabric(name);
      await applyPorts(bridgedCluster(name), plan, links);
    });
  }

  ask<Kind extends Question>(
    name: string,
    kind: Kind,
    ask: Requests[Kind]['ask'],
  ): Promise<Requests[Kind]['answer']> {
    return this.#inTurn(name, async () => {
      const { client, plan } = await this.#fabric(name);
      if (kind !== 'links') return client.ask(kind, ask);
      const { links } = ask as Requests['links']['ask'];
      return allLinks(client, plan, links) as Promise<Requests[Kind]['answer']>;
    });
  }

  /** Asks for anything else that a worker can do: checkpoints. */
  askWorker<Kind extends RequestKind>(
    name: string,
    kind: Kind,
    ask: Requests[Kind]['ask'],
  ): Promise<Requests[Kind]['answer']> {
    return this.#inTurn(name, async () => (await this.#fabric(name)).client.ask(kind, ask));
  }

  /** Ends a fabric and forgets it; nothing happens when there is none. */
  stop(name: string): Promise<void> {
    // Before its turn comes: a worker that hangs in what it was asked to do would never give that turn.
    void this.#running.get(name)?.then(
      ({ client }) => client.stop(),
      () => {},
    );
    return this.#inTurn(name, () => this.#end(name));
  }

  async #end(name: string): Promise<void> {
    removeFabricPlan(name);
    writeClusterHosts(name, undefined);
    await endBridges(clusterDir(name));
    const running = this.#running.get(name);
    this.#running.delete(name);
    const fabric = await running?.catch(() => undefined);
    await fabric?.client.stop();
    this.#logs.close(name);
  }

  /** Ends all workers in good order; the fabrics stay on disk. */
  async leave(): Promise<void> {
    await Promise.all(
      [...this.#running.values()].map((running) =>
        running.then(
          ({ client }) => client.stop(),
          () => {},
        ),
      ),
    );
  }

  /** Writes an event to the cluster's log. */
  note(name: string, event: Omit<ClusterEvent, 'timeNs'>): void {
    this.#logs.note(name, event);
  }

  #inTurn<T>(name: string, action: () => Promise<T>): Promise<T> {
    const before = this.#queues.get(name) ?? Promise.resolve();
    const result = before.then(action);
    this.#queues.set(
      name,
      result.catch(() => {}),
    );
    return result;
  }

  /**
   * The fabric of a cluster, started when it does not run.
   * @param mayBeEmpty also where the cluster has no plan yet
   */
  #fabric(name: string, mayBeEmpty = false): Promise<RunningFabric> {
    const running = this.#running.get(name);
    if (running !== undefined) return running;
    const starting = this.#start(name, mayBeEmpty);
    this.#running.set(name, starting);
    starting.catch(() => {
      if (this.#running.get(name) === starting) this.#running.delete(name);
    });
    return starting;
  }

  async #start(name: string, mayBeEmpty: boolean): Promise<RunningFabric> {
    const hosts = readClusterHosts(name);
    const isEmpty = mayBeEmpty || hosts !== undefined;
    const plan = readFabricPlan(name) ?? (isEmpty ? emptyFabric(name) : undefined);
    if (plan === undefined) throw noCluster(name);
    const client = new FabricClient({
      onEvent: (event) => {
        this.#logs.of(name)?.write(ofFabric(event));
        if (event.kind === 'capture-failed') this.#forgetCapture(name, event.link);
      },
      onDeath: (error) => this.#died(name, error),
    });
    try {
      if (hosts !== undefined) await client.ask('hosts', { ...hosts, cluster: name });
      await applyBridges(bridgedCluster(name), plan);
      const ofCluster = listGuests((guest) => guest.startsWith(`${name}.`));
      const guestsRan = ofCluster.some(({ keeper }) => keeper !== undefined);
      await client.ask('apply', { plan: withoutBridges(plan), guestsRan });
    } catch (error) {
      await client.stop();
      throw error;
    }
    this.note(name, {
      kind: 'fabric-started',
      subject: name,
      text: `the fabric was started by process ${process.pid}`,
    });
    return { client, plan };
  }

  /** A capture that failed is over: a fabric that is started again does not begin it anew. */
  #forgetCapture(name: string, link: string): void {
    this.#inTurn(name, async () => {
      const fabric = await this.#running.get(name);
      if (fabric === undefined) return;
      const [state] = await fabric.client.ask('links', { links: [link] });
      // Another was begun meanwhile.
      if (state?.capture !== undefined) return;
      fabric.plan = changedFabric(fabric.plan, { kind: 'capture-stop', ask: { link } });
      writeFabricPlan(fabric.plan);
    }).catch((error: Error) => {
      this.note(name, { kind: 'capture-failed', subject: link, text: `it may begin anew: ${error.message}` });
    });
  }

  #died(name: string, error: Error): void {
    this.note(name, { kind: 'fabric-failed', subject: name, text: error.message });
    this.#running.delete(name);
    this.#restart(name, restartMs);
  }

  #restart(name: string, afterMs: number): void {
    setTimeout(() => {
      if (!hasFabric(name)) return;
      this.#inTurn(name, () => this.#fabric(name)).catch((error: Error) => {
        this.note(name, { kind: 'fabric-failed', subject: name, text: error.message });
        this.#restart(name, Math.min(afterMs * 2, longestRestartMs));
      });
    }, afterMs);
  }
}

/**
 * Makes a fabric what a plan says, and keeps the plan for when it is started again: both or none, also where the disk
 * is full.
 */
async function remembering<T>(fabric: RunningFabric, plan: FabricPlan, act: () => Promise<T>): Promise<T> {
  const staged = stageFabricPlan(plan);
  try {
    const result = await act();
    staged.put();
    fabric.plan = plan;
    return result;
  } catch (error) {
    staged.drop();
    throw error;
  }
}

/** What the worker does not tell of itself. */
function eventOfChange(
  { kind, ask }: FabricChange,
  before: LinkPlan,
): Pick<ClusterEvent, 'kind' | 'text'> | undefined {
  switch (kind) {
    case 'shape':
      return { kind: 'link-shaped', text: `${ask.direction ?? 'both ways'}: ${formatShape(ask.shape)}` };
    case 'capture-start':
      return { kind: 'capture-started', text: `into ${capturePath(ask.capture.directory, ask.link)}` };
    case 'capture-stop':
      return before.capture === undefined ? undefined : { kind: 'capture-ended', text: 'stopped' };
    default:
      return undefined;
  }
}

function emptyFabric(name: string): FabricPlan {
  return { version: 1, name, seed: 1, networks: [] };
}

function linkNames({ ports, links }: FabricPlan['networks'][number]): string[] {
  return [...ports, ...links].map(({ link }) => link.name);
}

function noCluster(name: string): LodgeError {
  return new LodgeError('no-such-cluster', `there is no cluster named '${name}' on this host`, {
    fix: 'lodge up cluster.yaml',
  });
}

/**
 * The fabrics of this user's clusters: the host agent has one worker for each. What they are is on disk; a worker that
 * dies is started again, and so are all of them when the agent itself was killed.
 */

import { existsSync } from 'node:fs';
import { type EventLog, openEventLog } from '../cluster/event-log.ts';
import { type ClusterEvent, ofFabric } from '../cluster/events.ts';
import { changedFabric, type FabricChange } from '../cluster/fabric-change.ts';
import {
  clusterDir,
  listClusters,
  readClusterPlan,
  readFabricPlan,
  removeFabricPlan,
  writeFabricPlan,
} from '../cluster/state.ts';
import { LodgeError } from '../errors.ts';
import { FabricClient } from '../fabric/client.ts';
import type { ApplyResult, RequestKind, Requests } from '../fabric/control.ts';
import type { FabricPlan } from '../fabric/plan.ts';

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
  readonly #logs = new Map<string, EventLog>();
  /** Requests about one cluster are done one after the other. */
  readonly #queues = new Map<string, Promise<unknown>>();

  /** Starts the fabrics of all clusters found on disk. */
  adopt(): void {
    for (const name of listClusters()) {
      if (readFabricPlan(name) === undefined) continue;
      this.#inTurn(name, () => this.#fabric(name)).catch(() => {});
    }
  }

  /** Makes the fabric what `cluster.json` says. */
  apply(name: string): Promise<ApplyResult> {
    return this.#inTurn(name, async () => {
      const plan = readClusterPlan(name)?.fabric;
      if (plan === undefined) throw noCluster(name);
      const running = this.#running.get(name);
      if (running === undefined) {
        writeFabricPlan(plan);
        await this.#fabric(name);
        return { added: plan.networks.flatMap(linkNames), removed: [], changed: [] };
      }
      const fabric = await running;
      const result = await fabric.client.ask('apply', { plan });
      fabric.plan = plan;
      writeFabricPlan(plan);
      return result;
    });
  }

  /** Starts a fabric from what was saved of one; it stands still until it is told to `thaw`. */
  begin(plan: FabricPlan, state: Uint8Array): Promise<void> {
    const { name } = plan;
    return this.#inTurn(name, async () => {
      writeFabricPlan(plan);
      const { client } = await this.#fabric(name);
      await client.ask('freeze', {});
      await client.ask('load', { bytes: Uint8Array.from(state) });
    });
  }

  /** Changes something of a fabric that runs, and remembers it. */
  change(name: string, change: FabricChange): Promise<void> {
    return this.#inTurn(name, async () => {
      const fabric = await this.#fabric(name);
      const plan = changedFabric(fabric.plan, change);
      await fabric.client.ask(change.kind, change.ask);
      fabric.plan = plan;
      writeFabricPlan(plan);
    });
  }

  ask<Kind extends Question>(
    name: string,
    kind: Kind,
    ask: Requests[Kind]['ask'],
  ): Promise<Requests[Kind]['answer']> {
    return this.#inTurn(name, async () => {
      const { client } = await this.#fabric(name);
      return client.ask(kind, ask);
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
    return this.#inTurn(name, async () => {
      removeFabricPlan(name);
      const running = this.#running.get(name);
      this.#running.delete(name);
      const fabric = await running?.catch(() => undefined);
      await fabric?.client.stop();
      this.#logs.get(name)?.close();
      this.#logs.delete(name);
    });
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
    this.#log(name)?.write(event);
  }

  #log(name: string): EventLog | undefined {
    // A cluster that has just been removed must not have its directory made again.
    if (!existsSync(clusterDir(name))) return undefined;
    let log = this.#logs.get(name);
    if (log === undefined) {
      log = openEventLog(clusterDir(name));
      this.#logs.set(name, log);
    }
    return log;
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

  /** The fabric of a cluster, started when it does not run. */
  #fabric(name: string): Promise<RunningFabric> {
    const running = this.#running.get(name);
    if (running !== undefined) return running;
    const starting = this.#start(name);
    this.#running.set(name, starting);
    starting.catch(() => {
      if (this.#running.get(name) === starting) this.#running.delete(name);
    });
    return starting;
  }

  async #start(name: string): Promise<RunningFabric> {
    const plan = readFabricPlan(name);
    if (plan === undefined) throw noCluster(name);
    const client = new FabricClient({
      onEvent: (event) => this.#log(name)?.write(ofFabric(event)),
      onDeath: (error) => this.#died(name, error),
    });
    try {
      await client.ask('apply', { plan });
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

  #died(name: string, error: Error): void {
    this.note(name, { kind: 'fabric-failed', subject: name, text: error.message });
    this.#running.delete(name);
    this.#restart(name, restartMs);
  }

  #restart(name: string, afterMs: number): void {
    setTimeout(() => {
      if (readFabricPlan(name) === undefined) return;
      this.#inTurn(name, () => this.#fabric(name)).catch((error: Error) => {
        this.note(name, { kind: 'fabric-failed', subject: name, text: error.message });
        this.#restart(name, Math.min(afterMs * 2, longestRestartMs));
      });
    }, afterMs);
  }
}

function linkNames({ ports, links }: FabricPlan['networks'][number]): string[] {
  return [...ports, ...links].map(({ link }) => link.name);
}

function noCluster(name: string): LodgeError {
  return new LodgeError('no-such-cluster', `there is no cluster named '${name}' on this host`, {
    fix: 'lodge up cluster.yaml',
  });
}

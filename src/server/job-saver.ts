/**
 * Checkpoints that the agent of a job brings about for the clusters whose first host it is on: when a person asks for
 * one, and, where the cluster's spec says so, when Slurm ends the job. All agents of a job are told to end at about the
 * same time; each asks the first host's to save the cluster, which it does once, and waits for that before it ends.
 */

import { rmSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { Taken } from '../cluster/checkpoint/take.ts';
import { type JobCluster, readJobClusters } from '../cluster/engine/rendezvous.ts';
import type { ClusterPlan } from '../cluster/plan.ts';
import { describeError, LodgeError } from '../errors.ts';
import { formatTime } from '../units.ts';
import { call } from './client.ts';
import { checkpointJobCluster, hostsOf, type JobCheckpointOptions, jobClusterOf } from './job-checkpoints.ts';
import { jobDoors } from './locate.ts';

/** A job, as the agent on one of its hosts knows it. */
export interface AgentJob {
  /** The job's directory: rendezvous.ts. */
  dir: string;
  /** This host. */
  host: string;
}

export interface JobSaver {
  /** The whole of a cluster of the job; undefined when it has none of this name. */
  planOf(name: string): ClusterPlan | undefined;
  /** Saves a cluster of the job; undefined when it has none of this name. */
  checkpoint(
    name: string,
    dir: string,
    options: Pick<JobCheckpointOptions, 'onProgress'>,
  ): Promise<Taken> | undefined;
  /** Saves a cluster because the job ends, if it is to be; resolves when that is over, however it went. */
  saveAtEnd(name: string): Promise<void>;
  /** What is to be done before this host's agent ends. */
  atEnd(): Promise<void>;
}

/** What another host is waited for beyond the time that it has itself. */
const marginMs = 2000;
/** Where nobody has said how long it may take. */
const usualWithinMs = 25_000;

export function jobSaver({ dir: jobDir, host }: AgentJob): JobSaver {
  /** Of one cluster, one after the other. */
  const queues = new Map<string, Promise<unknown>>();
  /** Those that were saved at the end; an agent that was started again makes another one of a cluster. */
  const ends = new Map<string, Promise<void>>();

  function inTurn<T>(name: string, action: () => Promise<T>): Promise<T> {
    const result = (queues.get(name) ?? Promise.resolve()).then(action);
    queues.set(
      name,
      result.catch(() => {}),
    );
    return result;
  }

  async function saveNow(cluster: JobCluster, dir: string): Promise<void> {
    const { name } = cluster.plan;
    const withinMs = cluster.onEndWithinMs ?? usualWithinMs;
    const limit = new AbortController();
    const timer = setTimeout(() => {
      const fix = 'ask Slurm to tell it earlier (--signal=TERM@120), and give it that time: within: 120s';
      limit.abort(new LodgeError('checkpoint', `it was not saved within ${formatTime(withinMs)}`, { fix }));
    }, withinMs);
    const complaint = `${dir}.failed`;
    try {
      const options = { onProgress: () => {}, signal: limit.signal, isReplacing: true };
      await inTurn(name, () => checkpointJobCluster(jobDir, cluster, dir, options));
      rmSync(complaint, { force: true });
    } catch (error) {
      const text = `${new Date().toISOString()}: cluster '${name}' was not saved as its job ended\n${describeError(error)}\n`;
      process.stderr.write(text);
      try {
        writeFileSync(complaint, text, { mode: 0o600 });
      } catch {
        // Where nothing can be written there is no checkpoint either, and nobody else to be told.
      }
    } finally {
      clearTimeout(timer);
    }
  }

  function saveAtEnd(name: string): Promise<void> {
    const cluster = jobClusterOf(jobDir, name);
    const onEnd = cluster?.plan.onEnd;
    if (cluster === undefined || onEnd === undefined) return Promise.resolve();
    const key = JSON.stringify([name, cluster.trunks]);
    const begun = ends.get(key) ?? saveNow(cluster, onEnd.checkpoint);
    ends.set(key, begun);
    return begun;
  }

  return {
    planOf: (name) => jobClusterOf(jobDir, name)?.plan,
    checkpoint(name, dir, options) {
      const cluster = jobClusterOf(jobDir, name);
      if (cluster === undefined) return undefined;
      return inTurn(name, () => checkpointJobCluster(jobDir, cluster, dir, options));
    },
    saveAtEnd,
    async atEnd() {
      await Promise.all(
        readJobClusters(jobDir).map(async (cluster) => {
          const { onEnd, name } = cluster.plan;
          const hosts = hostsOf(cluster);
          if (onEnd === undefined || !hosts.includes(host)) return;
          if (hosts[0] === host) {
            await saveAtEnd(name);
            return;
          }
          const door = jobDoors(jobDir).get(hosts[0]!);
          if (door === undefined) return;
          const limitMs = (cluster.onEndWithinMs ?? usualWithinMs) + marginMs;
          const limit = delay(limitMs, undefined, { ref: false });
          // One that is gone saves nothing, and there is nothing to wait for.
          await Promise.race([call(door, 'POST', `/v1/clusters/${name}/end`, {}).catch(() => {}), limit]);
        }),
      );
    },
  };
}

/** The trunks between the parts of a cluster on the hosts of a job. */

import { setTimeout as delay } from 'node:timers/promises';
import type { JobCluster } from '../cluster/engine/rendezvous.ts';
import type { ClusterPlan } from '../cluster/plan.ts';
import { LodgeError } from '../errors.ts';
import type { ClusterHosts, FabricStatus } from '../fabric/control.ts';
import { call } from '../server/client.ts';
import type { Job, JobHost } from '../server/job.ts';

/** How long trunks may take to be up after all hosts know of one another. */
const trunksWithinMs = 20_000;

/** A cluster over the hosts of a job, as it will be, and as it was. */
export interface TrunkedCluster {
  plan: ClusterPlan;
  before: JobCluster | undefined;
  /** Hosts with guests. */
  parts: { host: JobHost }[];
}

/** Has the fabrics of all hosts with guests know of one another. Those that stay are not disturbed. */
export async function joinTrunks(
  job: Job,
  { plan, parts, before }: TrunkedCluster,
): Promise<JobCluster['trunks']> {
  const known = before?.trunks ?? {};
  if (parts.length < 2 && Object.keys(known).length === 0) return {};
  const join = async ({ name, door, agent }: JobHost, peers: ClusterHosts['peers'], port: number) => {
    const listen = { address: agent.address, port };
    const hosts: ClusterHosts = { host: name, listen, keyFile: job.keyFile, peers };
    return JSON.parse(await call(door, 'POST', `/v1/clusters/${plan.name}/hosts`, hosts)) as { port: number };
  };
  const trunks: JobCluster['trunks'] = {};
  await Promise.all(
    parts.map(async ({ host }) => {
      const there = known[host.name];
      const { pid } = host.agent;
      trunks[host.name] = there?.pid === pid ? there : { port: (await join(host, [], 0)).port, pid };
    }),
  );
  await Promise.all(
    parts.map(({ host }) => {
      const peers = parts
        .filter((other) => other.host !== host)
        .map(({ host: { name, agent } }) => ({
          host: name,
          address: agent.address,
          port: trunks[name]!.port,
        }));
      return join(host, peers, trunks[host.name]!.port);
    }),
  );
  return trunks;
}

/** @throws LodgeError `fabric-unavailable` with what is wrong with those that are not */
export async function untilTrunksAreUp({ plan, parts }: TrunkedCluster): Promise<void> {
  const deadline = Date.now() + trunksWithinMs;
  for (;;) {
    const down = (await Promise.all(parts.map(({ host }) => trunkFaults(host, plan.name)))).flat();
    if (down.length === 0) return;
    if (Date.now() > deadline) {
      throw new LodgeError('fabric-unavailable', 'the hosts of the cluster do not reach one another', {
        detail: down.join('\n'),
        fix: 'a firewall between them must let TCP through; then: lodge apply',
      });
    }
    await delay(100);
  }
}

/** What is wrong with the trunks of a host, a line for each. */
async function trunkFaults({ name, door }: JobHost, cluster: string): Promise<string[]> {
  const path = `/v1/clusters/${cluster}/ask`;
  const status = JSON.parse(await call(door, 'POST', path, { kind: 'status', ask: {} })) as FabricStatus;
  return status.trunks
    .filter(({ state }) => state !== 'up')
    .map(
      (trunk) => `${name} to ${trunk.host} (${trunk.address}:${trunk.port}): ${trunk.reason ?? trunk.state}`,
    );
}

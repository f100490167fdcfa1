/** Talking to the host agent about clusters; it is started when it does not run, and brings their fabrics with it. */

import type { Taken } from '../cluster/checkpoint/take.ts';
import type { ClusterEvent } from '../cluster/events.ts';
import type { FabricChange } from '../cluster/fabric-change.ts';
import type { ApplyResult, ClusterHosts, Requests } from '../fabric/control.ts';
import type { IsolationFinding } from '../fabric/isolation/finding.ts';
import type { QuestionRequest } from './api.ts';
import { call, callWithProgress, ensureHostAgent } from './client.ts';
import { parseAnswer } from './fabric-json.ts';
import type { Question } from './fabrics.ts';

async function post(name: string, what: string, body?: unknown): Promise<string> {
  return call(await ensureHostAgent(), 'POST', `/v1/clusters/${name}/${what}`, body);
}

/** Makes the fabric what the cluster's plan on disk says. */
export async function applyFabric(name: string): Promise<ApplyResult> {
  return JSON.parse(await post(name, 'apply')) as ApplyResult;
}

/** Changes a fabric that runs. @throws LodgeError `no-such-cluster`, `no-such-link`, and what the fabric refuses */
export async function changeFabric(name: string, change: FabricChange): Promise<void> {
  await post(name, 'change', change);
}

export async function askFabric<Kind extends Question>(
  name: string,
  kind: Kind,
  ask: Requests[Kind]['ask'],
): Promise<Requests[Kind]['answer']> {
  return parseAnswer(kind, await post(name, 'ask', { kind, ask } as QuestionRequest));
}

/** Joins the fabric on this host to those of the others. @returns where it listens */
export async function joinHosts(name: string, hosts: ClusterHosts): Promise<{ port: number }> {
  return JSON.parse(await post(name, 'hosts', hosts)) as { port: number };
}

/** Ends a fabric and has it forgotten. */
export async function stopFabric(name: string): Promise<void> {
  await post(name, 'stop');
}

/** Adds to the cluster's log of events. */
export async function noteEvent(name: string, event: Omit<ClusterEvent, 'timeNs'>): Promise<void> {
  await post(name, 'events', event);
}

/** Saves a cluster that runs in a directory. @param dir absolute path, where nothing is yet */
export async function takeCheckpoint(
  name: string,
  dir: string,
  onProgress: (text: string) => void,
): Promise<Taken> {
  const path = `/v1/clusters/${name}/checkpoint`;
  return (await callWithProgress<{ taken: Taken }>(path, { dir }, onProgress)).taken;
}

/** Starts a cluster from a checkpoint, under a name that none has. */
export async function restoreFrom(
  name: string,
  dir: string,
  onProgress: (text: string) => void,
): Promise<void> {
  await callWithProgress(`/v1/clusters/${name}/restore`, { dir }, onProgress);
}

/** What the guests of a cluster can reach. */
export async function proveFabric(name: string): Promise<IsolationFinding[]> {
  return JSON.parse(await post(name, 'prove')) as IsolationFinding[];
}

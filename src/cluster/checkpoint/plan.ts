/** What can be saved of a cluster, and how one goes on from what was saved. Pure. */

import { LodgeError } from '../../errors.ts';
import type { FabricPlan, LinkPlan } from '../../fabric/plan.ts';
import type { GuestPlan } from '../../guest/plan.ts';
import { restoredPlan, savingRefusal } from '../../guest/saved.ts';
import { foldHostList } from '../../host-list.ts';
import { movedCapture } from '../captures.ts';
import { nameTrunk } from '../hosts.ts';
import { fullNameOf } from '../networks.ts';
import type { ClusterPlan } from '../plan.ts';
import { longestClusterName } from '../spec.ts';
import { type Checkpoint, stateFileOf } from './files.ts';
import type { HostNames } from './hosts.ts';

/** A cluster is saved whole or not at all. @throws LodgeError `checkpoint` naming all guests that cannot be */
export function requireSavable(plans: ReadonlyMap<string, GuestPlan>): void {
  const refused = new Map<string, { names: string[]; fix: string }>();
  for (const [name, plan] of plans) {
    const refusal = savingRefusal(plan);
    if (refusal === undefined) continue;
    const known = refused.get(refusal.what) ?? { names: [], fix: refusal.fix };
    refused.set(refusal.what, { ...known, names: [...known.names, name] });
  }
  const [first] = refused.values();
  if (first === undefined) return;
  const all = [...refused].map(([what, { names }]) => `${foldHostList(names)}: ${what}`);
  throw new LodgeError('checkpoint', 'not all guests of this cluster can be saved', {
    detail: all.join('\n'),
    fix: first.fix,
  });
}

export interface RestorePlan {
  cluster: ClusterPlan;
  fabric: FabricPlan;
  guests: GuestPlan[];
}

export interface RestoreJob {
  id: string;
  hosts: HostNames;
}

export interface RestoreInput {
  checkpoint: Checkpoint;
  /** Of the cluster that is to be; another one than the saved one's for a fork. */
  name: string;
  guestDir: (fullName: string) => string;
  /** Where the store has its objects. */
  objectPath: (id: string) => string;
  newId: () => string;
  /** In a job of Slurm: which one, and which host now has the part of each that was saved. */
  job?: RestoreJob;
}

/** The cluster that goes on: the same machines and links, under its name. */
export function planRestore({
  checkpoint,
  name,
  guestDir,
  objectPath,
  newId,
  job,
}: RestoreInput): RestorePlan {
  const { cluster, dir, states } = checkpoint;
  const guests = Object.entries(checkpoint.guests).map(([guest, saved]): GuestPlan => {
    const fullName = fullNameOf(name, guest);
    const sum = states?.[guest];
    const plan = restoredPlan(saved, {
      name: fullName,
      id: newId(),
      dir: guestDir(fullName),
      objectPath,
      savedState: { file: stateFileOf(dir, guest), ...(sum === undefined ? {} : { sum }) },
    });
    return plan.cluster === undefined ? plan : { ...plan, cluster: { ...plan.cluster, name } };
  });
  return {
    cluster: movedCluster(cluster, name, guestDir, job?.id),
    fabric: movedFabric(checkpoint.fabric, name, guestDir, job),
    guests,
  };
}

/**
 * The same cluster under a name that may be another.
 * @param job of Slurm that it will be in
 */
export function movedCluster(
  cluster: ClusterPlan,
  name: string,
  guestDir: (fullName: string) => string,
  job?: string,
): ClusterPlan {
  const { onEnd, ...rest } = cluster;
  return {
    ...rest,
    // Another cluster's checkpoint is not for this one to replace.
    ...(onEnd === undefined || name !== cluster.name ? {} : { onEnd }),
    name,
    guests: cluster.guests.map((guest) => ({ ...guest, fullName: fullNameOf(name, guest.name) })),
    fabric: movedFabric(
      cluster.fabric,
      name,
      guestDir,
      job === undefined ? undefined : { id: job, hosts: new Map() },
    ),
  };
}

/** The same fabric between guests that lie elsewhere, on hosts that may be others. */
function movedFabric(
  fabric: FabricPlan,
  name: string,
  guestDir: (fullName: string) => string,
  job?: RestoreJob,
): FabricPlan {
  const owner = { cluster: name, ...(job === undefined ? {} : { job: job.id }) };
  const moved = <Of extends { link: LinkPlan }>(of: Of): Of => {
    const { capture } = of.link;
    if (capture === undefined) return of;
    return { ...of, link: { ...of.link, capture: movedCapture(capture, owner) } };
  };
  const renamed = (guest: string): string => fullNameOf(name, guest.slice(guest.indexOf('.') + 1));
  return {
    ...fabric,
    name,
    networks: fabric.networks.map((network) => ({
      ...network,
      links: network.links.map(moved),
      ports: network.ports.map((saved) => {
        const port = moved(saved);
        const { end, link } = port;
        if (end.kind === 'guest') {
          const file = end.socketPath.slice(end.socketPath.lastIndexOf('/') + 1);
          const guest = renamed(end.guest);
          return { ...port, end: { ...end, guest, socketPath: `${guestDir(guest)}/${file}` } };
        }
        if (end.kind !== 'trunk') return port;
        const host = job?.hosts.get(end.host) ?? end.host;
        const members = end.members?.map((one) =>
          one.guest === undefined ? one : { ...one, guest: renamed(one.guest) },
        );
        return {
          ...port,
          link: { ...link, name: nameTrunk(network.name, host) },
          end: { ...end, host, ...(members === undefined ? {} : { members }) },
        };
      }),
    })),
  };
}

/** A name for a fork that no cluster has: `lab-2`, `lab-3`… */
export function forkName(name: string, taken: readonly string[]): string {
  const base = name.replace(/-\d+$/, '');
  for (let n = 2; ; n++) {
    const ending = `-${n}`;
    const candidate = base.slice(0, longestClusterName - ending.length).replace(/-+$/, '') + ending;
    if (!taken.includes(candidate)) return candidate;
  }
}

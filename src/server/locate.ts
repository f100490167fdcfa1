/** Where guests are: on this host, or, inside a job, on another of its hosts. */

import { rmdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  type JobCluster,
  jobDir,
  readAgents,
  readJobClusters,
  readJobKey,
} from '../cluster/engine/rendezvous.ts';
import { slurmJobOf } from '../cluster/engine/slurm-job.ts';
import { LodgeError } from '../errors.ts';
import { type GuestView, requireGuest, runtimeDir, viewGuest } from '../guest/state.ts';
import { call } from './client.ts';
import type { Door, FarDoor } from './door.ts';

/** Set where a verb is about this host alone: an agent of a job runs it. */
export const thisHostVariable = 'LODGE_THIS_HOST';

export interface LocatedGuest {
  guest: GuestView;
  /** Its host, and the door of the agent there; none for a guest on this host. */
  host?: string;
  door?: Door;
}

/** The directory of the job that this process is in; undefined where there is none, or no agents were started in it. */
export function thisJobDir(): string | undefined {
  if (process.env[thisHostVariable] !== undefined) return undefined;
  const job = slurmJobOf(process.env);
  if (job === undefined) return undefined;
  const dir = jobDir(job.id);
  return readAgents(dir).length > 0 ? dir : undefined;
}

/** @throws LodgeError `no-allocation` */
export function thisJobId(): string {
  const job = slurmJobOf(process.env);
  if (job !== undefined) return job.id;
  throw new LodgeError('no-allocation', 'this is no job of Slurm', { fix: 'salloc -N2' });
}

/** Clusters over the hosts of this job. */
export function jobClusters(): JobCluster[] {
  const dir = thisJobDir();
  return dir === undefined ? [] : readJobClusters(dir);
}

/** Full names of guests on other hosts of this job. */
export function namesInJob(): string[] {
  return jobClusters().flatMap(({ plan }) => plan.guests.map(({ fullName }) => fullName));
}

/** The doors of all agents of this job, by host. */
export function jobDoors(dir: string): Map<string, FarDoor> {
  const key = readJobKey(dir);
  return new Map(readAgents(dir).map(({ host, address, port }) => [host, { host, address, port, key }]));
}

/** The host of a guest of a cluster of this job, and the door there. @throws LodgeError `host-agent` */
export function doorOfGuest(fullName: string): FarDoor | undefined {
  const dir = thisJobDir();
  if (dir === undefined) return undefined;
  for (const { plan, hostOfGuest } of readJobClusters(dir)) {
    const guest = plan.guests.find((one) => one.fullName === fullName);
    const host = guest === undefined ? undefined : hostOfGuest[guest.name];
    if (host === undefined) continue;
    const door = jobDoors(dir).get(host);
    if (door !== undefined) return door;
    throw new LodgeError('host-agent', `the agent on ${host} is gone, and '${fullName}' with it`, {
      fix: `lodge apply ${plan.file} starts both again`,
    });
  }
  return undefined;
}

/** A guest of this host, as it is now. @throws LodgeError `no-such-guest`, with those of this host and job */
export function requireGuestHere(name: string): GuestView {
  return requireGuest(name, namesInJob());
}

/** A guest of this host or job, as it is now. @throws LodgeError `no-such-guest`, `host-agent` */
export async function locateGuest(name: string): Promise<LocatedGuest> {
  const here = viewGuest(name);
  if (here !== undefined) return { guest: here };
  const door = doorOfGuest(name);
  // Says which guests there are.
  if (door === undefined) return { guest: requireGuestHere(name) };
  const guest = JSON.parse(await call(door, 'GET', `/v1/guests/${name}`)) as GuestView;
  return { guest, host: door.host, door };
}

/**
 * Refuses what would outlive its command on a host of a job: Slurm ends it there with the step, or loses sight of it.
 * @throws LodgeError `usage`
 */
export function requireLasting(): void {
  if (process.env.SLURMD_NODENAME === undefined || slurmJobOf(process.env) === undefined) return;
  if (process.env[thisHostVariable] !== undefined) return;
  throw new LodgeError('usage', 'on a host of a Slurm job no guest outlives the command that starts it', {
    fix: 'run it in the foreground (srun lodge run -- COMMAND), or as a cluster of the job: lodge up cluster.yaml',
  });
}

/** On a host of a job, empty directories of lodge's own are not left behind either. */
export function leaveNoEmptyPlace(): void {
  if (process.env.SLURMD_NODENAME === undefined || process.env[thisHostVariable] !== undefined) return;
  try {
    const place = runtimeDir();
    for (const path of [join(place, 'guests'), join(place, 'making'), place]) {
      try {
        rmdirSync(path);
      } catch {
        // Something is in it, or it was never made.
      }
    }
  } catch {
    // There is none.
  }
}

/**
 * Checkpoints of clusters over the hosts of a job. The agent of the cluster's first host brings all of them together
 * (together.ts), itself among them; each saves its guests and its part of the fabric on the file system that they share.
 */

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import {
  beginCheckpoint,
  discardCheckpoint,
  fabricStateOf,
  finishCheckpoint,
  readCheckpoint,
  readSecret,
  requireSeen,
} from '../cluster/checkpoint/files.ts';
import { renameTrunks } from '../cluster/checkpoint/hosts.ts';
import { describeObjects } from '../cluster/checkpoint/images.ts';
import { type SavedPart, type SaveMeeting, savePart, type Taken } from '../cluster/checkpoint/take.ts';
import { type JobCluster, noteSaving, readJobClusters } from '../cluster/engine/rendezvous.ts';
import type { ClusterPlan } from '../cluster/plan.ts';
import { LodgeError } from '../errors.ts';
import type { GuestPlan } from '../guest/plan.ts';
import { foldHostList } from '../host-list.ts';
import { openStore } from '../image/store.ts';
import {
  type CheckpointContext,
  goOnFrom,
  requireFreeName,
  whatToRestore,
  whatToSave,
} from './checkpoints.ts';
import { jobDoors } from './locate.ts';
import { doTogether, type PartSession } from './together.ts';

/** What a host is asked to do of a checkpoint. */
export type PartRequest =
  | {
      op: 'save';
      /** The unfinished checkpoint. */
      part: string;
      /** Its name, where there are several. */
      host?: string;
      /** See `SavedTogether`. */
      mark: string;
    }
  | {
      op: 'restore';
      dir: string;
      /** The job that it goes on in. */
      job: string;
      /** The host whose part it takes, of a checkpoint over several. */
      saved?: string;
      /** All hosts of the checkpoint, and those that they are now. */
      hosts: [saved: string, now: string][];
      /** Its part of the cluster that is to be. */
      cluster: ClusterPlan;
    };

/** After all that is in `SaveMeeting`: it goes on, and all of its part is written. */
const written = 'written';
const saveMeetings: (SaveMeeting | typeof written)[] = ['ready', 'frozen', 'saved', written];
/** All guests and the fabric are there, and stand still. */
const loaded = 'loaded';
export const restoreMeetings = [loaded];

/** What a host tells when its part is written. */
interface WrittenPart extends SavedPart {
  guests: Record<string, GuestPlan>;
}

/** Does this host's part. @throws LodgeError; then this host's part of the cluster is as it was before */
export async function doPart(
  name: string,
  request: PartRequest,
  context: CheckpointContext,
  session: PartSession,
): Promise<unknown> {
  return request.op === 'save'
    ? saveHostPart(name, request, context, session)
    : restoreHostPart(name, request, context, session);
}

async function saveHostPart(
  name: string,
  { part, host, mark }: PartRequest & { op: 'save' },
  context: CheckpointContext,
  { meet, signal, onProgress }: PartSession,
): Promise<null> {
  requireSeen(part);
  const { fabric, guests, askFabric, markFrozen } = await whatToSave(name, part, context);
  try {
    const saved = await savePart({
      ...{ part, fabric, guests, askFabric, markFrozen, onProgress },
      together: { host, mark, meet, signal, staysStill: () => context.isEnding?.() === true },
    });
    const plans = Object.fromEntries(guests.map((guest) => [guest.name, guest.plan]));
    await meet(written, { ...saved, guests: plans } satisfies WrittenPart);
    return null;
  } catch (error) {
    // Whoever asked may be gone: the last one to give up removes what is left.
    if (signal.aborted) discardCheckpoint(part);
    throw error;
  }
}

async function restoreHostPart(
  name: string,
  { dir, job, saved, hosts, cluster }: PartRequest & { op: 'restore' },
  context: CheckpointContext,
  { meet, onProgress }: PartSession,
): Promise<null> {
  requireFreeName(name, dir);
  const checkpoint = readCheckpoint(dir, saved);
  const names = new Map(hosts);
  const plan = await whatToRestore(checkpoint, name, { id: job, hosts: names });
  const { digest } = cluster.fabric;
  await goOnFrom(
    {
      plan: {
        ...plan,
        cluster,
        fabric: digest === undefined ? plan.fabric : { ...plan.fabric, digest },
      },
      secret: readSecret(dir),
      fabricState: renameTrunks(readFileSync(fabricStateOf(dir, saved)), names),
    },
    context,
    onProgress,
    () => meet(loaded),
  );
  context.fabrics.note(name, { kind: 'fabric-thawed', subject: name, text: `goes on from ${dir}` });
  return null;
}

/** The cluster of a job that has this name; undefined when it is none of the job's. */
export function jobClusterOf(jobDir: string, name: string): JobCluster | undefined {
  return readJobClusters(jobDir).find(({ plan }) => plan.name === name);
}

/** The hosts of a cluster that have guests, in the order of their names: the first one brings them together. */
export function hostsOf({ hostOfGuest }: JobCluster): string[] {
  return [...new Set(Object.values(hostOfGuest))].sort();
}

export interface JobCheckpointOptions {
  onProgress: (text: string) => void;
  /** Gives up. */
  signal?: AbortSignal;
  /** An older checkpoint of the cluster may be there. */
  isReplacing?: boolean;
}

/**
 * Saves a cluster of the job, on all its hosts at one instant.
 * @throws LodgeError of the first host that failed; the cluster goes on, and nothing is left of the checkpoint
 */
export async function checkpointJobCluster(
  jobDir: string,
  cluster: JobCluster,
  dir: string,
  { onProgress, signal, isReplacing = false }: JobCheckpointOptions,
): Promise<Taken> {
  const { plan, secret } = cluster;
  requireNoSlurm(plan);
  const hosts = hostsOf(cluster);
  const doors = jobDoors(jobDir);
  const away = hosts.filter((host) => !doors.has(host));
  if (away.length > 0) {
    throw new LodgeError('host-agent', `no agent answers on ${foldHostList(away)}, and its guests are gone`, {
      fix: `lodge apply ${plan.file} starts both again`,
    });
  }
  const isOverSeveral = hosts.length > 1;
  const part = beginCheckpoint(dir, {
    hosts: isOverSeveral ? hosts : [],
    ...(isReplacing ? { replaces: plan.name } : {}),
  });
  noteSaving(jobDir, plan.name, part);
  const mark = randomBytes(8).toString('hex');
  let whole: Taken | undefined;
  try {
    await doTogether<PartRequest, null>(
      hosts.map((host) => ({
        door: doors.get(host)!,
        request: { op: 'save', part, mark, ...(isOverSeveral ? { host } : {}) },
      })),
      {
        cluster: plan.name,
        meetings: saveMeetings,
        onProgress,
        ...(signal === undefined ? {} : { signal }),
        onMeeting: async (meeting, told) => {
          if (meeting !== written) return;
          const parts = told as WrittenPart[];
          const names = parts.map(({ guests }) => Object.keys(guests));
          const taken = {
            bytes: parts.reduce((sum, { bytes }) => sum + bytes, 0),
            stillMs: Math.max(...parts.map(({ stillMs }) => stillMs)),
          };
          const plans = Object.assign({}, ...parts.map(({ guests }) => guests)) as Record<string, GuestPlan>;
          await finishCheckpoint(part, dir, {
            record: {
              version: isOverSeveral ? 2 : 1,
              takenAt: new Date().toISOString(),
              cluster: plan,
              guests: plans,
              states: Object.assign({}, ...parts.map(({ states }) => states)) as SavedPart['states'],
              objects: await describeObjects(Object.values(plans), openStore()),
              taken,
              ...(isOverSeveral
                ? { hosts: Object.fromEntries(hosts.map((host, i) => [host, names[i]!])) }
                : {}),
            },
            secret: Buffer.from(secret, 'hex'),
            isReplacing,
          });
          whole = taken;
        },
      },
    );
    return whole!;
  } catch (error) {
    // A host that goes away now takes nothing of the checkpoint with it: `lodge status` tells of its guests.
    if (whole !== undefined) return whole;
    discardCheckpoint(part);
    throw error;
  } finally {
    noteSaving(jobDir, plan.name, undefined);
  }
}

/** @throws LodgeError `checkpoint` for a cluster with a Slurm of one's own over it */
export function requireNoSlurm({ name, file, fabric }: ClusterPlan): void {
  const isOfSlurm = fabric.networks.some(({ ports }) =>
    ports.some(({ end }) => end.kind === 'uplink' && end.publish !== undefined),
  );
  if (!isOfSlurm) return;
  throw new LodgeError(
    'checkpoint',
    `there is a Slurm over cluster '${name}', whose daemons cannot be saved`,
    {
      fix: `without it the cluster can: lodge slurm down, lodge up ${file}`,
    },
  );
}

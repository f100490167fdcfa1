/** What `checkpoint` and `restore` do in a job: the agents of its hosts do it together. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readRecord, readSecret } from '../cluster/checkpoint/files.ts';
import { matchHosts } from '../cluster/checkpoint/hosts.ts';
import { movedCluster } from '../cluster/checkpoint/plan.ts';
import type { Taken } from '../cluster/checkpoint/take.ts';
import {
  type JobCluster,
  readJobClusters,
  removeJobCluster,
  writeJobCluster,
} from '../cluster/engine/rendezvous.ts';
import type { SlurmJob } from '../cluster/engine/slurm-job.ts';
import { clusterOnHost } from '../cluster/hosts.ts';
import { LodgeError, retold } from '../errors.ts';
import { guestsDir } from '../guest/state.ts';
import { foldHostList } from '../host-list.ts';
import { openStore } from '../image/store.ts';
import { requireImagesHere } from '../server/checkpoints.ts';
import { callDoorWithProgress } from '../server/client.ts';
import { ensureJob, openJob } from '../server/job.ts';
import { type PartRequest, restoreMeetings } from '../server/job-checkpoints.ts';
import { thisJobId } from '../server/locate.ts';
import { doTogether } from '../server/together.ts';
import { endLimitOf, endOnHosts, lockOn, roomsOfJob } from './job-cluster.ts';
import { joinTrunks } from './job-trunks.ts';
import type { GlobalOptions } from './program.ts';
import { openProgress } from './progress.ts';

/** Has a cluster of this job saved. The agent of its first host sees to it, also when this process is killed. */
export async function checkpointInJob(
  { plan, hostOfGuest }: JobCluster,
  dir: string,
  onProgress: (text: string) => void,
): Promise<Taken> {
  const { hosts } = await openJob(thisJobId());
  const used = new Set(Object.values(hostOfGuest));
  const [first] = hosts.filter(({ name }) => used.has(name));
  if (first === undefined) {
    throw new LodgeError('host-agent', `no agent answers on ${foldHostList([...used])}`, {
      fix: `lodge apply ${plan.file} starts them and their guests again`,
    });
  }
  const unlock = await lockOn(hosts[0]!, plan.name);
  try {
    const path = `/v1/clusters/${plan.name}/checkpoint`;
    try {
      return (await callDoorWithProgress<{ taken: Taken }>(first.door, path, { dir }, onProgress)).taken;
    } catch (error) {
      // Nothing was at this place before: what is there is whole, and its agent went away after that.
      const isGone = error instanceof LodgeError && error.code === 'host-agent' && existsSync(dir);
      const taken = isGone ? readRecord(dir).taken : undefined;
      if (taken !== undefined) return taken;
      if (!(error instanceof LodgeError) || error.code !== 'host-agent') throw error;
      throw retold(error, {
        message: `the agent on ${first.name}, which brought the hosts together, went away: ${error.message}`,
        where: dir,
        fix: `nothing is left of this checkpoint, and guests on other hosts go on; lodge apply ${plan.file} starts it and its guests again`,
      });
    }
  } finally {
    unlock();
  }
}

/** Has a cluster go on on the hosts of this job. @throws LodgeError; nothing is left of it then */
export async function restoreInJob(
  name: string,
  dir: string,
  slurm: SlurmJob,
  globals: GlobalOptions,
): Promise<void> {
  const progress = openProgress(globals);
  try {
    // The store is shared, as the job's directory in it is. Of files outside of it, each host sees its own.
    const { guests, objects } = readRecord(dir);
    await requireImagesHere(Object.values(guests), objects, openStore(), () => true);
    const job = await ensureJob(slurm, progress.show);
    const unlock = await lockOn(job.hosts[0]!, name);
    try {
      if (readJobClusters(job.dir).some(({ plan }) => plan.name === name)) {
        throw new LodgeError('name-taken', `there is a cluster named '${name}' already`, {
          fix: `lodge down ${name}, or go on beside it: lodge restore --fork ${dir}`,
        });
      }
      const record = readRecord(dir);
      const { cluster, hosts = { '': cluster.guests.map((guest) => guest.name) } } = record;
      const neededOf = new Map(cluster.guests.map((guest) => [guest.name, guest.neededBytes]));
      const nowOf = matchHosts(
        Object.entries(hosts).map(([saved, guests]) => ({
          name: saved,
          neededBytes: guests.reduce((sum, guest) => sum + (neededOf.get(guest) ?? 0), 0),
        })),
        await roomsOfJob(job),
      );
      const plan = movedCluster(cluster, name, (guest) => join(guestsDir(), guest), job.id);
      const hostOfGuest = new Map(
        Object.entries(hosts).flatMap(([saved, guests]) =>
          guests.map((guest) => [guest, nowOf.get(saved)!] as const),
        ),
      );
      const parts = [...nowOf].map(([saved, now]) => {
        const host = job.hosts.find((one) => one.name === now)!;
        const part = clusterOnHost(plan, hostOfGuest, { host: now, guestsDir: host.agent.guestsDir });
        return { saved, host, part };
      });
      try {
        const trunks = await joinTrunks(job, { plan, parts, before: undefined });
        const endLimit = await endLimitOf(plan);
        await doTogether<PartRequest, null>(
          parts.map(({ saved, host: { door }, part }) => ({
            door,
            request: {
              op: 'restore',
              dir,
              job: job.id,
              hosts: [...nowOf].filter(([was]) => was !== ''),
              cluster: part,
              ...(saved === '' ? {} : { saved }),
            },
          })),
          {
            cluster: name,
            meetings: restoreMeetings,
            onProgress: progress.show,
            onMeeting: async () =>
              writeJobCluster(job.dir, {
                version: 1,
                plan,
                hostOfGuest: Object.fromEntries(hostOfGuest),
                secret: readSecret(dir).trim(),
                trunks,
                ...endLimit,
              }),
          },
        );
      } catch (error) {
        removeJobCluster(job.dir, name);
        await endOnHosts(
          parts.map(({ host }) => host),
          name,
          0,
        ).catch(() => {});
        throw error;
      }
      progress.clear();
      process.stdout.write(globals.json ? `${JSON.stringify({ cluster: name })}\n` : `${name}\n`);
    } finally {
      unlock();
    }
  } finally {
    progress.clear();
  }
}

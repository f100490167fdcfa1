/** Saving clusters and letting them go on. */

import { resolve } from 'node:path';
import { readCheckpoint, readRecord, requireFreePlace } from '../cluster/checkpoint/files.ts';
import { forkName } from '../cluster/checkpoint/plan.ts';
import type { Taken } from '../cluster/checkpoint/take.ts';
import { type ClusterLock, lockCluster } from '../cluster/lock.ts';
import { clusterNamePattern } from '../cluster/spec.ts';
import { clusterNames, discardUnbegun } from '../cluster/state.ts';
import { LodgeError } from '../errors.ts';
import { restoreFrom, takeCheckpoint } from '../server/cluster-client.ts';
import { jobForClusters } from '../server/job.ts';
import { jobClusters } from '../server/locate.ts';
import { formatSize, formatTime } from '../units.ts';
import type { RestoreFlags } from './checkpoint.ts';
import { hostClusterNamed, jobClusterNamed } from './job-names.ts';
import type { GlobalOptions } from './program.ts';
import { openProgress, type Progress } from './progress.ts';

export async function checkpointVerb(
  directory: string,
  cluster: string | undefined,
  globals: GlobalOptions,
): Promise<void> {
  const dir = resolve(directory);
  requireFreePlace(dir);
  const ofJob = jobClusterNamed(cluster);
  const progress = openProgress(globals);
  try {
    if (ofJob !== undefined) {
      const { checkpointInJob } = await import('./job-checkpoint.ts');
      tellTaken(ofJob.plan.name, dir, await checkpointInJob(ofJob, dir, progress.show), globals, progress);
      return;
    }
    const name = hostClusterNamed(cluster);
    const lock = await lockCluster(name);
    try {
      tellTaken(name, dir, await takeCheckpoint(name, dir, progress.show), globals, progress);
    } finally {
      await lock.release();
    }
  } finally {
    progress.clear();
  }
}

function tellTaken(
  cluster: string,
  directory: string,
  { bytes, stillMs }: Taken,
  { json }: GlobalOptions,
  progress: Progress,
): void {
  progress.clear();
  process.stdout.write(
    json
      ? `${JSON.stringify({ cluster, directory, bytes, stillMs })}\n`
      : `${cluster} is saved in ${directory}: ${formatSize(bytes)}, stood still for ${formatTime(stillMs)}\n`,
  );
}

export async function restoreVerb(
  directory: string,
  flags: RestoreFlags,
  globals: GlobalOptions,
): Promise<void> {
  const dir = resolve(directory);
  const job = jobForClusters();
  // Of several hosts there is none on this one alone.
  const saved = (job === undefined ? readCheckpoint(dir) : readRecord(dir)).cluster.name;
  const isFork = flags.fork === true && flags.name === undefined;
  const asked = flags.name ?? saved;
  if (!clusterNamePattern.test(asked)) {
    throw new LodgeError('spec-value', `'${asked}' cannot be the name of a cluster`, {
      where: '--name',
      fix: 'use 1 to 32 lower-case letters, digits and dashes',
    });
  }
  if (job !== undefined) {
    const { restoreInJob } = await import('./job-checkpoint.ts');
    const taken = jobClusters().map(({ plan }) => plan.name);
    await restoreInJob(isFork ? forkName(saved, taken) : asked, dir, job, globals);
    return;
  }
  const { name, lock } = isFork ? await lockFork(saved) : { name: asked, lock: await lockCluster(asked) };
  const progress = openProgress(globals);
  try {
    await restoreFrom(name, dir, (text) => progress.show(text));
    progress.clear();
    process.stdout.write(globals.json ? `${JSON.stringify({ cluster: name })}\n` : `${name}\n`);
  } finally {
    progress.clear();
    discardUnbegun(name);
    await lock.release();
  }
}

/** A name for a fork that is free also when others fork at this moment: whoever locks it first has it. */
async function lockFork(saved: string): Promise<{ name: string; lock: ClusterLock }> {
  for (const busy: string[] = []; ; ) {
    const name = forkName(saved, [...clusterNames(), ...busy]);
    try {
      return { name, lock: await lockCluster(name) };
    } catch (error) {
      if (!(error instanceof LodgeError) || error.code !== 'cluster-busy') throw error;
      busy.push(name);
    }
  }
}

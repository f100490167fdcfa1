/** Saving clusters and letting them go on. */

import { resolve } from 'node:path';
import { readCheckpoint, readRecord, requireFreePlace } from '../cluster/checkpoint/files.ts';
import { forkName } from '../cluster/checkpoint/plan.ts';
import type { Taken } from '../cluster/checkpoint/take.ts';
import { lockCluster } from '../cluster/lock.ts';
import { clusterNamePattern } from '../cluster/spec.ts';
import { clusterNames, whichCluster } from '../cluster/state.ts';
import { LodgeError } from '../errors.ts';
import { restoreFrom, takeCheckpoint } from '../server/cluster-client.ts';
import { jobForClusters } from '../server/job.ts';
import { jobClusters } from '../server/locate.ts';
import { formatSize, formatTime } from '../units.ts';
import type { RestoreFlags } from './checkpoint.ts';
import { jobClusterNamed } from './job-names.ts';
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
    const name = whichCluster(cluster);
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
  const taken = job === undefined ? clusterNames() : jobClusters().map(({ plan }) => plan.name);
  const name = flags.name ?? (flags.fork === true ? forkName(saved, taken) : saved);
  if (!clusterNamePattern.test(name)) {
    throw new LodgeError('spec-value', `'${name}' cannot be the name of a cluster`, { where: '--name' });
  }
  if (job !== undefined) {
    const { restoreInJob } = await import('./job-checkpoint.ts');
    await restoreInJob(name, dir, job, globals);
    return;
  }
  const lock = await lockCluster(name);
  const progress = openProgress(globals);
  try {
    await restoreFrom(name, dir, (text) => progress.show(text));
    progress.clear();
    process.stdout.write(globals.json ? `${JSON.stringify({ cluster: name })}\n` : `${name}\n`);
  } finally {
    progress.clear();
    await lock.release();
  }
}

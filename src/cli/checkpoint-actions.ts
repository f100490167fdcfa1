/** Saving clusters and letting them go on. */

import { resolve } from 'node:path';
import { readCheckpoint, requireFreePlace } from '../cluster/checkpoint/files.ts';
import { forkName } from '../cluster/checkpoint/plan.ts';
import { lockCluster } from '../cluster/lock.ts';
import { clusterNamePattern } from '../cluster/spec.ts';
import { clusterNames, whichCluster } from '../cluster/state.ts';
import { LodgeError } from '../errors.ts';
import { restoreFrom, takeCheckpoint } from '../server/cluster-client.ts';
import { formatSize, formatTime } from '../units.ts';
import type { RestoreFlags } from './checkpoint.ts';
import type { GlobalOptions } from './program.ts';
import { openProgress } from './progress.ts';

export async function checkpointVerb(
  directory: string,
  cluster: string | undefined,
  globals: GlobalOptions,
): Promise<void> {
  const name = whichCluster(cluster);
  const dir = resolve(directory);
  requireFreePlace(dir);
  const lock = await lockCluster(name);
  const progress = openProgress(globals);
  try {
    const { bytes, stillMs } = await takeCheckpoint(name, dir, (text) => progress.show(text));
    progress.clear();
    process.stdout.write(
      globals.json
        ? `${JSON.stringify({ cluster: name, directory: dir, bytes, stillMs })}\n`
        : `${name} is saved in ${dir}: ${formatSize(bytes)}, stood still for ${formatTime(stillMs)}\n`,
    );
  } finally {
    progress.clear();
    await lock.release();
  }
}

export async function restoreVerb(
  directory: string,
  flags: RestoreFlags,
  globals: GlobalOptions,
): Promise<void> {
  const dir = resolve(directory);
  const saved = readCheckpoint(dir).cluster.name;
  const name = flags.name ?? (flags.fork === true ? forkName(saved, clusterNames()) : saved);
  if (!clusterNamePattern.test(name)) {
    throw new LodgeError('spec-value', `'${name}' cannot be the name of a cluster`, { where: '--name' });
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

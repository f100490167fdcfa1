/**
 * Images that guests hold whose job has ended. A guest that is killed on another host cannot let go of them, and of
 * processes on other hosts nothing is known here; of jobs, Slurm knows.
 */

import type { Lease } from '../../image/lease.ts';
import { fateOf } from '../../image/owner.ts';
import type { Store } from '../../image/store.ts';
import { type AskSlurm, askSlurm, livingJobs } from './living-jobs.ts';
import { parseConfig } from './site/scontrol.ts';

/** Lets go of them. Where Slurm does not answer, nothing is known, and all stays as it is. */
export async function releaseEnded(store: Store, ask: AskSlurm = askSlurm): Promise<void> {
  const leases = (await store.leases()).filter(isUnknownHere);
  if (leases.length === 0) return;
  const config = await ask(['scontrol', 'show', 'config']);
  if (config === undefined) return;
  const cluster = parseConfig(config).get('ClusterName');
  const ofCluster = leases.filter(({ job }) => job!.cluster === cluster);
  if (ofCluster.length === 0) return;
  const living = await livingJobs(ask);
  if (living === undefined) return;
  for (const { guest, host, job } of ofCluster) {
    if (!living.has(job!.id)) await store.release(guest, host);
  }
}

function isUnknownHere({ owner, job }: Lease): boolean {
  return job?.uid === process.getuid!() && fateOf(owner) === 'unknown';
}

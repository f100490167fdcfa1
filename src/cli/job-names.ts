/** Clusters of this job, as they are named on the command line. */

import type { JobCluster } from '../cluster/engine/rendezvous.ts';
import { clusterNames, whichCluster } from '../cluster/state.ts';
import { jobClusters } from '../server/locate.ts';

/**
 * The cluster over this job's hosts that is meant: the one named, or the only one there is.
 * @returns undefined where it is one of this host alone, or none: whoever looks for those says so
 */
export function jobClusterNamed(name: string | undefined): JobCluster | undefined {
  const all = jobClusters();
  if (name !== undefined) return all.find(({ plan }) => plan.name === name);
  return all.length === 1 && clusterNames().length === 0 ? all[0] : undefined;
}

/**
 * The cluster of this host alone that is meant, where it is none over the job's hosts.
 * @throws LodgeError `no-such-cluster`, with those of this host and job
 */
export function hostClusterNamed(name: string | undefined): string {
  return whichCluster(
    name,
    jobClusters().map(({ plan }) => plan.name),
  );
}

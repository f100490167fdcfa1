/** Who holds objects of the store, so that they stay. */

import type { Owner } from './owner.ts';

export interface Lease {
  host: string;
  /** Unlike any other guest's. */
  guest: string;
  /** As people know it. */
  name?: string;
  objects: string[];
  owner: Owner;
  /** The job of Slurm that the owner is in: with that it ends, wherever it is. */
  job?: LeaseJob;
}

export interface LeaseJob {
  id: string;
  /** Of which Slurm it is; the numbers of another's mean other jobs. */
  cluster: string;
  /** Whose it is. */
  uid: number;
}

export interface LeaseOptions {
  /** This process by default. */
  owner?: Owner;
  name?: string;
}

/** Variables: srun(1). In a Slurm of one's own they are that one's, by its name as well. */
export function jobOf(env: Readonly<NodeJS.ProcessEnv>): LeaseJob | undefined {
  const { SLURM_JOB_ID: id, SLURM_CLUSTER_NAME: cluster } = env;
  return id === undefined || cluster === undefined ? undefined : { id, cluster, uid: process.getuid!() };
}

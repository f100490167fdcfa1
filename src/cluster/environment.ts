/** What commands in guests of a cluster have in their environment beside their caller's. Pure. */

import type { Accelerator } from '../machine/accelerators.ts';

/**
 * Open MPI refuses root unless told otherwise, because of what a mistake could do to a host. A guest is its user's own,
 * and thrown away: there root may. Namespaces have no CPUs of their own, and each looks to Open MPI like a host that
 * has: ranks that wait let others have the CPU, and the fabric between them. For others nothing is set.
 */
export function clusterEnvironment(uid: number, accelerator: Accelerator): Record<string, string> {
  return {
    ...(uid === 0 ? { OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' } : {}),
    ...(accelerator === 'netns' ? { OMPI_MCA_mpi_yield_when_idle: '1' } : {}),
  };
}

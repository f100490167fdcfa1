/** What commands in guests of a cluster have in their environment beside their caller's. Pure. */

/**
 * Open MPI refuses root unless told otherwise, because of what a mistake could do to a host. A guest is its user's own,
 * and thrown away: there root may. For others nothing is set.
 */
export function clusterEnvironment(uid: number): Record<string, string> {
  return uid === 0 ? { OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' } : {};
}

import { expect, it } from 'vitest';
import { clusterEnvironment } from '../../src/cluster/environment.ts';

it('lets root run MPI, and ranks give way where guests share CPUs', () => {
  expect(clusterEnvironment(0, 'tcg')).toEqual({
    OMPI_ALLOW_RUN_AS_ROOT: '1',
    OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1',
  });
  expect(clusterEnvironment(1000, 'uml')).toEqual({});
  expect(clusterEnvironment(1000, 'netns')).toEqual({ OMPI_MCA_mpi_yield_when_idle: '1' });
});

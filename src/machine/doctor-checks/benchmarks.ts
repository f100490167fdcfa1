/** What a study can measure with on this host. */

import { packageOfProgram } from '../../process.ts';
import { type DoctorFacts, packageOfOptionalProgram } from '../doctor-facts.ts';
import { type Finding, findingMaker } from './finding.ts';

const finding = findingMaker('benchmarks');

const benchmarks: readonly { id: string; program: string; alsoPackages?: string[]; purpose: string }[] = [
  {
    id: 'hpcc',
    program: 'hpcc',
    // Without it, hpcc links the reference BLAS, a fraction of the speed.
    alsoPackages: ['libopenblas0'],
    purpose: 'the HPC Challenge on the host, to compare guests with (the image debian-hpc has its own)',
  },
  { id: 'mpi', program: 'mpiexec.openmpi', purpose: 'parallel benchmarks are started with it' },
  { id: 'netpipe', program: 'NPopenmpi', purpose: 'latency and bandwidth by message size' },
  { id: 'numactl', program: 'numactl', purpose: 'native runs are bound as guests are' },
  { id: 'figures', program: 'rsvg-convert', purpose: 'it makes PNG of the figures of a report, beside SVG' },
];

export function checkBenchmarks({ programs }: DoctorFacts): Finding[] {
  return benchmarks.map(({ id, program, alsoPackages, purpose }) =>
    programs[program] === undefined
      ? finding('note', id, `${program} is not installed`, purpose, {
          packages: [
            (packageOfOptionalProgram[program] ?? packageOfProgram[program])!,
            ...(alsoPackages ?? []),
          ],
        })
      : finding('pass', id, `${program}: installed`, purpose),
  );
}

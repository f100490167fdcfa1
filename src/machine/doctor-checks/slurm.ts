/** Whether hosts can be had from Slurm. */

import type { DoctorFacts } from '../doctor-facts.ts';
import { type Finding, findingMaker } from './finding.ts';

const finding = findingMaker('Slurm');

export function checkSlurm({ programs, slurmVersion, machine }: DoctorFacts): Finding[] {
  if (programs.srun === undefined) {
    return [
      finding(
        'note',
        'client',
        'Slurm is not installed',
        'clusters run on this host only; with Slurm they span its nodes',
        { advice: 'nothing to do on a machine of your own; on a cluster, load its Slurm module' },
      ),
    ];
  }
  const findings = [
    finding(
      'pass',
      'client',
      slurmVersion ?? 'srun is installed',
      'clusters of guests can span nodes of Slurm',
    ),
    machine.limits.slurmJob === undefined
      ? finding('note', 'job', 'not inside a job of Slurm', 'lodge uses this host only', {
          advice: 'start it in an allocation: salloc -N 2, or sbatch',
        })
      : finding(
          'pass',
          'job',
          `inside job ${machine.limits.slurmJob}`,
          'guests live in this allocation and end with it',
        ),
  ];
  return findings;
}

/** Whether hosts can be had from Slurm. */

import type { DoctorFacts } from '../doctor-facts.ts';
import { type Finding, findingMaker } from './finding.ts';

const finding = findingMaker('Slurm');

export function checkSlurm({ programs, slurmVersion, machine }: DoctorFacts): Finding[] {
  if (programs.srun === undefined) {
    return [
      finding('note', 'client', 'Slurm is not installed', 'nothing is lost: lodge runs on this host', {
        advice: 'nothing to do on a machine of your own; on a cluster, load its Slurm module',
      }),
    ];
  }
  const findings = [
    finding(
      'pass',
      'client',
      slurmVersion ?? 'srun is installed',
      'in a job, lodge takes no more than the job has',
    ),
    machine.limits.slurmJob === undefined
      ? finding('note', 'job', 'not inside a job of Slurm', 'lodge may use all of this host')
      : finding(
          'pass',
          'job',
          `inside job ${machine.limits.slurmJob}`,
          'guests live in this allocation and end with it',
        ),
  ];
  return findings;
}

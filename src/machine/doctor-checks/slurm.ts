/** Whether hosts can be had from Slurm. */

import { packageOfProgram } from '../../process.ts';
import type { DoctorFacts } from '../doctor-facts.ts';
import { type Finding, findingMaker } from './finding.ts';

const finding = findingMaker('Slurm');

/** What `lodge slurm up` starts, beside the client. */
const daemons = ['munged', 'slurmctld', 'slurmd', 'passt'] as const;

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
      slurmVersion || 'srun is installed',
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
    ownSlurm(programs),
  ];
  return findings;
}

/** Whether a Slurm of one's own can be started here. */
function ownSlurm(programs: Readonly<Record<string, string>>): Finding {
  const missing = daemons.filter((name) => programs[name] === undefined);
  if (missing.length === 0) {
    return finding(
      'pass',
      'own',
      'munge, slurmctld, slurmd and passt are installed',
      'lodge slurm up can start a Slurm of your own',
    );
  }
  return finding(
    'note',
    'own',
    `not installed: ${missing.join(', ')}`,
    'lodge slurm up cannot start a Slurm of your own; jobs of this one are as good without it',
    { packages: missing.map((name) => packageOfProgram[name] ?? name) },
  );
}

/**
 * Runs of a study through Slurm: by the same line of srun on a host and in a guest, with only the node list changed
 * (section 4.1 of the paper). What was there already is measured: nothing is booted, pinned or reserved for it.
 */

import { LodgeError } from '../errors.ts';
import { baseEnvironment, type EnvironmentResult, type EnvironmentRun } from './environment.ts';
import { runHere } from './native.ts';

/** The nodes of a study through Slurm. */
export interface SlurmNodes {
  native: string;
  guest: string;
}

/** The words before a benchmark's own: all that differs between two runs is the node. */
export function srunLine(node: string, cores: number): string[] {
  return ['srun', '-w', node, '-N1', '-n1', `-c${cores}`, '--chdir=/', '--quit-on-interrupt'];
}

/** Where Slurm is and on whose account it runs things: the caller's choice, for both nodes alike. Variables: srun(1). */
const callersVariables = ['SLURM_CONF', 'SLURM_PARTITION', 'SLURM_ACCOUNT', 'SLURM_QOS', 'SLURM_RESERVATION'];

/** What of an environment chooses the Slurm of a study. */
export function slurmEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    callersVariables.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])),
  );
}

/** The exit code of env(1) for a program that is not there. */
const notFound = 127;

/** @throws LodgeError `benchmark-output` when it hangs or is not on the node, `missing-program` without srun */
export async function runBySlurm(run: EnvironmentRun, node: string): Promise<EnvironmentResult> {
  const { argv, env, input } = run.command!;
  const variables = Object.entries({ ...baseEnvironment, ...env }).map(([name, value]) => `${name}=${value}`);
  // What a benchmark has in its environment is the same in all nodes.
  const result = await runHere({
    ...run,
    command: {
      argv: [...srunLine(node, run.cell.cores), 'env', '-i', ...variables, ...argv],
      env: slurmEnvironment(process.env),
      input,
    },
  });
  if (result.code !== notFound) return result;
  throw new LodgeError('benchmark-output', `on ${node} there is no ${argv[0]}`, {
    detail: `${result.errors.trim()}\nprograms are looked for at the same path on both nodes: share their directory with the guest (volumes:)`,
  });
}

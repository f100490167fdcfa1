/** Which jobs there still are. */

import { runProgram } from '../../process.ts';
import { siteEnvironment } from './slurm-job.ts';

/** Standard output of a program of Slurm; undefined when it fails. */
export type AskSlurm = (argv: readonly string[]) => Promise<string | undefined>;

export const askSlurm: AskSlurm = async (argv) => {
  const env = siteEnvironment(process.env);
  const asked = await runProgram(argv, { env, timeoutMs: 10_000 }).catch(() => undefined);
  return asked?.code === 0 ? asked.stdout : undefined;
};

/** The ids of this user's jobs that have not ended; undefined where Slurm does not answer, and nothing is known. */
export async function livingJobs(ask: AskSlurm = askSlurm): Promise<Set<string> | undefined> {
  const listed = await ask(['squeue', '--noheader', '--me', '--format=%A']);
  return listed === undefined ? undefined : new Set(listed.split('\n').map((line) => line.trim()));
}

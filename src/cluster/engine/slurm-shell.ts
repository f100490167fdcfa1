/**
 * What a shell is told to use a Slurm of one's own, and to be as it was before. The variables of the outer Slurm and job
 * would have srun look for that job here, so they are set aside, in one variable. Pure.
 */

import { shellWord } from '../../shell-words.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** What a shell had of Slurm before, as JSON. */
const outerVariable = 'LODGE_OUTER_SLURM';
const ownVariables = ['SLURM_CONF', 'LODGE_JOB', 'LODGE_JOB_CONF', outerVariable];

function isOfSlurm(name: string): boolean {
  return /^(SLURM|SALLOC|SBATCH)_\w+$/.test(name);
}

/**
 * Lines for a shell to come into a Slurm of one's own.
 * @param env of the shell; in one that is in such a Slurm already, what it had before the first of them stays set aside
 * @param job the job that it is in, and its hosts, as Slurm writes them
 */
export function linesInto(env: Environment, conf: string, job?: { id: string; hosts: string }): string[] {
  const names = Object.keys(env).filter(isOfSlurm);
  const outer =
    env[outerVariable] ?? JSON.stringify(Object.fromEntries(names.map((name) => [name, env[name]])));
  const unset = names.filter((name) => name !== 'SLURM_CONF');
  const siteConf = env.LODGE_JOB === undefined ? env.SLURM_CONF : env.LODGE_JOB_CONF;
  return [
    exported('SLURM_CONF', conf),
    ...(job === undefined ? [] : [exported('LODGE_JOB', `${job.id}:${job.hosts}`)]),
    ...(job === undefined || siteConf === undefined ? [] : [exported('LODGE_JOB_CONF', siteConf)]),
    exported(outerVariable, outer),
    ...(unset.length === 0 ? [] : [`unset ${unset.join(' ')}`]),
  ];
}

/** The cluster whose Slurm a shell is in; undefined where it is in none of one's own. */
export function clusterOfShell(env: Environment): string | undefined {
  if (env[outerVariable] === undefined) return undefined;
  return /^\/tmp\/lodge-\d+-s[^-/]*-([^/]+)\/slurm\.conf$/.exec(env.SLURM_CONF ?? '')?.[1];
}

/** Lines for a shell to be as it was before {@link linesInto}; none for one that was not. */
export function linesOutOf(env: Environment): string[] {
  const text = env[outerVariable];
  if (text === undefined) return [];
  const outer = outerOf(text);
  const gone = [...ownVariables, ...Object.keys(env).filter(isOfSlurm)];
  const unset = [...new Set(gone)].filter((name) => name in env && !outer.has(name));
  return [
    `unset ${unset.join(' ')}`,
    ...[...outer]
      .filter(([name, value]) => env[name] !== value)
      .map(([name, value]) => exported(name, value)),
  ];
}

/** What was set aside; nothing of what is no variable of Slurm's. */
function outerOf(text: string): Map<string, string> {
  try {
    const entries = Object.entries((JSON.parse(text) ?? {}) as Record<string, unknown>);
    return new Map(
      entries.filter(
        (entry): entry is [string, string] => isOfSlurm(entry[0]) && typeof entry[1] === 'string',
      ),
    );
  } catch {
    return new Map();
  }
}

function exported(name: string, value: string): string {
  return `export ${name}=${shellWord(value)}`;
}

/** The job of Slurm that a process is in, from its environment, and how lodge asks Slurm for a step in it. Pure. */

import { LodgeError } from '../../errors.ts';
import { expandHostList, foldHostList } from '../../host-list.ts';

export interface SlurmJob {
  /** Such as `4711`. */
  id: string;
  /** The hosts of the allocation, in Slurm's order. */
  hosts: string[];
  /** Inside a step that srun has started, which owns a part of the job; not in the script or shell of the job itself. */
  isInStep: boolean;
}

/**
 * The job that this environment is of; undefined outside of any. Variables: srun(1), salloc(1).
 * @throws LodgeError `no-allocation` for one that names no hosts
 */
export function slurmJobOf(env: Readonly<Record<string, string | undefined>>): SlurmJob | undefined {
  // Where a Slurm of one's own is used inside a job, Slurm's variables are that one's.
  const own = /^(\d{1,15}):(.+)$/.exec(env.LODGE_JOB ?? '');
  if (own !== null) return { id: own[1]!, hosts: expandHostList(own[2]!), isInStep: false };
  const id = env.SLURM_JOB_ID;
  if (id === undefined || !/^\d{1,15}$/.test(id)) return undefined;
  // The script of a job is a step, too, of a number that no srun gets (slurm.h: the last 16).
  const step = Number(env.SLURM_STEP_ID ?? Number.NaN);
  return { id, hosts: hostsOfJob(id, env), isInStep: step >= 0 && step < 0xffff_fff0 };
}

function hostsOfJob(id: string, env: Readonly<Record<string, string | undefined>>): string[] {
  const list = env.SLURM_JOB_NODELIST ?? env.SLURM_NODELIST ?? '';
  const where = 'SLURM_JOB_NODELIST';
  const fix = 'begin a new one: salloc -N2';
  if (list === '') throw new LodgeError('no-allocation', `job ${id} of Slurm names no hosts`, { where, fix });
  try {
    return expandHostList(list);
  } catch (error) {
    // Nobody has written it: it is no fault in a file.
    throw new LodgeError('no-allocation', `job ${id} of Slurm: ${(error as Error).message}`, { where, fix });
  }
}

/**
 * The environment without what Slurm has said of a job or step: srun takes much of it for options, which may
 * contradict those that it is given. How Slurm itself is reached stays.
 */
export function withoutJob(env: Readonly<NodeJS.ProcessEnv>): NodeJS.ProcessEnv {
  const kept = new Set(['SLURM_CONF', 'SLURM_CLUSTERS']);
  const isOfJob = (name: string): boolean => /^(SLURM|SBATCH|SALLOC|SRUN|PMI|PMIX)_/.test(name);
  return Object.fromEntries(Object.entries(env).filter(([name]) => kept.has(name) || !isOfJob(name)));
}

/**
 * The environment for asking the Slurm of the job itself. Where a Slurm of one's own is used inside it, SLURM_CONF is
 * that one's, and where the outer one's is stands in LODGE_JOB_CONF.
 */
export function siteEnvironment(env: Readonly<NodeJS.ProcessEnv>): NodeJS.ProcessEnv {
  const { SLURM_CONF, ...rest } = withoutJob(env);
  const conf = env.LODGE_JOB === undefined ? SLURM_CONF : env.LODGE_JOB_CONF;
  return conf === undefined ? rest : { ...rest, SLURM_CONF: conf };
}

export interface AgentStep {
  job: string;
  /** Those on which an agent is to be started. */
  hosts: readonly string[];
  /** File that takes what the agents say. */
  log: string;
  /** The program and its arguments. */
  argv: readonly string[];
}

/**
 * The line that starts an agent on each host, in one step. The step has all that the job has there, and leaves it to
 * other steps as well; agents do not end with one another.
 */
export function agentStepArgv({ job, hosts, log, argv }: AgentStep): string[] {
  const count = String(hosts.length);
  // srun has names of its own in paths (%j), and %% for the character.
  const output = log.replaceAll('%', '%%');
  return [
    ...[
      'srun',
      `--jobid=${job}`,
      '--job-name=lodge',
      '--overlap',
      '--mem=0',
      '--cpu-bind=none',
      '--mpi=none',
    ],
    ...[`--nodes=${count}`, `--ntasks=${count}`, '--ntasks-per-node=1', `--nodelist=${foldHostList(hosts)}`],
    ...['--no-kill', '--kill-on-bad-exit=0', '--wait=0', '--input=none', '--unbuffered'],
    ...[`--output=${output}`, `--error=${output}`, '--', ...argv],
  ];
}

/** What srun complains of. */
export function slurmFault(complaint: string): LodgeError {
  return (
    knownSlurmFault(complaint) ??
    new LodgeError('slurm-unavailable', 'Slurm did not start a step for lodge', {
      ...detailOf(complaint),
      fix: 'try the same by hand: srun --overlap hostname',
    })
  );
}

function detailOf(complaint: string): { detail?: string } {
  const lines = complaint
    .split('\n')
    .filter((line) => line.trim() !== '')
    .slice(-5)
    .join('\n');
  return lines === '' ? {} : { detail: lines };
}

/** Whether a program of Slurm complains that slurmctld does not answer: it may be back in a moment. */
export function isControllerAway(complaint: string): boolean {
  return /Unable to contact slurm controller|Unable to establish|Connection refused|Socket timed out|in standby mode/i.test(
    complaint,
  );
}

/** What any program of Slurm complains of, where it is known what is meant; undefined where it is not. */
export function knownSlurmFault(complaint: string): LodgeError | undefined {
  const detail = detailOf(complaint);
  if (isControllerAway(complaint)) {
    return new LodgeError('slurm-unavailable', 'the controller of Slurm does not answer', {
      ...detail,
      fix: 'scontrol ping tells whether it is there again; what runs goes on meanwhile',
    });
  }
  if (/munge|authentication|Protocol authentication|credential/i.test(complaint)) {
    return new LodgeError('slurm-unavailable', 'Slurm does not believe who we are (munge)', {
      ...detail,
      fix: 'see that munged runs on this host with the key of the cluster: munge -n | unmunge',
    });
  }
  if (/Invalid job id|already completed|expired|Job\/step already completing/i.test(complaint)) {
    return new LodgeError('no-allocation', 'the job has ended', {
      ...detail,
      fix: 'begin a new one: salloc -N2',
    });
  }
  return undefined;
}

/**
 * Memory that a job has on each of its hosts, in bytes: from `scontrol show job --details --oneliner`. Hosts on which
 * Slurm does not count memory are not there.
 */
export function jobMemory(text: string): Map<string, number> {
  const memory = new Map<string, number>();
  // Nodes=n[01-02] CPU_IDs=0-1 Mem=1024 GRES=
  for (const [, nodes = '', mebibytes = ''] of text.matchAll(/\bNodes=(\S+) CPU_IDs=\S* Mem=(\d+)/g)) {
    if (Number(mebibytes) === 0) continue;
    for (const host of expandHostList(nodes)) memory.set(host, Number(mebibytes) * 2 ** 20);
  }
  return memory;
}

/** The time between Slurm's SIGTERM and its SIGKILL to a job that ends: `KillWait` of `scontrol show config`. */
export function killWaitMs(text: string): number | undefined {
  const [, seconds] = /^KillWait\s*=\s*(\d+) sec/m.exec(text) ?? [];
  return seconds === undefined ? undefined : Number(seconds) * 1000;
}

/** What a task of a step, or the script of a job, has on its host, as far as its environment tells. */
export interface TaskShare {
  cpus?: number;
  memoryBytes?: number;
}

/**
 * The share of this task: CPUs by `-c`, memory by `--mem` (of the host, among the tasks there) or `--mem-per-cpu`.
 * Variables: srun(1), sbatch(1); memory is in MiB, and 0 stands for all of it.
 */
export function taskShare(env: Readonly<Record<string, string | undefined>>): TaskShare {
  if (env.SLURM_JOB_ID === undefined || env.SLURMD_NODENAME === undefined) return {};
  const count = (name: string): number | undefined => {
    const text = env[name] ?? '';
    return /^[1-9]\d{0,8}$/.test(text) ? Number(text) : undefined;
  };
  const cpus = count('SLURM_CPUS_PER_TASK');
  const perNode = count('SLURM_MEM_PER_NODE');
  const perCpu = count('SLURM_MEM_PER_CPU');
  const mebibytes =
    perNode !== undefined
      ? perNode / tasksOn(env.SLURM_STEP_TASKS_PER_NODE ?? '1', count('SLURM_NODEID') ?? 0)
      : perCpu === undefined
        ? undefined
        : perCpu * (cpus ?? 1);
  return {
    ...(cpus === undefined ? {} : { cpus }),
    ...(mebibytes === undefined ? {} : { memoryBytes: Math.floor(mebibytes) * 2 ** 20 }),
  };
}

/** Tasks on the host of this number, of `2(x3),1`. */
function tasksOn(text: string, host: number): number {
  let at = 0;
  for (const part of text.split(',')) {
    const [, tasks = '1', times = '1'] = /^(\d+)(?:\(x(\d+)\))?$/.exec(part) ?? [];
    at += Number(times);
    if (host < at) return Math.max(1, Number(tasks));
  }
  return 1;
}

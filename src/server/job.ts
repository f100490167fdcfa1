/** The hosts of a job of Slurm, for verbs: their agents are started when they are needed, and do things on their hosts. */

import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { agentWatch } from '../cluster/engine/agent-watch.ts';
import { livingJobs } from '../cluster/engine/living-jobs.ts';
import {
  type AgentEntry,
  discardJob,
  jobDir,
  jobRuntimePrefix,
  keyFileOf,
  listJobs,
  makeJobDir,
  readAgents,
  readJobKey,
} from '../cluster/engine/rendezvous.ts';
import {
  agentStepArgv,
  jobMemory,
  killWaitMs,
  type SlurmJob,
  siteEnvironment,
  slurmFault,
  slurmJobOf,
} from '../cluster/engine/slurm-job.ts';
import { LodgeError } from '../errors.ts';
import { foldHostList } from '../host-list.ts';
import { printable } from '../printable.ts';
import { missingProgram, runProgram } from '../process.ts';
import { identify, type ProcessIdentity } from '../process-identity.ts';
import { type ErrorBody, errorOfBody, type Health } from './api.ts';
import { call } from './client.ts';
import { type FarDoor, webSocketThrough } from './door.ts';
import { RemoteSession } from './remote-session.ts';

/** A host of a job, whose agent answers. */
export interface JobHost {
  name: string;
  door: FarDoor;
  agent: AgentEntry;
}

export interface Job {
  id: string;
  dir: string;
  keyFile: string;
  hosts: JobHost[];
}

/** From the step's start until all its agents have told of themselves. A busy controller takes its time. */
const agentsWithinMs = 120_000;
const healthWithinMs = 5000;
/** slurm.conf(5) */
const usualKillWaitMs = 30_000;

/**
 * The job that this process is in the shell or script of, where clusters go over all its hosts; undefined outside of a
 * job, and on a host that its agent acts for.
 * @throws LodgeError `usage` inside a step: what it starts would have to end with it
 */
export function jobForClusters(): SlurmJob | undefined {
  if (process.env.LODGE_THIS_HOST !== undefined) return undefined;
  const job = slurmJobOf(process.env);
  if (job?.isInStep === true) {
    throw new LodgeError(
      'usage',
      'a step of Slurm ends with its command, and a cluster would have to end with it',
      {
        fix: 'run it in the shell of salloc or in the script of sbatch itself, without srun',
      },
    );
  }
  return job;
}

/** The hosts of a job whose agents answer. */
export async function openJob(id: string): Promise<Job> {
  const dir = jobDir(id);
  const key = readJobKey(dir);
  const hosts: JobHost[] = [];
  await Promise.all(
    readAgents(dir).map(async (agent) => {
      const door = { host: agent.host, address: agent.address, port: agent.port, key };
      if (await answers(door, agent.pid)) hosts.push({ name: agent.host, door, agent });
    }),
  );
  hosts.sort((a, b) => (a.name < b.name ? -1 : 1));
  return { id, dir, keyFile: keyFileOf(dir), hosts };
}

async function answers(door: FarDoor, pid: number): Promise<boolean> {
  const limit = delay(healthWithinMs, undefined, { ref: false });
  const health = await Promise.race([call(door, 'GET', '/v1/health').catch(() => undefined), limit]);
  return health !== undefined && (JSON.parse(health) as Health).pid === pid;
}

/**
 * The hosts of a job, with an agent started on each that has none.
 * @throws LodgeError `no-allocation`, `slurm-unavailable`, `missing-program`; `host-agent` when one does not come up
 */
export async function ensureJob(job: SlurmJob, onProgress: (text: string) => void): Promise<Job> {
  await sweepJobs(job.id);
  const wasThere = existsSync(jobDir(job.id));
  const dir = makeJobDir(job.id, process.env.SLURM_CLUSTER_NAME);
  let open = await openJob(job.id);
  const missing = (): string[] => job.hosts.filter((name) => !open.hosts.some((host) => host.name === name));
  const starting = missing();
  if (starting.length === 0) return open;
  onProgress(`starting agents on ${foldHostList(starting)}`);
  // What a dead one has told of itself is no word of the new one.
  for (const name of starting) rmSync(join(dir, 'hosts', `${name}.json`), { force: true });
  const step = startStep(job.id, dir, starting);
  const deadline = Date.now() + agentsWithinMs;
  while (missing().length > 0) {
    const { fault } = step;
    if (fault !== undefined) {
      // Another lodge may have started them in the same moment.
      open = await openJob(job.id);
      if (missing().length === 0) break;
      // What was made for a job that is none is nobody's; agents of one that has just ended may still be at theirs.
      if (fault.code === 'no-allocation' && !wasThere) discardJob(dir);
      throw fault;
    }
    if (Date.now() > deadline) {
      step.stop();
      throw new LodgeError('host-agent', `no agent came up on ${foldHostList(missing())}`, {
        where: join(dir, 'agents.log'),
        ...tailOf(dir),
        fix: `do all hosts see ${dir}? else set LODGE_DATA_DIR to a directory that they share`,
      });
    }
    await delay(50);
    if (readAgents(dir).length > open.hosts.length) open = await openJob(job.id);
  }
  return open;
}

/** Memory of a job on its hosts, as Slurm counts it, in bytes; of hosts where it does not, nothing. */
export async function memoryOfJob(id: string): Promise<Map<string, number>> {
  const argv = ['scontrol', 'show', 'job', id, '--details', '--oneliner'];
  const { code, stdout, stderr } = await runProgram(argv, {
    timeoutMs: 30_000,
    env: siteEnvironment(process.env),
  });
  if (code !== 0) throw slurmFault(stderr);
  return jobMemory(stdout);
}

/** What Slurm gives a job to end in, once it has been told to, in milliseconds. */
export async function killWaitOfSlurm(): Promise<number> {
  const { code, stdout, stderr } = await runProgram(['scontrol', 'show', 'config'], {
    timeoutMs: 30_000,
    env: siteEnvironment(process.env),
  });
  if (code !== 0) throw slurmFault(stderr);
  return killWaitMs(stdout) ?? usualKillWaitMs;
}

interface Step {
  /** Why it has ended, once it has. */
  readonly fault: LodgeError | undefined;
  stop(): void;
}

/** Has Slurm start agents. The step outlives this process: it ends with the job. */
function startStep(job: string, dir: string, hosts: readonly string[]): Step {
  const logs = ['agents.log', 'srun.log'].map((name) => join(dir, name)) as [string, string];
  const place = jobRuntimePrefix(job);
  const argv = [
    'sh',
    '-c',
    // What an agent ended with is told by its log: srun would complain of a code.
    `${agentWatch}\nexit 0`,
    'lodge',
    dir,
    place,
    process.execPath,
    process.argv[1]!,
    'agent',
    '--job',
    dir,
  ];
  const [program = '', ...args] = agentStepArgv({ job, hosts, log: logs[0], argv });
  const said = openSync(logs[1], 'w', 0o600);
  const state: { fault: LodgeError | undefined } = { fault: undefined };
  const child = spawn(program, args, {
    stdio: ['ignore', said, said],
    env: siteEnvironment(process.env),
    detached: true,
    cwd: '/',
  });
  closeSync(said);
  child.on('error', (cause) => {
    state.fault = missingProgram('srun', cause);
  });
  child.on('exit', () => {
    const complaint = textOf(logs[1]);
    const { detail } = tailOf(dir);
    state.fault ??=
      detail === undefined || /^srun: (error|fatal)/m.test(complaint)
        ? slurmFault(complaint)
        : new LodgeError('host-agent', 'the agents of the job ended as soon as they were started', {
            detail,
          });
  });
  const self = child.pid === undefined ? undefined : identify(child.pid);
  if (self !== undefined)
    writeFileSync(join(dir, 'step.json'), JSON.stringify({ host: hostname(), ...self }));
  child.unref();
  return {
    get fault() {
      return state.fault;
    },
    stop: () => child.kill('SIGTERM'),
  };
}

/** What a file says; nothing once the job has ended and its last agent has taken the directory with it. */
function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

interface StepRecord extends ProcessIdentity {
  /** Where srun runs. */
  host: string;
}

function readStep(dir: string): StepRecord | undefined {
  try {
    return JSON.parse(readFileSync(join(dir, 'step.json'), 'utf8')) as StepRecord;
  } catch {
    return undefined;
  }
}

/** The process of this host that lives as long as the job's agents do: their srun. Undefined on other hosts. */
export function stepProcess(dir: string): ProcessIdentity | undefined {
  const step = readStep(dir);
  return step?.host === hostname() ? { pid: step.pid, startTicks: step.startTicks } : undefined;
}

function tailOf(dir: string): { detail?: string } {
  try {
    const text = printable(readFileSync(join(dir, 'agents.log'), 'utf8').slice(-4000)).trim();
    return text === '' ? {} : { detail: text.split('\n').slice(-10).join('\n') };
  } catch {
    return {};
  }
}

/** Removes what jobs have left that have ended: their agents, or `lodge up`, were killed before they could. */
async function sweepJobs(own: string): Promise<void> {
  // Of those of another cluster, this one's Slurm knows nothing.
  const others = listJobs(process.env.SLURM_CLUSTER_NAME).filter((id) => id !== own);
  if (others.length === 0) return;
  const living = await livingJobs();
  if (living === undefined) return;
  for (const id of others) if (!living.has(id)) discardJob(jobDir(id));
}

export interface VerbOptions {
  cwd: string;
  /** Sent to its standard input, and then no more; without it, the input stays open. */
  input?: string;
  onStderr?: (text: string) => void;
}

/** Starts a verb of lodge on another host of the job. */
export function startVerb(
  { door }: Pick<JobHost, 'door'>,
  argv: readonly string[],
  cwd: string,
): RemoteSession {
  return new RemoteSession(webSocketThrough(door, '/v1/verb'), {
    ...{ argv: [...argv], env: {}, cwd },
    ...{ uid: process.getuid!(), gid: process.getgid!(), groups: [], umask: process.umask() },
  });
}

/**
 * Runs a verb with `--json` on another host, to its end.
 * @returns what it printed, parsed
 * @throws LodgeError the one that it ended with, told with its host
 */
export async function verbOn<Answer>(
  host: JobHost,
  argv: readonly string[],
  options: VerbOptions,
): Promise<Answer> {
  return JSON.parse(await textOn(host, argv, options)) as Answer;
}

/** As {@link verbOn}, for verbs that print a value on each line. */
export async function linesOn(
  host: JobHost,
  argv: readonly string[],
  options: VerbOptions,
): Promise<string[]> {
  return (await textOn(host, argv, options)).split('\n').filter((line) => line !== '');
}

async function textOn(
  host: JobHost,
  argv: readonly string[],
  { cwd, input, onStderr }: VerbOptions,
): Promise<string> {
  const session = startVerb(host, ['--json', ...argv], cwd);
  const out: Buffer[] = [];
  let errors = '';
  session.output('stdout', (bytes) => {
    out.push(Buffer.from(bytes));
  });
  session.output('stderr', (bytes) => {
    const text = bytes.toString();
    errors = (errors + text).slice(-4000);
    onStderr?.(text);
  });
  if (input !== undefined) {
    await session.write(Buffer.from(input));
    session.endInput();
  }
  const { code, signal } = await session.end;
  const text = Buffer.concat(out).toString();
  if (code === 0 && signal === 0) return text;
  const error = errorIn(text);
  if (error === undefined) {
    throw new LodgeError(
      'host-agent',
      `lodge on ${host.name} ended with code ${signal > 0 ? 128 + signal : code}`,
      {
        detail: printable(errors),
      },
    );
  }
  // A place in a file that was read here is one here.
  const isHere = error.where !== undefined && /:\d+:\d+$/.test(error.where);
  throw new LodgeError(error.code, isHere ? `on ${host.name}: ${error.message}` : error.message, {
    where: isHere ? error.where! : error.where === undefined ? host.name : `${host.name}: ${error.where}`,
    ...(error.fix === undefined ? {} : { fix: error.fix }),
    ...(error.detail === undefined ? {} : { detail: error.detail }),
  });
}

/** The error that a verb has printed as JSON. */
function errorIn(text: string): LodgeError | undefined {
  try {
    const value = JSON.parse(text) as { error?: ErrorBody };
    return value.error === undefined ? undefined : errorOfBody(value.error);
  } catch {
    return undefined;
  }
}

/** What `up`, `apply` and `down` do in a job of several hosts: each host's agent does its part. */

import { randomBytes } from 'node:crypto';
import { describeSteps } from '../cluster/apply.ts';
import { canonicalJson } from '../cluster/canonical.ts';
import {
  beginCheckpoint,
  discardCheckpoint,
  requireNoneLeft,
  requireReplaceable,
} from '../cluster/checkpoint/files.ts';
import { isNothing, type Step } from '../cluster/diff.ts';
import {
  type JobCluster,
  noteSaving,
  readJobClusters,
  removeJobCluster,
  writeJobCluster,
} from '../cluster/engine/rendezvous.ts';
import type { SlurmJob } from '../cluster/engine/slurm-job.ts';
import { type HostRoom, spreadGuests } from '../cluster/engine/spread.ts';
import { clusterOnHost } from '../cluster/hosts.ts';
import { type AskedGuest, askedGuest, readOutline } from '../cluster/look.ts';
import { type Places, placedFault, placesOf } from '../cluster/placed-fault.ts';
import {
  type ClusterOutline,
  type ClusterPlan,
  completeCluster,
  type OutlinedGuest,
} from '../cluster/plan.ts';
import { neededBytes } from '../cluster/resources.ts';
import { describeError, LodgeError, retold } from '../errors.ts';
import { foldHostList } from '../host-list.ts';
import { type ErrorBody, errorOfBody } from '../server/api.ts';
import {
  ensureJob,
  type Job,
  type JobHost,
  killWaitOfSlurm,
  memoryOfJob,
  openJob,
  startVerb,
  verbOn,
} from '../server/job.ts';
import { requireNoSlurm } from '../server/job-checkpoints.ts';
import { thisJobId } from '../server/locate.ts';
import { otherFile, requireOwner, type UpOptions } from './cluster-actions.ts';
import type { HostPartRequest } from './host-part.ts';
import type { LookAnswer, StepsAnswer } from './host-part-actions.ts';
import { joinTrunks, untilTrunksAreUp } from './job-trunks.ts';
import type { GlobalOptions } from './program.ts';
import { openProgress, progressBar } from './progress.ts';
import { printClusterPlan } from './show-cluster.ts';

export async function upInJob(file: string, slurm: SlurmJob, options: UpOptions): Promise<void> {
  const progress = openProgress(options);
  try {
    // What is wrong with the file is told before anything is started.
    await readOutline(file, () => process.cwd(), options.extension, slurm.id);
    const job = await ensureJob(slurm, progress.show);
    const knownOf = (name: string): JobCluster | undefined =>
      readJobClusters(job.dir).find(({ plan }) => plan.name === name);
    const outline = await readOutline(
      file,
      (name) => knownOf(name)?.plan.cwd ?? process.cwd(),
      options.extension,
      slurm.id,
    );
    const before = knownOf(outline.name);
    if (options.isNew && before !== undefined && before.plan.file !== outline.file) {
      throw otherFile(outline, before.plan);
    }
    requireOwner(before?.plan, options);
    const lock = options.dryRun ? undefined : await lockOn(job.hosts[0]!, outline.name);
    try {
      const made = await planOver(job, outline, knownOf(outline.name), progress.show);
      const steps = await stepsOf(job, made, !options.dryRun);
      progress.clear();
      if (options.dryRun) {
        printClusterPlan(made.plan, steps, options.json, made.hostOfGuest);
        return;
      }
      await applyOver(job, made, (ready) => {
        const state = { doing: 'booting', guests: made.plan.guests.length, ready };
        progress.show(progressBar(state));
      });
      progress.clear();
      if (options.isSilent === true) return;
      const text = isNothing(steps) ? 'nothing to do' : describeSteps(steps);
      const over = foldHostList([...new Set(made.hostOfGuest.values())]);
      if (options.json) process.stdout.write(`${JSON.stringify({ name: outline.name, steps })}\n`);
      else process.stdout.write(`${outline.name}: ${text}; on ${over}\n`);
    } finally {
      lock?.();
    }
  } finally {
    progress.clear();
  }
}

/** Has the first host hold the cluster's lock. @returns lets go of it */
export function lockOn(host: JobHost, name: string): Promise<() => void> {
  const session = startVerb(host, ['--json', 'host-part'], '/');
  void session.write(Buffer.from(`${JSON.stringify({ op: 'lock', name } satisfies HostPartRequest)}\n`));
  return new Promise((resolve, reject) => {
    let errors = '';
    session.output('stderr', (bytes) => {
      errors += bytes.toString();
      if (errors.includes('locked\n')) resolve(() => session.endInput());
    });
    session.output('stdout', () => {});
    session.end.then(
      () => reject(busy(name)),
      (error: unknown) => reject(error),
    );
  });
}

function busy(name: string): LodgeError {
  return new LodgeError('cluster-busy', `another lodge is changing cluster '${name}' at this moment`, {
    fix: 'wait until it has ended, then try again',
  });
}

interface HostPartOf {
  host: JobHost;
  part: ClusterPlan;
  /** Of its guests in the spec. */
  places: Places;
}

/** A cluster over the hosts of a job, as it will be. */
interface Made {
  plan: ClusterPlan;
  /** Names of hosts, by names of guests. */
  hostOfGuest: Map<string, string>;
  secret: string;
  before: JobCluster | undefined;
  /** Hosts with guests. */
  parts: HostPartOf[];
  /** Hosts that had guests and have none now. */
  emptied: JobHost[];
}

async function planOver(
  job: Job,
  outline: ClusterOutline,
  before: JobCluster | undefined,
  onProgress: (text: string) => void,
): Promise<Made> {
  const kinds = distinct(outline.guests.map(askedGuest));
  onProgress('looking at the hosts');
  const ask: HostPartRequest = { op: 'look', cwd: outline.cwd, guests: [...kinds.values()] };
  const answers = await Promise.all(
    job.hosts.map((host) =>
      onHost<LookAnswer>(host, ask, (text) => onProgress(`${host.name}: ${text.trim()}`)),
    ),
  );
  answers.forEach(({ found, fault }, i) => {
    if (fault === undefined) return;
    const asked = [...kinds.keys()][found.length];
    const guest = outline.guests.find((one) => canonicalJson(askedGuest(one)) === asked)!;
    throw placedFault(faultOnHost(fault, job.hosts[i]!.name), guest);
  });
  const rooms = await roomsOf(job, answers);
  const keys = [...kinds.keys()];
  const foundOn = (host: string, guest: OutlinedGuest) => {
    const answer = answers[job.hosts.findIndex(({ name }) => name === host)]!;
    return answer.found[keys.indexOf(canonicalJson(askedGuest(guest)))]!;
  };
  const hostOfGuest = spreadGuests(
    outline.guests.map((guest) => {
      const { name, spec } = guest;
      const at = before?.hostOfGuest[name];
      return {
        name,
        cpus: spec.cpus,
        neededBytes: (host) => neededBytes(spec, foundOn(host, guest).accelerator),
        ...(at === undefined ? {} : { at }),
      };
    }),
    rooms,
  );
  const plan = completeCluster(outline, (guest) => foundOn(hostOfGuest.get(guest.name)!, guest));
  if (plan.onEnd !== undefined) {
    requireNoSlurm(plan);
    requireReplaceable(plan.onEnd.checkpoint, plan.name);
    requireNoneLeft(plan.onEnd.checkpoint);
  }
  const used = new Set(hostOfGuest.values());
  const had = new Set(Object.values(before?.hostOfGuest ?? {}));
  return {
    plan,
    hostOfGuest,
    secret: before?.secret ?? randomBytes(32).toString('hex'),
    before,
    parts: job.hosts
      .filter(({ name }) => used.has(name))
      .map((host) => ({
        host,
        part: clusterOnHost(plan, hostOfGuest, { host: host.name, guestsDir: host.agent.guestsDir }),
        places: placesOf(outline.guests.filter(({ name }) => hostOfGuest.get(name) === host.name)),
      })),
    emptied: job.hosts.filter(({ name }) => had.has(name) && !used.has(name)),
  };
}

/** What the job has on each of its hosts, of what these told, in their order. */
async function roomsOf(job: Job, answers: readonly LookAnswer[]): Promise<HostRoom[]> {
  const granted = await memoryOfJob(job.id);
  return job.hosts.map(({ name }, i) => {
    const { cpus, memoryBytes, usedBytes } = answers[i]!;
    // Where nothing but Slurm's own count limits the job: what its guests have now is of that, too.
    const leftBytes = Math.max(0, (granted.get(name) ?? Number.POSITIVE_INFINITY) - usedBytes);
    return { name, cpus, memoryBytes: Math.min(memoryBytes, leftBytes) };
  });
}

/** The room that the job has left on each of its hosts. */
export async function roomsOfJob(job: Job): Promise<HostRoom[]> {
  const ask: HostPartRequest = { op: 'look', cwd: '/', guests: [] };
  return roomsOf(job, await Promise.all(job.hosts.map((host) => onHost<LookAnswer>(host, ask))));
}

/** A checkpoint where the cluster is to be saved when its job ends: what cannot be then is told now. */
function beginTrial({ dir }: Job, { name, onEnd }: ClusterPlan): string | undefined {
  if (onEnd === undefined) return undefined;
  const trial = beginCheckpoint(onEnd.checkpoint, { replaces: name });
  noteSaving(dir, name, trial);
  return trial;
}

/** Ends a cluster, or what is left of it, on some hosts of a job. @returns how many guests */
export async function endOnHosts(hosts: readonly JobHost[], name: string, graceMs: number): Promise<number> {
  const answers = await Promise.all(
    hosts.map((host) => onHost<{ guests: number }>(host, { op: 'down', name, graceMs })),
  );
  return answers.reduce((sum, { guests }) => sum + guests, 0);
}

function faultOnHost(fault: ErrorBody, host: string): LodgeError {
  const error = errorOfBody(fault);
  return retold(error, { message: `on ${host}: ${error.message}` });
}

function distinct(guests: readonly AskedGuest[]): Map<string, AskedGuest> {
  return new Map(guests.map((guest) => [canonicalJson(guest), guest]));
}

function onHost<Answer>(
  host: JobHost,
  request: HostPartRequest,
  onStderr: (text: string) => void = () => {},
): Promise<Answer> {
  return verbOn<Answer>(host, ['host-part'], { cwd: '/', input: `${JSON.stringify(request)}\n`, onStderr });
}

/** The steps of all hosts; each checks that its part fits there, and that it can be saved where it is to be. */
async function stepsOf(job: Job, { plan, parts, secret }: Made, isTried: boolean): Promise<Step[]> {
  const trial = isTried ? beginTrial(job, plan) : undefined;
  const saving = trial === undefined ? {} : { trial };
  let answers: StepsAnswer[];
  try {
    answers = await Promise.all(
      parts.map(({ host, part, places }) =>
        onHost<StepsAnswer>(host, { op: 'check', whole: plan, part, secret, places, ...saving }),
      ),
    );
  } finally {
    if (trial !== undefined) {
      discardCheckpoint(trial);
      noteSaving(job.dir, plan.name, undefined);
    }
  }
  return answers.flatMap(({ steps }) => steps);
}

async function applyOver(job: Job, made: Made, onReady: (ready: number) => void): Promise<void> {
  const { plan, parts, secret, hostOfGuest, emptied } = made;
  await endOnHosts(emptied, plan.name, 5000);
  const trunks = await joinTrunks(job, made);
  writeJobCluster(job.dir, {
    version: 1,
    plan,
    hostOfGuest: Object.fromEntries(hostOfGuest),
    secret,
    trunks,
    ...(await endLimitOf(plan)),
  });
  const ready = new Map<string, number>();
  const results = await Promise.allSettled(
    parts.map(({ host, part, places }) =>
      onHost<StepsAnswer>(host, { op: 'apply', whole: plan, part, secret, places }, (text) => {
        const count = /^(\d+) /m.exec(text)?.[1];
        if (count === undefined) return;
        ready.set(host.name, Number(count));
        onReady([...ready.values()].reduce((sum, one) => sum + one, 0));
      }),
    ),
  );
  const failures = results.flatMap((result) =>
    result.status === 'rejected' ? [result.reason as unknown] : [],
  );
  const [first, ...others] = failures;
  if (first !== undefined && others.length === 0) throw first;
  if (first !== undefined) {
    throw new LodgeError(
      'cluster-incomplete',
      `${failures.length} of ${parts.length} hosts are not as asked`,
      {
        detail: failures.map((error) => describeError(error).replace(/^lodge: /, '')).join('\n'),
        fix: `what is told above first; then: lodge apply ${plan.file}`,
      },
    );
  }
  if (parts.length > 1) await untilTrunksAreUp(made);
}

/** What Slurm's second signal needs to be waited for: agents have to end their guests, too. */
const endMarginMs = 5000;

/** How long what is done at the end of a cluster's job may take. */
export async function endLimitOf({ onEnd }: ClusterPlan): Promise<Pick<JobCluster, 'onEndWithinMs'>> {
  if (onEnd === undefined) return {};
  return {
    onEndWithinMs: onEnd.withinMs ?? Math.max(1000, (await killWaitOfSlurm()) - endMarginMs),
  };
}

export async function downInJob(
  { plan, hostOfGuest }: JobCluster,
  options: GlobalOptions & { graceMs: number },
): Promise<void> {
  const progress = openProgress(options);
  try {
    const { hosts, dir } = await openJob(thisJobId());
    const used = new Set(Object.values(hostOfGuest));
    progress.show('ending guests');
    const guests = await endOnHosts(
      hosts.filter(({ name }) => used.has(name)),
      plan.name,
      options.graceMs,
    );
    removeJobCluster(dir, plan.name);
    progress.clear();
    if (options.json) process.stdout.write(`${JSON.stringify({ name: plan.name, guests })}\n`);
  } finally {
    progress.clear();
  }
}

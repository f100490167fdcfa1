/**
 * The agent of a job on one of its hosts: a host agent that a step of Slurm runs. It tells of itself in the job's
 * directory, answers whoever has the job's key, and when it is told to end, or is killed, all its guests end.
 */

import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import {
  clusterOfJob,
  jobRuntimePrefix,
  makingLimitMs,
  readJobKey,
  withdrawAgent,
  writeAgent,
} from '../cluster/engine/rendezvous.ts';
import { forEachBounded } from '../cluster/governor.ts';
import { hostIoError, LodgeError } from '../errors.ts';
import { removeGuestFiles } from '../guest/start.ts';
import { guestsDir, listGuests, runtimeDir } from '../guest/state.ts';
import { endGuest } from '../guest/sweep.ts';
import { openStore } from '../image/store.ts';
import { identify, isAlive, type ProcessIdentity } from '../process-identity.ts';
import { openDoor, ownAddress } from './door.ts';
import { serveHostAgent, type TaskOwner } from './host-agent.ts';
import type { AgentJob } from './job-saver.ts';

const identityFile = 'agent.json';
/** Guests that are ended at once. */
const mostAtOnce = 64;

/**
 * Serves until Slurm ends the step.
 * @param dir the job's directory
 * @throws LodgeError `host-agent`, when the job's directory is not there; `host-io`, when its key cannot be read here or
 * nothing can listen
 */
export async function serveJobAgent(dir: string): Promise<void> {
  const host = process.env.SLURMD_NODENAME ?? hostname();
  // Before anything is made: where the job's directory is not to be seen, there is nothing to do.
  if (!existsSync(dir)) {
    throw new LodgeError('host-agent', `${host} does not see the job's directory`, {
      where: dir,
      fix: 'set LODGE_DATA_DIR to a directory on a file system that all hosts of the job share',
    });
  }
  const key = readJobKey(dir);
  // Its guests' hold on images is the job's; srun tells an agent of no cluster.
  process.env.SLURM_JOB_ID = basename(dir);
  const cluster = clusterOfJob(dir);
  if (cluster !== undefined) process.env.SLURM_CLUSTER_NAME = cluster;
  const { pid } = process;
  const serve = () =>
    serveHostAgent({
      job: { dir, host },
      onReady: async (api) => {
        const address = await ownAddress([host, hostname()]);
        const { port } = await openDoor(api, key, address);
        const entry = { host, address, port, guestsDir: guestsDir(), pid, startedAtMs: Date.now() };
        writeAgent(dir, { version: 1, ...entry });
      },
    });
  if (await inPlace({ dir, host }, serve, () => withdrawAgent(dir, { host, pid }))) return;
  process.stderr.write(`lodge: ${host} has an agent of this job already\n`);
}

/**
 * Is the agent of a job on this host until a task of this process has ended, or Slurm ends the job. Nobody else is told
 * of it.
 * @param task begun once the agent can be asked; its errors are its own
 * @throws LodgeError `host-agent` when the job has one here already; `host-io`
 */
export async function serveTask(job: AgentJob, task: (owner: TaskOwner) => Promise<void>): Promise<void> {
  if (await inPlace(job, () => serveHostAgent({ job, task }))) return;
  throw new LodgeError('host-agent', `${job.host} has an agent of this job already`, {
    fix: 'end what runs in the job beside it',
  });
}

/**
 * Serves with a runtime directory of the job's; afterwards nothing is left of it, nor of guests in it.
 * @param onGone called at the end of that
 * @returns false when an agent that lives has it
 */
async function inPlace(
  { dir, host }: AgentJob,
  serve: () => Promise<void>,
  onGone: () => void = () => {},
): Promise<boolean> {
  const runtime = `${jobRuntimePrefix(basename(dir))}.${host}`;
  await sweepOldJobs(jobRuntimePrefix(''));
  if (!claim(runtime)) return false;
  process.env.LODGE_RUNTIME_DIR = runtime;
  try {
    await serve();
  } finally {
    await endAll();
    removePlace(runtime);
    // What the end of the process looks after is the place of the user's own again.
    delete process.env.LODGE_RUNTIME_DIR;
    onGone();
  }
  return true;
}

/** Ends all guests of the runtime directory at once. */
async function endAll(): Promise<void> {
  const store = openStore();
  await forEachBounded(listGuests(), mostAtOnce, async (guest) => {
    await endGuest(guest);
    await removeGuestFiles({ dir: guest.dir, id: guest.plan.id }, store).catch(() => {});
  });
}

/**
 * Takes a runtime directory for this process. When it is killed at this, what watches over it (`agent-watch.ts`)
 * removes what it was making.
 * @returns false when an agent that lives has it
 */
function claim(runtime: string): boolean {
  const making = `${runtime}.${process.pid}`;
  try {
    mkdirSync(making, { mode: 0o700 });
    writeFileSync(join(making, identityFile), JSON.stringify(identify(process.pid)));
    for (;;) {
      try {
        renameSync(making, runtime);
        return true;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOTEMPTY') throw error;
      }
      const holder = holderOf(runtime);
      if (holder !== undefined && isAlive(holder)) {
        rmSync(making, { recursive: true, force: true });
        return false;
      }
      removePlace(runtime);
    }
  } catch (error) {
    throw hostIoError("making the job's runtime directory", runtime, error);
  }
}

/** Who it is of is removed last: cut short, the rest is found and removed by the next agent. */
function removePlace(runtime: string): void {
  for (const name of existsSync(runtime) ? readdirSync(runtime) : []) {
    if (name !== identityFile) rmSync(join(runtime, name), { recursive: true, force: true, maxRetries: 5 });
  }
  rmSync(runtime, { recursive: true, force: true, maxRetries: 5 });
}

function holderOf(runtime: string): ProcessIdentity | undefined {
  try {
    return JSON.parse(readFileSync(join(runtime, identityFile), 'utf8')) as ProcessIdentity;
  } catch {
    return undefined;
  }
}

/** A directory that does not say whose it is, since its maker was killed before it could; nobody takes so long. */
function removeHalfMade(path: string): void {
  const { mtimeMs = Date.now() } = statSync(path, { throwIfNoEntry: false }) ?? {};
  if (Date.now() - mtimeMs < makingLimitMs) return;
  try {
    rmSync(join(path, identityFile), { force: true });
    rmdirSync(path);
  } catch {
    // Not ours, or of a guest that needs no agent.
  }
}

/** Removes what agents that were killed have left on this host. Their guests died with them. */
async function sweepOldJobs(prefix: string): Promise<void> {
  const place = dirname(prefix);
  for (const name of readdirSync(place)) {
    const path = join(place, name);
    if (!path.startsWith(prefix)) continue;
    const holder = holderOf(path);
    if (holder === undefined) removeHalfMade(path);
    if (holder === undefined || isAlive(holder)) continue;
    process.env.LODGE_RUNTIME_DIR = path;
    try {
      runtimeDir();
      await endAll();
      removePlace(path);
    } catch {
      // Not ours, or in use: the next one looks again.
    }
  }
  delete process.env.LODGE_RUNTIME_DIR;
}

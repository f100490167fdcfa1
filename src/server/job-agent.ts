/**
 * The agent of a job on one of its hosts: a host agent that a step of Slurm runs. It tells of itself in the job's
 * directory, answers whoever has the job's key, and when it is told to end, or is killed, all its guests end.
 */

import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { jobRuntimePrefix, readJobKey, withdrawAgent, writeAgent } from '../cluster/engine/rendezvous.ts';
import { forEachBounded } from '../cluster/governor.ts';
import { hostIoError } from '../errors.ts';
import { removeGuestFiles } from '../guest/start.ts';
import { guestsDir, listGuests, runtimeDir } from '../guest/state.ts';
import { endGuest } from '../guest/sweep.ts';
import { openStore } from '../image/store.ts';
import { identify, isAlive, type ProcessIdentity } from '../process-identity.ts';
import { openDoor, ownAddress } from './door.ts';
import { serveHostAgent } from './host-agent.ts';

const identityFile = 'agent.json';
/** Guests that are ended at once. */
const mostAtOnce = 64;

/**
 * Serves until Slurm ends the step.
 * @param dir the job's directory
 * @throws LodgeError `host-io`, when the job's key cannot be read here or nothing can listen
 */
export async function serveJobAgent(dir: string): Promise<void> {
  // Before anything is made: where the job's directory is not to be seen, there is nothing to do.
  const key = readJobKey(dir);
  const host = process.env.SLURMD_NODENAME ?? hostname();
  const runtime = `${jobRuntimePrefix(basename(dir))}.${host}`;
  await sweepOldJobs(jobRuntimePrefix(''));
  if (!claim(runtime)) {
    process.stderr.write(`lodge: ${host} has an agent of this job already\n`);
    return;
  }
  process.env.LODGE_RUNTIME_DIR = runtime;
  const { pid } = process;
  try {
    await serveHostAgent({
      job: { dir, host },
      onReady: async (api) => {
        const address = await ownAddress([host, hostname()]);
        const { port } = await openDoor(api, key, address);
        const entry = { host, address, port, guestsDir: guestsDir(), pid, startedAtMs: Date.now() };
        writeAgent(dir, { version: 1, ...entry });
      },
    });
  } finally {
    await endAll();
    removePlace(runtime);
    withdrawAgent(dir, { host, pid });
  }
}

/** Ends all guests of the runtime directory at once. */
async function endAll(): Promise<void> {
  const store = openStore();
  await forEachBounded(listGuests(), mostAtOnce, async (guest) => {
    await endGuest(guest);
    await removeGuestFiles({ dir: guest.dir, id: guest.plan.id }, store).catch(() => {});
  });
}

/** Takes a runtime directory for this process. @returns false when an agent that lives has it */
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

/** Removes what agents that were killed have left on this host. Their guests died with them. */
async function sweepOldJobs(prefix: string): Promise<void> {
  const place = dirname(prefix);
  for (const name of readdirSync(place)) {
    const path = join(place, name);
    if (!path.startsWith(prefix)) continue;
    const holder = holderOf(path);
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

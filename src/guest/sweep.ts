/** Cleaning up what killed processes of lodge left behind. Every command that looks at guests does it first. */

import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Store } from '../image/store.ts';
import { isAlive, signalProcess } from '../process-identity.ts';
import { guestFiles } from './plan.ts';
import { removeGuestFiles } from './start.ts';
import {
  discardRemains,
  type GuestView,
  guestsDir,
  isOfAnotherLodge,
  readKeeper,
  runtimeDir,
  viewGuest,
} from './state.ts';

/** A directory being made or removed that is older than this belongs to a process that was killed. */
const makingLimitMs = 60_000;

/**
 * Ends and removes guests whose owner is gone and that nobody else can adopt: those in the foreground, and
 * detached ones that never came up. Detached guests that run, or that ended by themselves, stay.
 */
export async function sweep(store: Store): Promise<void> {
  const root = guestsDir();
  for (const name of namesIn(root)) {
    const view = viewGuest(name, root);
    const dir = join(root, name);
    if (view === undefined) {
      // Its removal was cut short, or what tells of it is damaged: nobody can use it any more.
      if (!isRemains(dir)) continue;
      killLeftovers(dir);
      discardRemains(dir);
    } else if (isAbandoned(view)) {
      await endGuest(view);
      await removeGuestFiles({ dir: view.dir, id: view.plan.id }, store);
    } else if (view.status === 'exited' && view.plan.contain && view.record.contained !== true) {
      killLeftovers(view.dir);
    }
  }
  const making = join(runtimeDir(), 'making');
  for (const name of namesIn(making)) {
    const match = /^[0-9a-f]{16}(?:\.(\d+)\.(\d+))?$/.exec(name);
    if (match === null) continue;
    const path = join(making, name);
    const [pid, startTicks] = match.slice(1).map(Number);
    const isLeft = pid! > 0 && !isAlive({ pid: pid!, startTicks: startTicks! });
    const age = Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
    if (isLeft || age > makingLimitMs) rmSync(path, { recursive: true, force: true });
  }
}

/**
 * Whether a directory that tells of no guest is what is left of one: it has nothing, or a guest's own files. A
 * guest that another version of lodge runs stays, and so does what somebody else has put there.
 */
function isRemains(dir: string): boolean {
  if (statSync(dir, { throwIfNoEntry: false })?.isDirectory() !== true) return false;
  const names = namesIn(dir);
  const keeper = readKeeper(dir);
  if (keeper !== undefined && isAlive(keeper) && isOfAnotherLodge(dir)) return false;
  return names.length === 0 || keeper !== undefined || names.some((name) => guestFileNames.has(name));
}

const guestFileNames = new Set<string>(Object.values(guestFiles));

function isAbandoned({ record }: GuestView): boolean {
  return !isAlive(record.owner) && (record.mode === 'foreground' || record.phase === 'starting');
}

/** Kills a guest's processes and waits until they are gone. */
export async function endGuest(view: GuestView): Promise<void> {
  const { keeper } = view;
  if (keeper !== undefined) {
    // Not SIGTERM, which those of a job do not heed.
    signalProcess(keeper, 'SIGINT');
    await untilGone(() => isAlive(keeper), 10_000);
    if (isAlive(keeper)) signalProcess(keeper, 'SIGKILL');
  }
  // A keeper that has told how its guest ended has ended all that it had; and the more guests there are, the longer it
  // takes to look through all processes.
  if (!existsSync(join(view.dir, guestFiles.exit))) killLeftovers(view.dir);
}

/** Resolves when a condition no longer holds, or after a time limit. @returns whether it ended in time */
export async function untilGone(isThere: () => boolean, limitMs: number): Promise<boolean> {
  const deadline = performance.now() + limitMs;
  while (isThere()) {
    if (performance.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return true;
}

/** Kills processes that outlived their keeper: their command lines name the guest's directory. */
function killLeftovers(dir: string): void {
  for (const pid of namesIn('/proc').map(Number)) {
    if (!(pid > 0) || pid === process.pid) continue;
    let line: string;
    try {
      line = readFileSync(`/proc/${pid}/cmdline`, 'latin1');
    } catch {
      continue;
    }
    const [program = ''] = line.split('\0');
    const isVmm =
      program.includes('qemu-system') ||
      program.includes('linux.uml') ||
      /\/(?:keeper|agent|confine)$/.test(program);
    if (isVmm && (line.includes(`${dir}/`) || line.includes(`${dir}\0`))) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It went by itself.
      }
    }
  }
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

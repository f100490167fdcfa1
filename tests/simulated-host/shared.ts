/** One simulated host for a whole test run, booted when the first test asks for it. */

import { existsSync, readdirSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { stateFiles } from './qemu.ts';
import {
  isReady,
  makeStateDirectory,
  type OwnedSimulatedHost,
  SimulatedHost,
  startSimulatedHost,
} from './simulated-host.ts';

/** Names the state directory of a simulated host to use: one that runs, or one that its owner boots when wanted. */
export const directoryVariable = 'LODGE_SIMULATED_HOST';

const wantedFile = 'wanted';
const failedFile = 'failed';
/** Holds a file for each process that uses a host which its owner only offered. */
const usersDirectory = 'users';
const waitLimitMs = 600_000;

/** With all that any test wants. */
const shape = { iommu: true };

let own: Promise<SimulatedHost> | undefined;

/**
 * The simulated host of this test run. Without an owner for the whole run ({@link offerSimulatedHost}), this process
 * boots its own and keeps it until it ends.
 */
export function simulatedHost(): Promise<SimulatedHost> {
  const directory = process.env[directoryVariable];
  own ??= directory === undefined ? startSimulatedHost(shape) : attach(directory);
  return own;
}

async function attach(directory: string): Promise<SimulatedHost> {
  if (!existsSync(directory))
    throw new Error(`${directoryVariable}: there is no simulated host in ${directory}`);
  if (!isReady(directory)) await writeFile(join(directory, wantedFile), '');
  for (const startedAt = Date.now(); !isReady(directory); await delay(100)) {
    const failure = await readFile(join(directory, failedFile), 'utf8').catch(() => undefined);
    if (failure !== undefined) throw new Error(failure);
    if (Date.now() - startedAt > waitLimitMs) throw new Error('the simulated host does not come up');
  }
  if (existsSync(join(directory, usersDirectory))) {
    writeFileSync(userFile(directory), '');
    signalHost(directory, 'SIGCONT');
  }
  return new SimulatedHost(directory);
}

/**
 * Says that this process's tests need the simulated host no more. One that nobody uses stands still until it is wanted
 * again: with all it emulates it would take a quarter of a CPU for nothing.
 */
export function leaveSimulatedHost(): void {
  const directory = process.env[directoryVariable];
  if (own === undefined || directory === undefined || !existsSync(join(directory, usersDirectory))) return;
  own = undefined;
  rmSync(userFile(directory));
  const isUsed = (): boolean => readdirSync(join(directory, usersDirectory)).length > 0;
  if (isUsed()) return;
  signalHost(directory, 'SIGSTOP');
  // Who came meanwhile may have woken it before it was stopped.
  if (isUsed()) signalHost(directory, 'SIGCONT');
}

function userFile(directory: string): string {
  return join(directory, usersDirectory, `${process.pid}`);
}

function signalHost(directory: string, signal: NodeJS.Signals): void {
  process.kill(Number(readFileSync(join(directory, stateFiles.qemuPid), 'utf8')), signal);
}

/**
 * Makes this process the owner of the simulated host of a test run: it boots when a child process asks for it.
 * @returns ends it, if it runs
 */
export async function offerSimulatedHost(): Promise<() => Promise<void>> {
  if (process.env[directoryVariable] !== undefined) return async () => {};
  const directory = await makeStateDirectory();
  await mkdir(join(directory, usersDirectory));
  process.env[directoryVariable] = directory;
  let started: Promise<OwnedSimulatedHost | undefined> | undefined;
  const watcher = watch(directory, (_event, name) => {
    if (name === wantedFile) started ??= startOrTell(directory);
  });
  return async () => {
    watcher.close();
    delete process.env[directoryVariable];
    await (await started)?.stop();
    await rm(directory, { recursive: true, force: true });
  };
}

/** A start that fails takes the directory with it: it is made again, to say why. */
async function startOrTell(directory: string): Promise<OwnedSimulatedHost | undefined> {
  try {
    return await startSimulatedHost({ ...shape, directory });
  } catch (cause) {
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, failedFile), cause instanceof Error ? cause.message : String(cause));
    return undefined;
  }
}

/** One Slurm for a whole test run, started when the first test asks for it. */

import { existsSync, mkdtempSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type OwnedSlurmGround, SlurmGround, startSlurmGround } from './ground.ts';

/** Names a ground that runs: its process, or a directory in which its owner is asked for it. */
export const groundVariable = 'LODGE_SLURM_GROUND';

const files = { wanted: 'wanted', ready: 'ready', failed: 'failed' } as const;
const waitLimitMs = 600_000;

/** The Slurm of this test run. @throws when it does not come up, or when nobody owns one */
export async function slurmGround(): Promise<SlurmGround> {
  const place = process.env[groundVariable];
  if (place === undefined) throw new Error(`no Slurm for tests: ${groundVariable} is not set`);
  if (/^\d+$/.test(place)) return new SlurmGround(Number(place));
  const told = (name: string): string | undefined =>
    existsSync(join(place, name)) ? readFileSync(join(place, name), 'utf8') : undefined;
  if (told(files.ready) === undefined) writeFileSync(join(place, files.wanted), '');
  for (const startedAt = Date.now(); ; await delay(50)) {
    const pid = Number(told(files.ready));
    if (pid > 0) return new SlurmGround(pid);
    const failure = told(files.failed);
    if (failure !== undefined) throw new Error(failure);
    if (Date.now() - startedAt > waitLimitMs) throw new Error('Slurm does not come up');
  }
}

/**
 * Makes this process the owner of the Slurm of a test run: it starts when a child process asks for it.
 * @returns ends it, if it runs
 */
export async function offerSlurmGround(): Promise<() => Promise<void>> {
  if (process.env[groundVariable] !== undefined) return async () => {};
  const directory = mkdtempSync(join(tmpdir(), 'lodge-slurm-'));
  process.env[groundVariable] = directory;
  let started: Promise<OwnedSlurmGround | undefined> | undefined;
  const watcher = watch(directory, (_event, name) => {
    if (name === files.wanted) started ??= startOrTell(directory);
  });
  return async () => {
    watcher.close();
    delete process.env[groundVariable];
    await (await started)?.stop();
    rmSync(directory, { recursive: true, force: true });
  };
}

async function startOrTell(directory: string): Promise<OwnedSlurmGround | undefined> {
  try {
    const ground = await startSlurmGround();
    writeFileSync(join(directory, files.ready), `${ground.pid}\n`);
    return ground;
  } catch (cause) {
    writeFileSync(join(directory, files.failed), cause instanceof Error ? cause.message : String(cause));
    return undefined;
  }
}

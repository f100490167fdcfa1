/** For vitest's `globalSetup`: the process that outlives all test files owns their Slurm. */

import { offerSlurmGround } from './shared.ts';

let end: (() => Promise<void>) | undefined;

export async function setup(): Promise<void> {
  end = await offerSlurmGround();
}

export async function teardown(): Promise<void> {
  await end?.();
}

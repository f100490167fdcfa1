/** For vitest's `globalSetup`: the process that outlives all test files owns the simulated host. */

import { offerSimulatedHost } from './shared.ts';

let end: (() => Promise<void>) | undefined;

export async function setup(): Promise<void> {
  end = await offerSimulatedHost();
}

export async function teardown(): Promise<void> {
  await end?.();
}

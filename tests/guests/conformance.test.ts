/** The drivers that work on this host, held to the same tests. The one for KVM is in simulated-host's tests. */

import { describe } from 'vitest';
import { defineConformance, type Host } from './conformance.ts';
import { run } from './lodge.ts';

const thisHost: Host = {
  run: async (argv, { stdin = '', ...options } = {}) => {
    const { stdout, ...rest } = await run(argv, { ...options, input: stdin });
    return { ...rest, stdout: stdout.toString() };
  },
};

describe.each(['uml', 'netns', 'tcg'] as const)('%s', (accelerator) => {
  defineConformance(accelerator, { openHost: async () => thisHost });
});

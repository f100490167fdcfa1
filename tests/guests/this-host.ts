/** The host that the tests run on, for the conformance tests. The one for KVM is the simulated host. */

import type { Host } from './conformance.ts';
import { run } from './lodge.ts';

export const thisHost: Host = {
  run: async (argv, { stdin = '', ...options } = {}) => {
    const { stdout, ...rest } = await run(argv, { ...options, input: stdin });
    return { ...rest, stdout: stdout.toString() };
  },
};

import { defineConfig } from 'vitest/config';
import { LongFirst } from './tests/long-first.ts';

const aGuard = { testTimeout: 600_000, hookTimeout: 600_000 };

// `unit` needs nothing but Node; `guests` and `slurm` boot real guests and want the packages `./test` installs.
export default defineConfig({
  test: {
    sequence: { sequencer: LongFirst },
    projects: [
      {
        test: {
          name: 'unit',
          include: ['tests/**/*.test.ts'],
          exclude: ['tests/guests/**'],
          // A process for each of 170 files would take half as long again as the tests.
          isolate: false,
          // A guard against hanging; the machine may be busy with other things.
          testTimeout: 60_000,
        },
      },
      {
        test: {
          ...aGuard,
          name: 'guests',
          include: ['tests/guests/**/*.test.ts'],
          exclude: ['tests/guests/slurm*'],
          globalSetup: ['tests/simulated-host/global-setup.ts'],
        },
      },
      {
        test: {
          ...aGuard,
          name: 'slurm',
          include: ['tests/guests/slurm*.test.ts'],
          globalSetup: ['tests/slurm/global-setup.ts'],
        },
      },
    ],
  },
});

import { defineConfig } from 'vitest/config';

// `unit` needs nothing but Node; `guests` boots real guests and wants the packages `./test` installs.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['tests/**/*.test.ts'],
          exclude: ['tests/guests/**'],
          // A guard against hanging; the machine may be busy with other things.
          testTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'guests',
          include: ['tests/guests/**/*.test.ts'],
          globalSetup: ['tests/simulated-host/global-setup.ts', 'tests/slurm/global-setup.ts'],
          testTimeout: 600_000,
          hookTimeout: 600_000,
        },
      },
    ],
  },
});

/** `lodge doctor`: what this host can do, what is missing, and how to get it. */

import type { Command } from 'commander';
import type { GlobalOptions } from './program.ts';

export interface DoctorFlags {
  fix?: boolean;
  dryRun?: boolean;
  all?: boolean;
  record?: string;
}

export function defineDoctor(program: Command): void {
  program
    .command('doctor')
    .description('What this host can do for guests, what is missing, and how to get it.')
    .option('--fix', 'Run the commands that bring what is missing (as root, or by sudo).')
    .option('-n, --dry-run', 'With --fix: print the commands, and run none.')
    .option('--all', 'Also show what is as it should be.')
    .option(
      '--record <file>',
      'Write all that was measured of this host to a file, for tests and for reports.',
    )
    .action(async (flags: DoctorFlags) => {
      const { runDoctor } = await import('./doctor-report.ts');
      process.exitCode = await runDoctor(flags, program.opts<GlobalOptions>());
    });
}

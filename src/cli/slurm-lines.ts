/** `lodge srun`, `salloc`, `sbatch`: lines for Slurm in which each task is a guest. */

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Command } from 'commander';
import {
  type GuestOptions,
  type SlurmVerb,
  slurmArgv,
  splitSlurmLine,
} from '../cluster/engine/slurm-line.ts';
import { installationDir } from '../installation.ts';
import { missingProgram, signalNumbers } from '../process.ts';

const descriptions: Readonly<Record<SlurmVerb, string>> = {
  srun: 'Run a command in guests by srun: one guest for each task.',
  salloc: 'Allocate hosts by salloc, and run a command in guests on them, one for each task.',
  sbatch: 'Submit a job by sbatch that runs a command in guests, one for each task.',
};

export function defineSlurmLines(program: Command): void {
  for (const verb of ['srun', 'salloc', 'sbatch'] as const) {
    program
      .command(verb)
      .description(
        `${descriptions[verb]} Options of lodge run that are spelled out (--image, --memory, …) are lodge's, all others Slurm's.`,
      )
      .usage('[options of Slurm and of lodge run] -- command [arg…]')
      .argument('[words...]', 'Options; after -- the command.')
      .allowUnknownOption()
      .helpOption('--help', 'Print help.')
      .action(async () => {
        // As they were written: commander sorts what it knows from what it does not.
        const words = process.argv.slice(process.argv.indexOf(verb) + 1);
        const line = splitSlurmLine(verb, words, guestOptions(program));
        const argv = slurmArgv(verb, line, join(installationDir, 'lodge'));
        process.exitCode = await becomes(argv);
      });
  }
}

/** What Slurm has an option of that name for, and what makes no sense for a guest of a task. */
const notForTasks = new Set([
  '--prefer',
  ...['--name', '--detach', '--dry-run', '--cluster', '--on', '--help'],
]);

/** The options of `lodge run` that a task's guest may have. */
export function guestOptions(program: Command): GuestOptions {
  const run = program.commands.find((command) => command.name() === 'run')!;
  return new Map(
    run.options
      .filter(({ long }) => long != null && !notForTasks.has(long))
      .map(({ long, required, optional }) => [long!, required ? 'value' : optional ? 'optional' : 'nothing']),
  );
}

/** Runs a program in the place of this one, as far as a process can. @returns its exit code, 128 + n for signal n */
function becomes(argv: readonly string[]): Promise<number> {
  const [program = '', ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'inherit' });
    // A signal of the terminal reaches both; those sent to this process alone are passed on.
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) {
      process.on(signal, () => {
        if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
      });
    }
    child.once('error', (cause: NodeJS.ErrnoException) =>
      reject(cause.code === 'ENOENT' ? missingProgram(program, cause) : cause),
    );
    child.once('close', (code, signal) => resolve(code ?? 128 + (signalNumbers[signal!] ?? 0)));
  });
}

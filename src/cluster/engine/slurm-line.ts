/** A line for Slurm with a guest in it: which of its words are lodge's, which are Slurm's, and which the command. Pure. */

import { LodgeError } from '../../errors.ts';
import { shellLine } from '../../shell-words.ts';

export type SlurmVerb = 'srun' | 'salloc' | 'sbatch';

/** Options of `lodge run` that Slurm has none of that name of; short ones are all Slurm's. */
const withValue = new Set([
  ...[
    '--accelerator',
    '--append',
    '--boot-timeout',
    '--cpus',
    '--firmware',
    '--image',
    '--initrd',
    '--kernel',
  ],
  ...['--memory', '--mount-type', '--numa', '--pages', '--spec', '--volume'],
]);
const alone = new Set(['--no-share', '--pin']);

export interface SlurmLine {
  /** For Slurm, as they stand. */
  slurm: string[];
  /** For `lodge run`. */
  guest: string[];
  command: string[];
}

/** @throws LodgeError `usage` for one without `--`, or without a command */
export function splitSlurmLine(verb: SlurmVerb, words: readonly string[]): SlurmLine {
  const end = words.indexOf('--');
  if (end < 0 || end === words.length - 1) {
    throw new LodgeError('usage', end < 0 ? "the command stands after '--'" : 'there is no command', {
      where: `lodge ${verb}`,
      fix: `lodge ${verb} -N1 --image host -- hostname`,
    });
  }
  const line: SlurmLine = { slurm: [], guest: [], command: words.slice(end + 1) };
  for (let i = 0; i < end; i++) {
    const word = words[i]!;
    const name = word.split('=', 1)[0]!;
    if (alone.has(name)) line.guest.push(word);
    else if (!withValue.has(name)) line.slurm.push(word);
    else if (name !== word) line.guest.push(word);
    else if (i + 1 < end) line.guest.push(word, words[++i]!);
    else throw new LodgeError('usage', `${name} takes a value`, { where: `lodge ${verb}` });
  }
  return line;
}

/** What is run: a guest for each task. */
export function slurmArgv(verb: SlurmVerb, line: SlurmLine, lodge: string): string[] {
  const run = [lodge, 'run', ...line.guest, '--', ...line.command];
  switch (verb) {
    case 'srun':
      return ['srun', ...line.slurm, '--', ...run];
    case 'salloc':
      return ['salloc', ...line.slurm, '--', 'srun', ...run];
    case 'sbatch':
      return ['sbatch', ...line.slurm, `--wrap=exec srun ${shellLine(run)}`];
  }
}

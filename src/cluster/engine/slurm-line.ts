/** A line for Slurm with a guest in it: which of its words are lodge's, which are Slurm's, and which the command. Pure. */

import { LodgeError } from '../../errors.ts';
import { shellLine } from '../../shell-words.ts';

export type SlurmVerb = 'srun' | 'salloc' | 'sbatch';

/** Options of `lodge run` that are spelled out, and what follows them: a value, none, or one that may be left out. */
export type GuestOptions = ReadonlyMap<string, 'value' | 'nothing' | 'optional'>;

export interface SlurmLine {
  /** For Slurm, as they stand. */
  slurm: string[];
  /** For `lodge run`. */
  guest: string[];
  command: string[];
}

/** @throws LodgeError `usage` for one without `--`, or without a command */
export function splitSlurmLine(
  verb: SlurmVerb,
  words: readonly string[],
  guestOptions: GuestOptions,
): SlurmLine {
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
    const takes = guestOptions.get(name);
    const following = i + 1 < end ? words[i + 1] : undefined;
    if (takes === undefined) line.slurm.push(word);
    else if (takes === 'nothing' || name !== word) line.guest.push(word);
    else if (takes === 'value' && following === undefined) {
      throw new LodgeError('usage', `${name} takes a value`, { where: `lodge ${verb}` });
    } else if (following !== undefined && (takes === 'value' || !following.startsWith('-'))) {
      line.guest.push(word, following);
      i++;
    } else line.guest.push(word);
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

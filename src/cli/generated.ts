/** `lodge completion` and `lodge manual`: made from the same definitions that parse the command line. */

import type { Command } from 'commander';
import { LodgeError } from '../errors.ts';

export function defineGenerated(program: Command): void {
  program
    .command('completion')
    .description('Print completions for a shell: eval "$(lodge completion bash)".')
    .argument('<shell>', 'bash, zsh or fish.')
    .action(async (shell: string) => {
      const { completionOf, isShell } = await import('./completion.ts');
      if (!isShell(shell)) throw new LodgeError('usage', `'${shell}' is not bash, zsh or fish`);
      process.stdout.write(completionOf(program, shell));
    });
  program
    .command('manual')
    .description('Print the manual page: lodge manual | man -l -')
    .option('--markdown', 'As Markdown, as in docs/reference/verbs.md.')
    .option('--errors', 'The error and exit codes instead, as in docs/reference/errors.md.')
    .option('--spec', 'The keys of a guest spec instead, as in docs/reference/spec.md.')
    .option('--schema', 'The JSON Schema of a guest spec, for editors.')
    .action(async (flags: { markdown?: boolean; errors?: boolean; spec?: boolean; schema?: boolean }) => {
      const { errorReference, manualPage, specReference, specSchema, verbReference } = await import(
        './manual.ts'
      );
      if (flags.errors === true) process.stdout.write(errorReference());
      else if (flags.schema === true) process.stdout.write(`${JSON.stringify(specSchema(), null, 2)}\n`);
      else if (flags.spec === true) process.stdout.write(specReference());
      else process.stdout.write(flags.markdown === true ? verbReference(program) : manualPage(program));
    });
}

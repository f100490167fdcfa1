/** `lodge completion` and `lodge manual`: made from the same definitions that parse the command line. */

import type { Command } from 'commander';
import { LodgeError } from '../errors.ts';

interface ManualFlags {
  markdown?: boolean;
  errors?: boolean;
  spec?: boolean;
  schema?: boolean;
  studySpec?: boolean;
  studySchema?: boolean;
  clusterSpec?: boolean;
  clusterSchema?: boolean;
  slurmSite?: boolean;
  slurmSiteSchema?: boolean;
}

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
    .option('--study-spec', 'The keys of a study spec instead, as in docs/reference/study-spec.md.')
    .option('--study-schema', 'The JSON Schema of a study spec, for editors.')
    .option('--cluster-spec', 'The keys of a cluster spec instead, as in docs/reference/cluster-spec.md.')
    .option('--cluster-schema', 'The JSON Schema of a cluster spec, for editors.')
    .option('--slurm-site', 'The keys of the site file of Slurm instead, as in docs/reference/slurm-site.md.')
    .option('--slurm-site-schema', 'The JSON Schema of the site file of Slurm, for editors.')
    .action(async (flags: ManualFlags) => {
      const { errorReference, manualPage, specReference, specSchema, verbReference } = await import(
        './manual.ts'
      );
      const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
      const others: [keyof ManualFlags, () => string][] = [
        ['errors', errorReference],
        ['spec', () => specReference('guest')],
        ['schema', () => json(specSchema('guest'))],
        ['studySpec', () => specReference('study')],
        ['studySchema', () => json(specSchema('study'))],
        ['clusterSpec', () => specReference('cluster')],
        ['clusterSchema', () => json(specSchema('cluster'))],
        ['slurmSite', () => specReference('slurmSite')],
        ['slurmSiteSchema', () => json(specSchema('slurmSite'))],
        ['markdown', () => verbReference(program)],
      ];
      const make = others.find(([flag]) => flags[flag] === true)?.[1] ?? (() => manualPage(program));
      process.stdout.write(make());
    });
}

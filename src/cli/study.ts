/** `lodge study`: what a guest costs the codes of this machine, measured natively and in guests. */

import type { Command } from 'commander';
import type { GlobalOptions } from './program.ts';

export interface StudyFlags {
  quick?: boolean;
  spec?: string;
  output?: string;
  benchmarks?: string;
  environments?: string;
  image?: string;
  pages?: string;
  cores?: string;
  repeats?: string;
  maxRepeats?: string;
  precision?: string;
  seed?: string;
  launcher?: string;
  native?: string;
  guest?: string;
  dryRun?: boolean;
}

export interface CompareFlags {
  html?: string;
}

export function defineStudy(program: Command): void {
  const globals = (): GlobalOptions => program.opts<GlobalOptions>();
  const study = program
    .command('study')
    .description('Measure what a guest costs here: the same benchmarks natively and in guests, and a report.')
    .option('--quick', 'Small sizes, for an answer in minutes.')
    .option('--spec <file>', 'Read the spec of the study from a YAML file; flags win over it.')
    .option(
      '-o, --output <dir>',
      'Directory of the study (default: study-HOST or study-HOST-quick). One that was interrupted goes on.',
    )
    .option('--benchmarks <list>', 'hpcc, stream, pingpong, micro, noise, boot; separated by commas.')
    .option('--environments <list>', 'native, kvm, uml, tcg; separated by commas.')
    .option(
      '--image <image>',
      'Take the benchmarks from an image, natively and in guests; from this host without it.',
    )
    .option('--pages <list>', 'Pages of guests as host/own: 4K/4K,2M/2M.')
    .option('--cores <list>', 'Numbers of cores: 1,2,4.')
    .option('--repeats <n>', 'Runs of each cell at least.')
    .option('--max-repeats <n>', 'Runs at most, while intervals are wider than --precision.')
    .option('--precision <share>', 'Go on until intervals are as narrow as this: 1%.')
    .option('--launcher <name>', 'local (the default), or slurm: by srun on the nodes --native and --guest.')
    .option('--native <node>', 'With --launcher slurm: the node that is a host.')
    .option('--guest <node>', 'With --launcher slurm: the node that is a guest.')
    .option('--seed <n>', 'Of the order of runs and the bootstrap.')
    .option('-n, --dry-run', 'Print what would be measured, and what cannot be, and run nothing.')
    .action(async (flags: StudyFlags) => {
      process.exitCode = await (await import('./study-actions.ts')).run(flags, globals());
    });
  study
    .command('report')
    .description('Write the report of a study again, whole or under way, and print its verdicts.')
    .argument('<dir>', 'Directory of the study.')
    .action(async (directory: string) => (await import('./study-actions.ts')).report(directory, globals()));
  study
    .command('compare')
    .description('Two studies side by side: two machines, two kernels, before and after.')
    .argument('<dir1>', 'Directory of the first study.')
    .argument('<dir2>', 'Directory of the second.')
    .option('--html <file>', 'Write the comparison with its figures to a file.')
    .action(async (first: string, second: string, flags: CompareFlags) =>
      (await import('./study-actions.ts')).compare(first, second, flags, globals()),
    );
}

/** The command line as one tree of definitions: parsing, help, completions and the manual page all come from it. */

import { Command, Option } from 'commander';

/** Flags before the verb. */
export interface GlobalOptions {
  json: boolean;
  quiet: boolean;
  verbose: boolean;
}

type Define = (program: Command) => void;

/** What defines the verbs, in the order of the help, with the verbs that are whole without the others. */
const definitions: readonly { readonly alone: readonly string[]; load: () => Promise<Define> }[] = [
  { alone: ['run'], load: async () => (await import('./run.ts')).defineRun },
  { alone: ['exec'], load: async () => (await import('./exec.ts')).defineExec },
  { alone: ['shell'], load: async () => (await import('./shell.ts')).defineShell },
  {
    alone: ['ps', 'logs', 'console', 'stop', 'rm'],
    load: async () => (await import('./guests.ts')).defineGuests,
  },
  { alone: ['cp'], load: async () => (await import('./copy.ts')).defineCopy },
  { alone: ['image'], load: async () => (await import('./image.ts')).defineImage },
  {
    alone: ['up', 'apply', 'down', 'status'],
    load: async () => (await import('./cluster.ts')).defineCluster,
  },
  { alone: ['fabric'], load: async () => (await import('./fabric.ts')).defineFabric },
  { alone: ['checkpoint', 'restore'], load: async () => (await import('./checkpoint.ts')).defineCheckpoint },
  { alone: [], load: async () => (await import('./slurm-lines.ts')).defineSlurmLines },
  { alone: ['slurm'], load: async () => (await import('./slurm.ts')).defineSlurm },
  { alone: ['study'], load: async () => (await import('./study.ts')).defineStudy },
  { alone: ['place'], load: async () => (await import('./place.ts')).definePlace },
  { alone: ['doctor'], load: async () => (await import('./doctor.ts')).defineDoctor },
  { alone: [], load: async () => (await import('./generated.ts')).defineGenerated },
  { alone: ['agent'], load: async () => (await import('./agent.ts')).defineAgent },
  { alone: ['host-part'], load: async () => (await import('./host-part.ts')).defineHostPart },
];

/**
 * The command line: the whole, or what is needed to parse a line that starts with the word `verb`. To define all verbs
 * takes longer than many a verb does. Each verb loads what it needs only when it runs.
 */
export async function buildProgram(version: string, verb?: string): Promise<Command> {
  const program = new Command('lodge')
    .description('Boot any OS as a job, at the speed of the machine.')
    .usage('[--json] [-q] [-v] VERB …')
    .version(version, '-V, --version', 'Print the version.')
    .option('--json', 'Print results as JSON.', false)
    .option('-q, --quiet', 'Show no progress.', false)
    .option('-v, --verbose', 'Show every step, one line each.', false)
    .helpOption('-h, --help', 'Print help.')
    .helpCommand('help [verb]', 'Print help for a verb.')
    .enablePositionalOptions()
    .showSuggestionAfterError(true);
  program.addHelpText(
    'after',
    '\nExamples:\n' +
      '  lodge run -- uname -a                  a guest boots, the command runs, the guest is gone\n' +
      '  lodge run -c 2 -m 4G -- ./solver <in   your files, your user, your exit code\n' +
      '  lodge run --kernel bzImage --initrd i  any kernel, its console on the terminal\n' +
      '  lodge up cluster.yaml                  many guests and the network between them\n' +
      '  lodge doctor                           what this host can do, and what is missing',
  );
  const asked = definitions.filter(({ alone }) => verb !== undefined && alone.includes(verb));
  for (const { load } of asked.length > 0 ? asked : definitions) (await load())(program);
  acceptJsonEverywhere(program);
  return program;
}

/** People write `lodge ps --json` as often as `lodge --json ps`: both mean the same. */
function acceptJsonEverywhere(program: Command): void {
  for (const verb of program.commands.flatMap((command) => [command, ...command.commands])) {
    verb.addOption(new Option('--json', 'Print results as JSON.').hideHelp());
    verb.on('option:json', () => program.setOptionValue('json', true));
  }
}

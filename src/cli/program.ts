/** The command line as one tree of definitions: parsing, help, completions and the manual page all come from it. */

import { Command, Option } from 'commander';
import { defineAgent } from './agent.ts';
import { defineCheckpoint } from './checkpoint.ts';
import { defineCluster } from './cluster.ts';
import { defineCopy } from './copy.ts';
import { defineDoctor } from './doctor.ts';
import { defineExec } from './exec.ts';
import { defineFabric } from './fabric.ts';
import { defineGenerated } from './generated.ts';
import { defineGuests } from './guests.ts';
import { defineHostPart } from './host-part.ts';
import { defineImage } from './image.ts';
import { definePlace } from './place.ts';
import { defineRun } from './run.ts';
import { defineShell } from './shell.ts';
import { defineSlurm } from './slurm.ts';
import { defineSlurmLines } from './slurm-lines.ts';
import { defineStudy } from './study.ts';

/** Flags before the verb. */
export interface GlobalOptions {
  json: boolean;
  quiet: boolean;
  verbose: boolean;
}

/** The whole command line. Each verb loads what it needs only when it runs. */
export function buildProgram(version: string): Command {
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
  for (const define of [defineRun, defineExec, defineShell, defineGuests, defineCopy, defineImage])
    define(program);
  for (const define of [defineCluster, defineFabric, defineCheckpoint, defineSlurmLines, defineSlurm])
    define(program);
  for (const define of [defineStudy, definePlace, defineDoctor, defineGenerated, defineAgent, defineHostPart])
    define(program);
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

/** `lodge place`: who should sit where, what a placement is worth, and which moves pay. */

import { type Command, Option } from 'commander';
import type { GlobalOptions } from './program.ts';

export interface NetworkFlags {
  traffic?: string;
  topology?: string;
  ranks?: string;
  demand?: string;
  routing: string;
  plot?: string;
}

export interface PlaceFlags extends NetworkFlags {
  objective: string;
  timeLimit: string;
  effort: string;
  seed: string;
  threads?: string;
  output?: string;
  current?: string;
  moveCost?: string;
  budget?: string;
  horizon: string;
  window?: string;
}

function networkOptions(command: Command): Command {
  return command
    .option(
      '--traffic <what>',
      'Who talks with whom: a file (.grf, .graph, .mtx, .csv, .json), or a pattern (halo7:8x8x8).',
    )
    .option(
      '--topology <what>',
      'Where they can be: torus:8x8x8/numa:2, or a file (YAML, Slurm, lstopo, .tgt, distances).',
    )
    .option('--ranks <n>', 'How many there are, where a list of connections leaves some out.')
    .option('--demand <file>', 'What ranks take: lines rank,cpus,memory.')
    .addOption(
      new Option('--routing <how>', 'Of congestion on meshes and tori.')
        .choices(['dimension-order', 'adaptive'])
        .default('dimension-order'),
    )
    .option('--plot <file>', 'Draw link loads and dilation, before and after, as HTML or SVG.');
}

export function definePlace(program: Command): void {
  const globals = (): GlobalOptions => program.opts<GlobalOptions>();
  const place = networkOptions(
    program
      .command('place')
      .description('Who should sit where: ranks or guests onto the places of a network.'),
  )
    .addOption(
      new Option('--objective <what>', 'What is to be least.')
        .choices(['hop-bytes', 'dilation', 'congestion'])
        .default('hop-bytes'),
    )
    .option('--time-limit <time>', 'The search ends by then with the best that it has.', '30s')
    .addOption(
      new Option('--effort <how>', 'How long is searched.')
        .choices(['fast', 'normal', 'best'])
        .default('normal'),
    )
    .option('--seed <n>', 'The same seed and threads give the same placement.', '1')
    .option('--threads <n>', 'Searches at the same time, the best of which counts.', '1')
    .option(
      '-o, --output <file>',
      'Where the placement goes: .csv, .map (Scotch), .hosts (a host in each line); - for standard output.',
    )
    .option('--current <file>', 'A placement from which moves are looked for.')
    .option('--move-cost <list>', 'With --current: memory=4G,bandwidth=10Gbit,dirty=100M,pause=0.1s.')
    .option('--budget <what>', 'With --current: at most so many moves (10), or so much time of moving (60s).')
    .option('--horizon <time>', 'With --current: how long the traffic will stay as it is.', '10m')
    .option(
      '--window <time>',
      'With --current: the time in which the traffic was counted, if its file does not say it.',
    )
    .action(async (flags: PlaceFlags) => {
      const { placeVerb } = await import('./place-actions.ts');
      await placeVerb(flags, globals());
    });
  networkOptions(place.command('evaluate').description('All metrics of a given placement.'))
    .option('--placement <file>', 'The placement: .map of Scotch, or CSV with rank,place.')
    .action(async (flags: NetworkFlags & { placement?: string }, command: Command) => {
      const { evaluateVerb } = await import('./place-actions.ts');
      await evaluateVerb({ ...command.optsWithGlobals(), ...flags }, globals());
    });
  place
    .command('generate')
    .description('Traffic of a usual pattern, such as halo7:16x16x16 or power-law:4096.')
    .argument(
      '<pattern>',
      'halo5, halo7, halo27, geometric, power-law, butterfly, groups, cg, mg, ft; with their sizes.',
    )
    .option('--in-order', 'Do not shuffle the ranks.')
    .option('-o, --output <file>', 'Where it goes: .grf or .csv.', '-')
    .option('--seed <n>', 'Of what comes by chance.', '1')
    .action(
      async (
        pattern: string,
        flags: { inOrder?: boolean; output: string; seed: string },
        command: Command,
      ) => {
        const { generateVerb } = await import('./place-actions.ts');
        await generateVerb(pattern, { ...command.optsWithGlobals(), ...flags, json: globals().json });
      },
    );
}

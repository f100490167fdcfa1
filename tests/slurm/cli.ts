/** `npm run slurm-ground -- [COMMAND…]`: a Slurm of three hosts for one command, or for a shell; see the guide. */

import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { parseArgs } from 'node:util';
import { type GroundHost, type GroundUser, SlurmGround, startSlurmGround } from './ground.ts';
import { groundVariable } from './shared.ts';

const usage = `usage: npm run slurm-ground -- [--host ctl|n01|n02] [--user alice|bob|root|slurm] [--slurm-user root|slurm] [COMMAND [ARGUMENT…]]
Starts a Slurm with two hosts, runs COMMAND (one word: a shell line), or a shell, on one of them (ctl, where people log
in), and ends it. With ${groundVariable} set, uses the running one that it names. Needs root.
`;

async function main(argv: string[]): Promise<number> {
  // Options end where the command begins; each takes a word.
  let first = 0;
  while (first < argv.length && argv[first]!.startsWith('-')) first += argv[first]!.includes('=') ? 1 : 2;
  if (argv.includes('--help') && argv.indexOf('--help') <= first) {
    process.stdout.write(usage);
    return 0;
  }
  const { values } = parseArgs({
    args: argv.slice(0, first),
    options: {
      host: { type: 'string', default: 'ctl' },
      user: { type: 'string', default: 'alice' },
      'slurm-user': { type: 'string', default: 'root' },
    },
  });
  const command = argv.slice(first);
  const running = process.env[groundVariable];
  const ground =
    running === undefined
      ? await startSlurmGround({ slurmUser: values['slurm-user'] as 'root' | 'slurm' })
      : new SlurmGround(Number(running));
  if (running === undefined) {
    process.stderr.write(`up; for other terminals: ${groundVariable}=${ground.pid}\n`);
  }
  const words = ground.argv(command.length === 0 ? ['bash'] : command.length === 1 ? command[0]! : command, {
    host: values.host as GroundHost,
    user: values.user as GroundUser,
  });
  const child = spawn(words[0]!, words.slice(1), { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  const code = await new Promise<number>((resolve) =>
    child.once('close', (exit, signal) => resolve(exit ?? 128 + constants.signals[signal!])),
  );
  if ('stop' in ground) await (ground.stop as () => Promise<void>)();
  return code;
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (cause) => {
    process.stderr.write(`${cause instanceof Error ? cause.message : String(cause)}\n`);
    process.exitCode = 125;
  },
);

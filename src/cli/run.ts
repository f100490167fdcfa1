/** `lodge run`: boots a guest, runs a command in it or shows its console, and leaves nothing behind. */

import type { Command } from 'commander';
import { LodgeError } from '../errors.ts';
import type { GuestSpec } from '../guest/spec.ts';
import { thisUser } from '../guest/user.ts';
import { addCommandFlags, type CommandFlags, requestOf, splitVariables } from './command-flags.ts';
import type { Interruptible } from './interruptible.ts';
import type { GlobalOptions } from './program.ts';
import type { Progress } from './progress.ts';
import { addSpecFlags, type SpecFlags, specOfFlags } from './spec-flags.ts';

interface RunFlags extends SpecFlags, CommandFlags {
  cluster?: string;
  on?: string;
  detach?: boolean;
  dryRun?: boolean;
}

export function defineRun(program: Command): void {
  const run = program
    .command('run')
    .description('Boot a guest and run a command in it, as if it ran here; the guest is gone when it ends.')
    .usage('[options] [--] [command [arg…]]')
    .argument(
      '[command...]',
      "Without one: the image's own command, or a shell, or the console of a foreign guest.",
    )
    .passThroughOptions();
  addCommandFlags(addSpecFlags(run))
    .option('-d, --detach', 'Leave the guest running; see lodge ps, exec, stop, rm.')
    .option('-n, --dry-run', 'Print the plan and boot nothing.')
    .option('--cluster <name>', 'Boot nothing: run the command in a cluster that is up, in its first guest.')
    .option('--on <guest>', 'With --cluster: in this guest.')
    .action(async (argv: string[], flags: RunFlags) => {
      const globals = program.opts<GlobalOptions>();
      if (flags.cluster !== undefined || flags.on !== undefined) {
        const { runInCluster } = await import('./run-in-cluster.ts');
        process.exitCode = await runInCluster(argv, flags);
        return;
      }
      await runVerb(argv, flags, globals);
    });
}

/** @throws LodgeError `usage` for a flag that says how a command runs, beside -d: nothing would come of it. */
function requireNoCommandFlags(flags: CommandFlags): void {
  const given = {
    '--env': flags.env,
    '--cleanenv': flags.cleanenv,
    '--cwd': flags.cwd,
    '--user': flags.user,
  };
  const flag = Object.entries(given).find(([, value]) => value !== undefined)?.[0];
  if (flag === undefined) return;
  throw new LodgeError('usage', `${flag} is of a command, and a detached guest is started without one`, {
    fix: `lodge run -d --name NAME …, then: lodge exec ${flag} … NAME -- COMMAND`,
  });
}

/** What a guest's process takes beside the guest's memory, at most: left of what a task of Slurm has. */
const besideBytes = 128 * 2 ** 20;
const leastBytes = 64 * 2 ** 20;

/** In a task of Slurm a guest has the task's CPUs and memory, where nothing is said of them. */
async function shareOf(flags: RunFlags): Promise<Pick<SpecFlags, 'cpus' | 'memory'>> {
  if (process.env.SLURMD_NODENAME === undefined || flags.spec !== undefined) return {};
  const { taskShare } = await import('../cluster/engine/slurm-job.ts');
  const { cpus, memoryBytes } = taskShare(process.env);
  const memory = Math.max(leastBytes, (memoryBytes ?? 0) - besideBytes);
  // User-mode Linux has one CPU, and whoever asks for it knows.
  const hasOne = flags.accelerator === 'uml' || flags.accelerator === 'netns';
  return {
    ...(cpus === undefined || hasOne ? {} : { cpus }),
    ...(memoryBytes === undefined ? {} : { memory: `${Math.floor(memory / 2 ** 20)}M` }),
  };
}

async function runVerb(argv: string[], flags: RunFlags, globals: GlobalOptions): Promise<void> {
  const asked = await specOfFlags(flags, argv.length > 0, await shareOf(flags));
  try {
    await runSpec(asked.spec, argv, flags, globals);
  } catch (error) {
    throw asked.told(error);
  }
}

/** What the host agent has been asked to start it goes on starting: whoever ends this command is told. */
async function tellWhenInterrupted(name: string, progress: Progress): Promise<Interruptible> {
  const [{ interruptible }, { dieOf }] = await Promise.all([
    import('./interruptible.ts'),
    import('./stdio.ts'),
  ]);
  const interrupt = interruptible((signal) => new LodgeError('usage', `ended by ${signal}`));
  interrupt.signal.addEventListener('abort', () => {
    progress.clear();
    process.stderr.write(
      `lodge: '${name}' may go on being started: lodge ps shows it, lodge rm -f ${name} ends it\n`,
    );
    dieOf(interrupt.received!);
  });
  return interrupt;
}

async function runSpec(
  spec: GuestSpec,
  argv: string[],
  flags: RunFlags,
  globals: GlobalOptions,
): Promise<void> {
  const env = splitVariables(flags.env);
  if (flags.detach === true && argv.length > 0) {
    throw new LodgeError('usage', 'a detached guest is started without a command', {
      fix: `lodge run -d --name NAME …, then: lodge exec NAME -- ${argv.join(' ')}`,
    });
  }
  if (flags.detach === true) requireNoCommandFlags(flags);
  const stays = flags.dryRun !== true && flags.detach !== true;
  const foreground = stays ? import('./foreground.ts') : undefined;
  const [{ openStore }, { resolveGuest }, { openProgress }] = await Promise.all([
    import('../image/store.ts'),
    import('../guest/resolve.ts'),
    import('./progress.ts'),
  ]);
  const store = openStore();
  const progress = openProgress(globals);
  const onProgress = progress.show;
  try {
    const plan = await resolveGuest(spec, { store, onProgress, cwd: process.cwd() });
    if (!plan.agent && argv.length > 0) {
      throw new LodgeError(
        'no-agent-in-guest',
        `an image of kind '${plan.image.kind}' cannot run a command`,
        {
          fix: 'leave out the command to see its console',
        },
      );
    }
    if (flags.dryRun === true) {
      progress.clear();
      // What a run would refuse of the command line, a plan does not pass over.
      if (plan.agent) requestOf(argv, { ...flags, env }, plan, thisUser(), true);
      const { printPlan } = await import('./show-plan.ts');
      printPlan(plan, globals.json);
      return;
    }
    if (flags.detach === true) {
      const { requireLasting } = await import('../server/locate.ts');
      requireLasting();
      const { startDetached } = await import('../server/client.ts');
      const tell = await tellWhenInterrupted(plan.name, progress);
      const name = await startDetached(plan, onProgress).finally(tell.stop);
      progress.clear();
      process.stdout.write(globals.json ? `${JSON.stringify({ name })}\n` : `${name}\n`);
      return;
    }
    const { runForeground } = await foreground!;
    process.exitCode = await runForeground({
      plan,
      store,
      progress,
      argv,
      command: { ...flags, env },
    });
  } finally {
    progress.clear();
  }
}

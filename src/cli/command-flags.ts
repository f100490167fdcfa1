/** Flags of verbs that run a command in a guest, and what they make of it. */

import { isAbsolute, resolve } from 'node:path';
import type { Command } from 'commander';
import { withoutJob } from '../cluster/engine/slurm-job.ts';
import { clusterEnvironment } from '../cluster/environment.ts';
import { LodgeError } from '../errors.ts';
import { commandEnvironment, commandLine } from '../guest/command.ts';
import type { CommandRequest } from '../guest/named-user.ts';
import type { GuestPlan } from '../guest/plan.ts';
import type { HostUser } from '../guest/user.ts';
import { parseUserText } from '../image/user-text.ts';
import { shellWord } from '../shell-words.ts';
import { damagedVariables } from '../start-environment.ts';
import { collect } from './spec-flags.ts';
import { ourTerminal } from './stdio.ts';
import { isInFront } from './terminal-group.ts';

export interface CommandFlags {
  env?: string[];
  cleanenv?: boolean;
  cwd?: string;
  tty?: boolean;
  user?: string;
}

export function addCommandFlags(command: Command): Command {
  return command
    .option(
      '-e, --env <var=val>',
      'Set a variable for the command; VAR alone takes ours. Repeatable.',
      collect,
    )
    .option('--cleanenv', 'Pass nothing of our environment but language and terminal.')
    .option('--cwd <dir>', 'Working directory of the command (default: ours).', absoluteDirectory)
    .option(
      '-u, --user <user>',
      "A user of the guest, NAME or UID, with :GROUP or :GID (default: the image's, else who we are here).",
    )
    .option('-t, --tty', 'Give the command a terminal (default: when input and output are one).')
    .option('-T, --no-tty', 'Give the command no terminal.');
}

/** Relative to what, when the guest may not have our directory? @throws LodgeError `usage` */
function absoluteDirectory(text: string): string {
  if (isAbsolute(text)) return text;
  throw new LodgeError('usage', `the working directory in the guest must be an absolute path: '${text}'`, {
    where: '--cwd',
    fix: `--cwd ${shellWord(resolve(text))}`,
  });
}

/** `VAR=VAL` texts as variables. @throws LodgeError `usage` */
export function splitVariables(texts: readonly string[] | undefined): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const text of texts ?? []) {
    const at = text.indexOf('=');
    const name = at < 0 ? text : text.slice(0, at);
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      throw new LodgeError('usage', `'${text}' is not VAR=VAL`, { where: '-e' });
    }
    const value = at < 0 ? process.env[name] : text.slice(at + 1);
    if (value !== undefined) variables[name] = value;
  }
  return variables;
}

/**
 * What the guest's agent is asked to run.
 * @param isMain what the guest was started for: only that goes under the image's entry point
 */
export function requestOf(
  argv: readonly string[],
  flags: Omit<CommandFlags, 'env'> & { env: Record<string, string> },
  plan: Pick<GuestPlan, 'isHostRoot' | 'defaults' | 'volumes' | 'cluster' | 'accelerator'>,
  caller: HostUser,
  isMain: boolean,
): CommandRequest {
  const { defaults, isHostRoot } = plan;
  const named = flags.user ?? defaults?.user;
  if (named !== undefined && parseUserText(named) === undefined) {
    throw new LodgeError('usage', `'${named}' is not USER[:GROUP]`, {
      where: '--user',
      fix: 'give a name or number of a user of the guest: root, 1000, 1000:100',
    });
  }
  // Whoever we are here is known in the guest by that name, wherever this host has it from.
  const isCaller = named === undefined || named === caller.name;
  const line = isMain ? commandLine(argv, defaults) : argv;
  const terminal =
    flags.tty === true
      ? (ourTerminal() ?? fallbackSize)
      : flags.tty === false
        ? undefined
        : terminalInFront();
  // The image's own user may well not enter our directories.
  const isOurs = flags.user !== undefined || isCaller;
  const cwd = flags.cwd ?? (isOurs && isThere(process.cwd(), plan) ? process.cwd() : (defaults?.cwd ?? '/'));
  return {
    argv: line.length > 0 ? line : [isHostRoot && isCaller ? caller.shell : '/bin/sh'],
    env: commandEnvironment({
      argv,
      ...(isCaller ? { user: caller } : {}),
      hostEnv: environmentFor(plan),
      cleanEnv: flags.cleanenv === true,
      env: {
        ...(plan.cluster === undefined ? {} : clusterEnvironment(caller.uid, plan.accelerator)),
        ...flags.env,
      },
      cwd,
      isHostRoot,
      ...(defaults === undefined ? {} : { defaults }),
    }),
    cwd,
    uid: caller.uid,
    gid: caller.gid,
    groups: caller.groups,
    ...(isCaller ? {} : { user: named }),
    umask: process.umask(),
    ...(terminal === undefined ? {} : { terminal }),
  };
}

/**
 * Our environment, as it holds in a guest. A cluster's guests are no hosts of the Slurm job that we may be in, and what
 * is said of it would have mpiexec ask Slurm for more. A guest that is a task of it knows which one, but is alone.
 */
function environmentFor(plan: Pick<GuestPlan, 'cluster'>): NodeJS.ProcessEnv {
  const ours = callerEnvironment();
  if (plan.cluster !== undefined) return withoutJob(ours);
  if (ours.SLURM_JOB_ID === undefined) return ours;
  return { OMPI_MCA_plm: '^slurm', OMPI_MCA_ras: '^slurm', ...ours };
}

/**
 * Our environment, without variables whose bytes are not UTF-8: those are named on standard error, because what
 * Node.js makes of them is not what they say.
 */
function callerEnvironment(): NodeJS.ProcessEnv {
  const names = damagedVariables();
  if (names.size === 0) return process.env;
  for (const name of names)
    process.stderr.write(`lodge: ${name} is not UTF-8 and is not passed on; -e ${name}=VALUE sets it\n`);
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !names.has(name)));
}

/** Whether a directory of the host is at the same path in the guest. */
function isThere(path: string, plan: Pick<GuestPlan, 'isHostRoot' | 'volumes'>): boolean {
  return (
    plan.isHostRoot ||
    plan.volumes.some(
      ({ source, target }) => source === target && (path === target || path.startsWith(`${target}/`)),
    )
  );
}

/** A job in the background gives its command no terminal: the shell would stop it for touching it. */
function terminalInFront(): { rows: number; columns: number } | undefined {
  const terminal = ourTerminal();
  return terminal !== undefined && isInFront() ? terminal : undefined;
}

/** A terminal for a command where we have none ourselves: what terminals have been since there were terminals. */
const fallbackSize = { rows: 24, columns: 80 };

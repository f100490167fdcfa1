/** What a command gets in a guest: its environment and working directory. Pure. */

import type { CommandDefaults } from '../image/image.ts';
import { standardPath } from '../start-environment.ts';
import type { HostUser } from './user.ts';

export interface CommandInput {
  argv: readonly string[];
  /** Absent when the guest is to be asked who it is. */
  user?: HostUser;
  /** Environment of the caller on the host. */
  hostEnv: Readonly<Record<string, string | undefined>>;
  /** Nothing of the caller's environment but its language and terminal. */
  cleanEnv: boolean;
  /** Set last, over everything else. */
  env: Readonly<Record<string, string>>;
  cwd: string;
  /** Whether the guest's root is the host's, so that the caller's paths hold there. */
  isHostRoot: boolean;
  defaults?: CommandDefaults;
}

/** These name sockets and directories that are the host's and are not in a guest. */
const hostOnly = [
  'XDG_RUNTIME_DIR',
  'DBUS_SESSION_BUS_ADDRESS',
  'SSH_AUTH_SOCK',
  'DISPLAY',
  'WAYLAND_DISPLAY',
  'TMPDIR',
];

/** These say who the caller is. */
const ofCaller = ['HOME', 'USER', 'LOGNAME'];

/** These name files of the host's root, which another root does not have. */
const hostRootOnly = ['PATH', 'LD_LIBRARY_PATH', 'LD_PRELOAD', 'SHELL'];

const keptWhenClean = ['LANG', 'LC_ALL', 'TERM', 'COLORTERM', 'TZ'];

/** The environment of a command: the caller's, less what has no meaning in the guest, under what was asked for. */
export function commandEnvironment(input: CommandInput): Record<string, string> {
  const { user, hostEnv, isHostRoot, defaults } = input;
  const env: Record<string, string> = {};
  const dropped = new Set([...hostOnly, ...(isHostRoot ? [] : hostRootOnly), ...ofCaller]);
  for (const [name, value] of Object.entries(hostEnv)) {
    if (value === undefined || dropped.has(name)) continue;
    if (input.cleanEnv && !keptWhenClean.includes(name)) continue;
    env[name] = value;
  }
  env.PATH ??= standardPath;
  return {
    ...env,
    ...defaults?.env,
    ...(user === undefined ? {} : { HOME: user.home, USER: user.name, LOGNAME: user.name }),
    ...input.env,
  };
}

/** The program and arguments to run: what was given, under the image's entry point. */
export function commandLine(argv: readonly string[], defaults: CommandDefaults | undefined): string[] {
  const given = argv.length > 0 ? argv : (defaults?.command ?? []);
  return [...(defaults?.entrypoint ?? []), ...given];
}

/**
 * Being root without being root: programs that unpack or build a root file system run in a user namespace in which
 * this user is root and its subordinate ids (subuid(5)) are the other users, so that owners come out right.
 */

import { readFileSync } from 'node:fs';
import { LodgeError } from '../../errors.ts';
import { runProgram } from '../../process.ts';
import { userName } from '../../this-user.ts';

export interface RootNamespace {
  /** What to put before a program's argv. It, and all that it starts, is killed when lodge ends, however it ends. */
  prefix: string[];
  /** `all`: files can belong to any user; `root`: they can only belong to root. */
  owners: 'all' | 'root';
}

/** KILL when the parent dies: setpriv(1) asks it for itself, unshare(1) for what it starts, the PID namespace for the rest. */
const tied = ['setpriv', '--pdeathsig', 'KILL', '--', 'unshare'];
const common = ['--mount', '--pid', '--fork', '--kill-child', '--'];
const probeLimitMs = 10_000;

/**
 * The namespace with all owners.
 * @throws LodgeError `image-build` with what is missing for it
 */
export async function rootNamespace(): Promise<RootNamespace> {
  const isRoot = process.getuid?.() === 0;
  const mapping = isRoot ? [] : ['--user', '--map-root-user', '--map-auto'];
  const prefix = [...tied, ...mapping, ...common];
  const { code, stderr } = await runProgram([...prefix, 'true'], { timeoutMs: probeLimitMs });
  if (code === 0) return { prefix, owners: 'all' };
  throw new LodgeError('image-build', 'a root file system cannot be built here without root', {
    detail: stderr.trim(),
    fix: isRoot
      ? 'root needs CAP_SYS_ADMIN (a container must be started with --privileged), or build as a plain user'
      : adviceFor(stderr, userName(), readSubordinateUsers()),
  });
}

/** The namespace with all owners, or else one in which everything belongs to root. @throws LodgeError `image-build` */
export async function anyRootNamespace(): Promise<RootNamespace> {
  try {
    return await rootNamespace();
  } catch (error) {
    const prefix = [...tied, '--user', '--map-root-user', ...common];
    const { code } = await runProgram([...prefix, 'true'], { timeoutMs: probeLimitMs });
    if (code === 0) return { prefix, owners: 'root' };
    throw error;
  }
}

/** What is missing, by what unshare(1) said. */
export function adviceFor(stderr: string, user: string, subordinateUsers: string): string {
  if (/newuidmap|newgidmap/.test(stderr) && /No such file|not found|failed to execute/.test(stderr)) {
    return 'apt-get install uidmap';
  }
  if (/unrecognized option/.test(stderr)) return 'unshare of util-linux 2.38 or newer is needed';
  const hasIds = subordinateUsers.split('\n').some((line) => line.startsWith(`${user}:`));
  if (!hasIds) {
    return `an administrator gives you ids: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ${user}; or build the image elsewhere and import it`;
  }
  return 'this host forbids user namespaces (user.max_user_namespaces, AppArmor); build the image elsewhere and import it';
}

function readSubordinateUsers(): string {
  try {
    return readFileSync('/etc/subuid', 'utf8');
  } catch {
    return '';
  }
}

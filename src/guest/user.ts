/** The user in whose name commands run in a guest: the one who runs lodge. Pure, but for {@link thisUser}. */

import { userInfo } from 'node:os';
import { basename } from 'node:path';
import { homeDir, userName } from '../this-user.ts';
import type { Step } from './channel/channel.ts';

export interface HostUser {
  name: string;
  uid: number;
  gid: number;
  groups: number[];
  home: string;
  shell: string;
}

/** Who runs this process; a user without an entry in the user database gets a name made of the number. */
export function thisUser(): HostUser {
  const uid = process.getuid!();
  const gid = process.getgid!();
  const groups = process.getgroups!();
  return { name: userName(), uid, gid, groups, home: homeDir(), shell: loginShell() };
}

function loginShell(): string {
  try {
    return usableShell(userInfo().shell);
  } catch {
    return '/bin/sh';
  }
}

/** A login shell, or `/bin/sh` where an account has a program in its place that lets nobody in. */
export function usableShell(shell: string | null): string {
  return shell === null || ['nologin', 'false'].includes(basename(shell)) ? '/bin/sh' : shell;
}

/**
 * Steps that make the user known in an image that is not the host's own.
 * @param passwd and group: the files of the image as they are; format passwd(5), group(5)
 */
export function userSteps(user: HostUser, passwd: string, group: string): Step[] {
  const steps: Step[] = [];
  if (!hasNumber(passwd, user.uid)) {
    steps.push(['append', '/etc/passwd', `${user.name}:x:${user.uid}:${user.gid}::${user.home}:/bin/sh\n`]);
  }
  if (!hasNumber(group, user.gid)) {
    steps.push(['append', '/etc/group', `${user.name}:x:${user.gid}:\n`]);
  }
  return steps;
}

function hasNumber(database: string, id: number): boolean {
  return database.split('\n').some((line) => line.split(':')[2] === String(id));
}

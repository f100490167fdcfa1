/**
 * Whether this process may use its terminal: a shell stops jobs in the background that read from it or change its
 * settings, and a command that a guest runs in the background is to go on, as it would here.
 */

import { readFileSync } from 'node:fs';

/** Of the terminal that this process belongs to, whether it is the job in front; so it is where there is no terminal. */
export function isInFront(): boolean {
  try {
    return isGroupInFront(readFileSync('/proc/self/stat', 'latin1'));
  } catch {
    return true;
  }
}

/** The same, from the text of `/proc/PID/stat`: proc(5). */
export function isGroupInFront(stat: string): boolean {
  // The name of the program comes first, in brackets, and may hold anything.
  const [, , group, , , front] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  return front === undefined || front <= 0 || front === group;
}

/** Processes that were started with a mark in their environment, and all below them: what daemons have set free. */

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** The mark of services: the directory of their group. */
export const servicesVariable = 'LODGE_SERVICES';

/**
 * Kills, on this host, what has inherited a mark, with its descendants. What is another user's cannot be read, and what
 * is in another PID namespace is on what counts as another host.
 */
export function killMarked(value: string): void {
  const mark = `${servicesVariable}=${value}`;
  const here = namespaceOf('self');
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!(pid > 0) || pid === process.pid) continue;
    if (namespaceOf(name) !== here) continue;
    if (readOr(`/proc/${pid}/environ`).split('\0').includes(mark)) killTree(pid);
  }
}

/** Children first: those of one that is dead are no longer its own. */
function killTree(pid: number): void {
  const children = readOr(`/proc/${pid}/task/${pid}/children`).trim().split(' ').map(Number);
  for (const child of children) if (child > 0) killTree(child);
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

function namespaceOf(process: string): string | undefined {
  try {
    return readlinkSync(`/proc/${process}/ns/pid`);
  } catch {
    return undefined;
  }
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

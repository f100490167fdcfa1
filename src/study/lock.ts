/** A lock that is a file: it appears whole or not at all, says who holds it, and is no lock once its owner is gone. */

import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { fateOf, type Owner, thisProcess } from '../image/owner.ts';

/**
 * Takes the lock for this process.
 * @returns nothing when it was taken; `held` with its owner, `lost` when others were quicker again and again
 */
export function takeLock(path: string): { held: Owner } | 'lost' | undefined {
  const own = `${path}.${process.pid}`;
  try {
    writeFileSync(own, JSON.stringify(thisProcess()));
    for (let attempt = 0; attempt < 10; attempt++) {
      if (linked(own, path)) return undefined;
      const owner = ownerIn(path);
      if (owner !== undefined && fateOf(owner) !== 'gone') return { held: owner };
      moveStaleLock(path, `${own}.stale`);
    }
  } finally {
    rmSync(own, { force: true });
  }
  return 'lost';
}

export function releaseLock(path: string): void {
  rmSync(path, { force: true });
}

/** Gives a file a second name, if nothing has that name. */
function linked(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw cause;
  }
}

function moveStaleLock(path: string, aside: string): void {
  try {
    renameSync(path, aside);
  } catch {
    return; // Another process was quicker.
  }
  const owner = ownerIn(aside);
  // Between the look and the move, somebody may have taken the lock: it is given back.
  if (owner !== undefined && fateOf(owner) !== 'gone') linked(aside, path);
  rmSync(aside, { force: true });
}

/** The owner that a file names; undefined when there is no such file, or it names none. */
export function ownerIn(path: string): Owner | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Owner;
  } catch {
    return undefined;
  }
}

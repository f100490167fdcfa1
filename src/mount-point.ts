/** Where filesystems of this host are mounted. */

import { realpathSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/** Where the filesystem that a path lies on is mounted. The path need not be there: then the nearest above it counts. */
export function mountPointOf(path: string): string {
  let at = resolve(path);
  while (deviceOf(at) === undefined && at !== '/') at = dirname(at);
  at = realpathSync(at);
  while (at !== '/' && deviceOf(dirname(at)) === deviceOf(at)) at = dirname(at);
  return at;
}

function deviceOf(path: string): number | undefined {
  try {
    return statSync(path).dev;
  } catch {
    return undefined;
  }
}

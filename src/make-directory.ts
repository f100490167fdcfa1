/** Making directories that somebody named. */

import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Makes a directory and those above it that are missing. Node.js 20's own recursive `mkdir` never returns where the
 * kernel says that there is no such place although the directory above is there, as in `/proc`.
 * @throws Error of the operating system
 */
export function makeDirectory(path: string, mode = 0o777): void {
  try {
    mkdirSync(path, { mode });
  } catch (cause) {
    // It may be there, also because another process has just made it.
    if (isDirectory(path)) return;
    const above = dirname(path);
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT' || isDirectory(above)) throw cause;
    makeDirectory(above, mode);
    makeDirectory(path, mode);
  }
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

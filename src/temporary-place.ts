/** Where programs that we start keep what is theirs for a while: as the environment says, if that is there. */

import { accessSync, constants, statSync } from 'node:fs';
import { resolve } from 'node:path';

/** In the order in which user-mode Linux looks at them; it ends when it cannot make a file where the first that is set leads. */
const variables = ['TMPDIR', 'TMP', 'TEMP'] as const;

/**
 * The directory that the environment names.
 * @returns no path when it names none, or none that is there: then `notes` says so
 */
export function temporaryPlace(): { path?: string; notes: string[] } {
  const name = variables.find((each) => process.env[each] !== undefined);
  if (name === undefined) return { notes: [] };
  const path = resolve(process.env[name]!);
  if (canHold(path)) return { path, notes: [] };
  return { notes: [`${name} names ${path}, which is no directory that can be written: it is left out`] };
}

/** Whether files can be made there. */
function canHold(path: string): boolean {
  try {
    accessSync(path, constants.W_OK | constants.X_OK);
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

/** Our environment with this place, or with none. */
export function environmentWith(place: string | undefined): NodeJS.ProcessEnv {
  const { TMPDIR, TMP, TEMP, ...others } = process.env;
  return place === undefined ? others : { ...others, TMPDIR: place };
}

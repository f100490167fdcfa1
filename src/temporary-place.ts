/** Where programs that we start keep what is theirs for a while: as the environment says, if that is there. */

import { existsSync } from 'node:fs';
import { resolve } from 'node:path';

/** In the order in which user-mode Linux looks at them; it ends when the first that is set leads nowhere. */
const variables = ['TMPDIR', 'TMP', 'TEMP'] as const;

/**
 * The directory that the environment names.
 * @returns no path when it names none, or none that is there: then `notes` says so
 */
export function temporaryPlace(): { path?: string; notes: string[] } {
  const name = variables.find((each) => process.env[each] !== undefined);
  if (name === undefined) return { notes: [] };
  const path = resolve(process.env[name]!);
  if (existsSync(path)) return { path, notes: [] };
  return { notes: [`${name} names ${path}, which is not there: it is left out`] };
}

/** Our environment with this place, or with none. */
export function environmentWith(place: string | undefined): NodeJS.ProcessEnv {
  const { TMPDIR, TMP, TEMP, ...others } = process.env;
  return place === undefined ? others : { ...others, TMPDIR: place };
}

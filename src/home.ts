/** Where the user's own files are. */

import { userInfo } from 'node:os';
import { isAbsolute } from 'node:path';

/**
 * The home of the user: `$HOME`, else what the user database says, else `/`. One that is relative, or set to nothing,
 * would be another place in each directory: it does not count.
 */
export function homeDir(): string {
  const asked = process.env.HOME;
  if (asked !== undefined && isAbsolute(asked)) return asked;
  try {
    const { homedir } = userInfo();
    return isAbsolute(homedir) ? homedir : '/';
  } catch {
    return '/'; // no such user in the database
  }
}

/** Who runs this process, where the user database knows nothing of that user too: batch systems and containers have such. */

import { userInfo } from 'node:os';
import { isAbsolute } from 'node:path';

/** The user's name, or one made of the number. */
export function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return `user${process.getuid!()}`;
  }
}

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

/** The environment in which lodge runs, and that in which it starts itself. */

import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { LodgeError } from './errors.ts';

/** Where programs are looked for when nothing says where: as Debian's shells do, with what root alone has besides. */
export const standardPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * Sets PATH where it is not set at all, as under `env -i` and in what daemons start. The system would look in its own
 * default places then; so that all who look for programs, and all that are started, look in the same ones.
 */
export function completePath(env: NodeJS.ProcessEnv): void {
  env.PATH ??= standardPath;
}

/**
 * `env`, with the certificates that Node.js would read at each start under the name by which `scripts/start.cjs` gives
 * them back. As in the launcher: reading them takes half as long as the start itself, and lodge has no use for them.
 */
export function startEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { NODE_EXTRA_CA_CERTS: certificates, ...others } = env;
  return certificates === undefined ? others : { ...others, LODGE_NODE_EXTRA_CA_CERTS: certificates };
}

/**
 * Names of variables of this process that are not UTF-8. Node.js has put U+FFFD for what is not, so that they do not say
 * what they said.
 */
export function damagedVariables(): Set<string> {
  const isSuspect = Object.entries(process.env).some((pair) => pair.join('=').includes('\u{fffd}'));
  if (!isSuspect) return new Set();
  const raw = readFileSync('/proc/self/environ', 'latin1').split('\0');
  const damaged = raw.map((entry) => Buffer.from(entry, 'latin1')).filter((entry) => !isUtf8(entry));
  return new Set(damaged.map((entry) => entry.toString().split('=')[0]!));
}

/** What says where lodge's own directories are. */
const placeVariables = ['LODGE_RUNTIME_DIR', 'LODGE_DATA_DIR', 'XDG_RUNTIME_DIR', 'XDG_DATA_HOME', 'HOME'];

/** Else it would be another directory that is made and used. @throws LodgeError `usage` */
export function requirePlacesInUtf8(): void {
  const damaged = damagedVariables();
  const name = placeVariables.find((each) => damaged.has(each));
  if (name === undefined) return;
  throw new LodgeError('usage', 'it names a directory whose path is not UTF-8, which lodge cannot use', {
    where: name,
    fix: `set ${name} to a directory whose path is UTF-8`,
  });
}

/** Else nobody but root could read what lodge writes, lodge itself neither. @throws LodgeError `usage` */
export function requireOwnRights(): void {
  const umask = process.umask();
  if ((umask & 0o700) === 0) return;
  const octal = umask.toString(8).padStart(4, '0');
  throw new LodgeError(
    'usage',
    'it takes from you the rights to files that you make, as lodge does for you',
    {
      where: `umask ${octal}`,
      fix: `umask ${(umask & 0o077).toString(8).padStart(4, '0')}`,
    },
  );
}

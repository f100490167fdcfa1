/** What cannot be had for a guest of a cluster, told at the key of the spec that asked for it. Pure. */

import { LodgeError, retold } from '../errors.ts';
import type { OutlinedGuest } from './plan.ts';

/**
 * The error with its place in the spec, where something in the spec has brought it about; any other as it is.
 * @param guest for whom something was looked for
 */
export function placedFault(
  error: unknown,
  { name, where, locate }: Pick<OutlinedGuest, 'name' | 'where' | 'locate'>,
): unknown {
  if (!(error instanceof LodgeError) || error.asked === undefined) return error;
  const { asked, message, where: path } = error;
  const withPath = path === undefined ? error : retold(error, { message: `${path}: ${message}` });
  return retold(namedFault(withPath, name), { where: asked.length === 0 ? where : locate(asked) });
}

/** The same where the spec is not at hand: with the names of key and guest. */
export function namedFault(error: LodgeError, name: string): LodgeError;
export function namedFault(error: unknown, name: string): unknown;
export function namedFault(error: unknown, name: string): unknown {
  if (!(error instanceof LodgeError) || error.asked === undefined) return error;
  const { asked, message } = error;
  const key = asked[0] === undefined ? '' : `'${asked[0]}' of `;
  return retold(error, { message: `${key}guest '${name}': ${message}` });
}

/** What cannot be had for a guest of a cluster, told at the key of the spec that asked for it. Pure. */

import { type ErrorCode, LodgeError, retold } from '../errors.ts';
import type { OutlinedGuest } from './plan.ts';

/** Errors that the spec of a guest has brought about, also where no key is known. */
const ofSpec: ReadonlySet<ErrorCode> = new Set([
  'spec-value',
  'driver-cannot',
  'accelerator-unusable',
  'placement-unmet',
  'image-not-found',
  'image-unreadable',
  'kernel-not-found',
  'share-unusable',
  'pci-unusable',
]);

/**
 * The error with its place in the spec, where the spec is at fault; any other as it is.
 * @param guest for whom something was looked for
 */
export function placedFault(
  error: unknown,
  { name, where, locate }: Pick<OutlinedGuest, 'name' | 'where' | 'locate'>,
): unknown {
  if (!(error instanceof LodgeError) || !ofSpec.has(error.code)) return error;
  const { key, message, where: found, fix } = error;
  const about = found === undefined || found === key || found.startsWith('-') ? '' : `${found}: `;
  return retold(error, {
    message: `${key === undefined ? '' : `'${key}' of `}guest '${name}': ${about}${message}`,
    where: key === undefined ? where : locate([key]),
    ...(fix === undefined ? {} : { fix: inKeys(fix) }),
  });
}

/** Flags of `lodge run` are keys of a guest's spec. */
const flags =
  /--(accelerator|cpus|firmware|image|kernel|memory|mount-type|numa|pages|pin)\b(?:(?= or\b)|( ))?/g;

/** A fix in keys, where it is told in flags; that of a command line of its own stays. */
function inKeys(fix: string): string {
  if (/\blodge /.test(fix)) return fix;
  return fix
    .replaceAll(
      flags,
      (_, key: string, space: string | undefined) => `${key}${space === undefined ? '' : ': '}`,
    )
    .replaceAll(/(^|\s)-v\b/g, '$1volumes');
}

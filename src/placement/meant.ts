/** What a person meant who wrote `KIND:…` with a slip in it. Pure. */

import { nearest } from '../nearest.ts';

/** @returns what to do, when there is a kind that is nearly what was written before the colon */
export function meant(written: string, kinds: readonly string[]): string | undefined {
  const colon = written.indexOf(':');
  const kind = colon < 1 ? undefined : nearest(written.slice(0, colon), kinds);
  return kind === undefined ? undefined : `did you mean ${kind}${written.slice(colon)}?`;
}

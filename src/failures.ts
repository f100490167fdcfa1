/** Several failures told as one. */

import { LodgeError, retold } from './errors.ts';

/** Throws the first in full, with a line for each other one; does nothing when there is none. */
export function throwFirst(failures: readonly unknown[]): void {
  const [first, ...others] = failures;
  if (first === undefined) return;
  if (others.length === 0 || !(first instanceof LodgeError)) throw first;
  const lines = others.map((error) => `also: ${(error as Error).message}`);
  throw retold(first, {
    detail: [...(first.detail === undefined ? [] : [first.detail]), ...lines].join('\n'),
  });
}

/** Names of guests on the command line. */

import { readdirSync } from 'node:fs';
import { fullNameFor, fullNamesFor } from '../cluster/guest-names.ts';
import { guestsDir } from '../guest/state.ts';

function allNames(): string[] {
  try {
    return readdirSync(guestsDir()).sort();
  } catch {
    // None was ever started.
    return [];
  }
}

/** The guest that is meant by `v01` or `lab.v01`. */
export function namedGuest(text: string): string {
  return fullNameFor(text, allNames());
}

/** The guests that are meant by several texts, with ranges. */
export function namedGuests(texts: readonly string[]): string[] {
  return fullNamesFor(texts, allNames());
}

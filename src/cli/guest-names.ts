/** Names of guests on the command line. */

import { readdirSync } from 'node:fs';
import { fullNameFor, fullNamesFor } from '../cluster/guest-names.ts';
import { guestsDir } from '../guest/state.ts';
import { namesInJob } from '../server/locate.ts';

function allNames(): string[] {
  let here: string[] = [];
  try {
    here = readdirSync(guestsDir());
  } catch {
    // None was ever started.
  }
  return [...new Set([...here, ...namesInJob()])].sort();
}

/** The guest that is meant by `v01` or `lab.v01`. */
export function namedGuest(text: string): string {
  return fullNameFor(text, allNames());
}

/** The guests that are meant by several texts, with ranges. */
export function namedGuests(texts: readonly string[]): string[] {
  return fullNamesFor(texts, allNames());
}

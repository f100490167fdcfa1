/** From names as people write them to those that guests have: `v01`, `lab.v01`, `v[01-04]`. Pure. */

import { LodgeError } from '../errors.ts';
import { expandHostList, isHostList } from '../host-list.ts';

/**
 * The full name that is meant: an exact one wins; else the guest of a cluster that has it as its own name.
 * @param names full names of all guests
 * @returns the text itself where there is none: whoever looks for it says so
 * @throws LodgeError `no-such-guest` when several clusters have one of that name
 */
export function fullNameFor(text: string, names: readonly string[]): string {
  if (text.includes('.') || names.includes(text)) return text;
  const found = names.filter((name) => name.endsWith(`.${text}`));
  if (found.length > 1) {
    throw new LodgeError('no-such-guest', `several clusters have a guest '${text}'`, {
      fix: `name one of them: ${found.join(', ')}`,
    });
  }
  return found[0] ?? text;
}

/**
 * The full names that several texts stand for, each once, in order.
 * @throws LodgeError `spec-value` for what is no list, `no-such-guest`
 */
export function fullNamesFor(texts: readonly string[], names: readonly string[]): string[] {
  const expanded = texts.flatMap((text) => (isHostList(text) ? expandHostList(text) : [text]));
  return [...new Set(expanded.map((text) => fullNameFor(text, names)))];
}

/** How each is called where several are told apart: by its own name, unless two have the same. */
export function shortNames(fullNames: readonly string[]): Map<string, string> {
  const own = (name: string): string => name.slice(name.indexOf('.') + 1);
  const counts = new Map<string, number>();
  for (const name of fullNames) counts.set(own(name), (counts.get(own(name)) ?? 0) + 1);
  return new Map(fullNames.map((name) => [name, counts.get(own(name)) === 1 ? own(name) : name]));
}

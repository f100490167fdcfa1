/** The known word that somebody meant who wrote another. */

import { foldHostList } from './host-list.ts';

const longestWord = 100;
const longestList = 200;

/** The known word nearest to what was written, if one is near enough to be what was meant. */
export function nearest(written: string, known: readonly string[]): string | undefined {
  // What nobody typed by mistake for a word, and takes long to compare.
  if (written.length > longestWord) return undefined;
  let best: string | undefined;
  // Of two letters, one at least was meant.
  const most = written.length < 3 ? 1 : Math.max(2, Math.ceil(written.length / 3));
  let bestDistance = most + 1;
  for (const candidate of known) {
    const distance = editDistance(written.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/**
 * The name in `known` that was meant, or all there are, for an error about one that is not there.
 * @param known names of guests
 */
export function suggestGuest(name: string, known: readonly string[]): string {
  const near = nearest(name, known);
  if (near !== undefined) return `did you mean '${near}'?`;
  const folded = foldHostList(known);
  return `guests: ${folded.length > longestList ? `${folded.slice(0, longestList)}…` : folded}`;
}

/** Levenshtein distance by the two-row method. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(previous[j]! + 1, row[j - 1]! + 1, substitution));
    }
    previous = row;
  }
  return previous[b.length]!;
}

/** What a person can do about an error, where that is in the spec of a guest: a key there, or a flag of `lodge run`. Pure. */

/** A key of a guest's spec, and the value to give it; without one, the key itself is meant. */
export interface KeyWords {
  key: string;
  value?: string;
}

/** Words for a person, with keys of the spec told apart: whoever knows where the spec was written spells them. */
export type Fix = string | readonly (string | KeyWords)[];

/** A key of a guest's spec, and what is within it: `['volumes', 1]`. Empty: the guest as a whole. */
export type SpecPath = readonly (string | number)[];

export function key(name: string, value?: string): KeyWords {
  return value === undefined ? { key: name } : { key: name, value };
}

/** A fix as a template: what is put in are keys and other fixes. */
export function fixWith(texts: TemplateStringsArray, ...words: readonly (KeyWords | Fix)[]): Fix {
  return texts.flatMap((text, i) => {
    const word = words[i];
    const put = word === undefined ? [] : isKey(word) || typeof word === 'string' ? [word] : word;
    return [...(text === '' ? [] : [text]), ...put];
  });
}

function isKey(word: KeyWords | Fix): word is KeyWords {
  return typeof word === 'object' && 'key' in word;
}

/** The fix as a text. @param spell says how a key is written */
export function spellFix(fix: Fix, spell: (words: KeyWords) => string = inYaml): string {
  if (typeof fix === 'string') return fix;
  return fix.map((part) => (typeof part === 'string' ? part : spell(part))).join('');
}

function inYaml({ key: name, value }: KeyWords): string {
  return value === undefined ? name : `${name}: ${value}`;
}

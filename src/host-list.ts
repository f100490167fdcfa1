/**
 * Names of guests and hosts in the short form of Slurm and pdsh: `v[01-04,07]` stands for v01, v02, v03, v04 and v07. Leading
 * zeros are kept, and a name may have several ranges (`r[1-2]n[01-16]`).
 */

import { LodgeError } from './errors.ts';

/** No host holds more guests, and no typing error may fill the memory. */
export const mostNames = 100_000;

/** Whether a text stands for more than the name it is. */
export function isHostList(text: string): boolean {
  return /[[\],]/.test(text);
}

/**
 * The names a text stands for, in its order; names that come twice are given twice.
 * @throws LodgeError `spec-value` for what is no list, or one of more than {@link mostNames} names
 */
export function expandHostList(text: string, where?: string): string[] {
  const names: string[] = [];
  for (const part of splitOutsideBrackets(text, where)) {
    names.push(...expandPart(part, text, mostNames - names.length, where));
  }
  return names;
}

function fault(
  text: string,
  what: string,
  where: string | undefined,
  fix = 'write names and ranges: v[01-04,07], router',
): LodgeError {
  return new LodgeError('spec-value', `'${text}' is not a list of names: ${what}`, {
    ...(where === undefined ? {} : { where }),
    fix,
  });
}

function splitOutsideBrackets(text: string, where: string | undefined): string[] {
  const parts: string[] = [];
  let depth = 0;
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === '[') depth++;
    if (character === ']') depth--;
    if (depth < 0 || depth > 1) throw fault(text, 'its brackets do not match', where);
    if (character !== ',' || depth > 0) continue;
    parts.push(text.slice(from, i).trim());
    from = i + 1;
  }
  if (depth !== 0) throw fault(text, 'its brackets do not match', where);
  parts.push(text.slice(from).trim());
  if (parts.includes('')) throw fault(text, 'a name is empty', where);
  return parts;
}

function expandPart(part: string, whole: string, room: number, where: string | undefined): string[] {
  let names = [''];
  let at = 0;
  for (const match of part.matchAll(/\[([^\]]*)\]/g)) {
    const before = part.slice(at, match.index);
    const numbers = expandRanges(match[1]!, whole, room, where);
    if (names.length * numbers.length > room) throw tooMany(whole, where);
    names = names.flatMap((name) => numbers.map((number) => name + before + number));
    at = match.index + match[0].length;
  }
  if (room < 1) throw tooMany(whole, where);
  return names.map((name) => name + part.slice(at));
}

function tooMany(text: string, where: string | undefined): LodgeError {
  return fault(text, `it has more than ${mostNames} names`, where, 'ask for fewer');
}

function expandRanges(text: string, whole: string, room: number, where: string | undefined): string[] {
  const numbers: string[] = [];
  for (const range of text.split(',')) {
    const match = /^(\d{1,15})(?:-(\d{1,15}))?$/.exec(range.trim());
    if (match === null) throw fault(whole, `'${range}' is neither a number nor a range`, where);
    const [first, last] = [Number(match[1]), Number(match[2] ?? match[1])];
    if (last < first) throw fault(whole, `'${range}' ends before it begins`, where);
    if (numbers.length + last - first + 1 > room) throw tooMany(whole, where);
    // As many digits as the first has: 01-10, and 8-10 without zeros.
    for (let n = first; n <= last; n++) numbers.push(String(n).padStart(match[1]!.length, '0'));
  }
  return numbers;
}

/**
 * The short form of names; {@link expandHostList} gives them back. Names are folded over the last number in them;
 * the order is kept only among those that cannot be folded together.
 */
export function foldHostList(names: readonly string[]): string {
  const groups = new Map<string, { before: string; after: string; numbers: string[] }>();
  const parts: (string | { before: string; after: string; numbers: string[] })[] = [];
  for (const name of names) {
    const match = /^(.*?)(\d{1,15})(\D*)$/.exec(name);
    if (match === null || /[[\],]/.test(name)) {
      parts.push(name);
      continue;
    }
    const [, before = '', number = '', after = ''] = match;
    const key = `${before}[${after}`;
    let group = groups.get(key);
    if (group === undefined) {
      group = { before, after, numbers: [] };
      groups.set(key, group);
      parts.push(group);
    }
    group.numbers.push(number);
  }
  return parts.map((part) => (typeof part === 'string' ? part : foldNumbers(part))).join(',');
}

function foldNumbers({
  before,
  after,
  numbers,
}: {
  before: string;
  after: string;
  numbers: string[];
}): string {
  if (numbers.length === 1) return before + numbers[0]! + after;
  const ranges: string[] = [];
  for (let i = 0; i < numbers.length; ) {
    let j = i;
    while (j + 1 < numbers.length && follows(numbers[i]!, numbers[j]!, numbers[j + 1]!)) j++;
    ranges.push(i === j ? numbers[i]! : `${numbers[i]}-${numbers[j]}`);
    i = j + 1;
  }
  return `${before}[${ranges.join(',')}]${after}`;
}

/** Whether a range that began with `first` and has come to `last` goes on with `next`. */
function follows(first: string, last: string, next: string): boolean {
  return next === String(Number(last) + 1).padStart(first.length, '0');
}

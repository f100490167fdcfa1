/** YAML that people write, checked against a schema; every fault is told with file, line, column and the nearest known key. */

import { isMap, isScalar, LineCounter, parseDocument } from 'yaml';
import type * as z from 'zod';
import { readAtMost } from './bounded-file.ts';
import { LodgeError } from './errors.ts';

/** What people write by hand is smaller; a device or a disk image named by mistake is not. */
const documentLimitBytes = 4 * 1024 * 1024;

/**
 * The text of a file that a person wrote.
 * @param where what errors name it by
 * @throws LodgeError `usage` when it cannot be read, or is larger than 4 MiB
 */
export function readDocument(file: string, where: string): string {
  let bytes: Buffer | undefined;
  try {
    bytes = readAtMost(file, documentLimitBytes);
  } catch (cause) {
    throw new LodgeError('usage', `it cannot be read: ${(cause as Error).message}`, { where, cause });
  }
  if (bytes !== undefined) return bytes.toString('utf8');
  throw new LodgeError('usage', `${file} is larger than the 4 MiB a document may have`, {
    where,
    fix: 'name the YAML file, not what it speaks of',
  });
}

/**
 * Parses YAML text and checks it against a schema.
 * @param file name used in errors
 * @throws LodgeError `spec-syntax`, `spec-unknown-key` or `spec-value`, `where` being `file:line:column`
 */
export function parseYaml<S extends z.ZodType>(text: string, schema: S, file: string): z.output<S> {
  return parseLocatedYaml(text, schema, file).value;
}

/** What a file says, and where it says it. */
export interface LocatedDocument<T> {
  value: T;
  /** As it was written, without defaults. */
  written: unknown;
  /** `file:line:column` of what is at a path in `written`. */
  locate: Locate;
}

/** As {@link parseYaml}, for specs that are checked further: faults found later are told with their place too. */
export function parseLocatedYaml<S extends z.ZodType>(
  text: string,
  schema: S,
  file: string,
): LocatedDocument<z.output<S>> {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, merge: false });
  const fault = document.errors[0];
  if (fault !== undefined) {
    const position = lines.linePos(fault.pos[0]);
    throw new LodgeError(
      'spec-syntax',
      fault.message.split('\n')[0]!.replace(/ at line \d+, column \d+:?$/, ''),
      {
        where: `${file}:${position.line}:${position.col}`,
        // Between braces, a bracket begins a list, unless it is quoted.
        ...(/\bflow map\b/i.test(fault.message) && /[\w-]\[/.test(text)
          ? { fix: "quote names with ranges: {'v[01-04]': …}" }
          : {}),
      },
    );
  }
  const locate: Locate = (path, part) => {
    if (part === 'key') {
      const map = document.getIn(path.slice(0, -1) as (string | number)[], true);
      const pair = isMap(map)
        ? map.items.find(({ key }) => isScalar(key) && key.value === path.at(-1))
        : undefined;
      const range = isScalar(pair?.key) ? pair.key.range : undefined;
      if (range) {
        const position = lines.linePos(range[0]);
        return `${file}:${position.line}:${position.col}`;
      }
    }
    for (let depth = path.length; depth >= 0; depth--) {
      const node = document.getIn(path.slice(0, depth) as (string | number)[], true);
      const range = (node as { range?: [number, number, number] } | undefined)?.range;
      if (range !== undefined) {
        const position = lines.linePos(range[0]);
        return `${file}:${position.line}:${position.col}`;
      }
    }
    return file;
  };
  let value: unknown;
  try {
    // An empty file asks for nothing: every key has its default, or is missed by its name.
    value = document.toJS({ maxAliasCount: 100 }) ?? {};
  } catch (cause) {
    throw new LodgeError('spec-syntax', (cause as Error).message, { where: file, cause });
  }
  return { value: checkValue(value, schema, locate), written: value, locate };
}

/** Turns a path in a value into what a person knows it by: a file position, a flag. */
export type Locate = (path: readonly PropertyKey[], part?: 'key' | 'value') => string;

/** How many faults are told at once: the first in full, the others in a line each. */
const mostFaults = 10;

/**
 * Checks a value against a schema.
 * @throws LodgeError for the first fault, the others in its detail
 */
export function checkValue<S extends z.ZodType>(value: unknown, schema: S, locate: Locate): z.output<S> {
  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return result.data;
  // A key that is not known explains more than a value: it may be where the right value went.
  const isUnknownKey = ({ code }: z.core.$ZodIssue): boolean => code === 'unrecognized_keys';
  const issues = result.error.issues.toSorted((a, b) => Number(isUnknownKey(b)) - Number(isUnknownKey(a)));
  const [first, ...others] = issues.map((issue) => faultOf(issue, schema, locate));
  if (others.length === 0) throw first!;
  const more = others.length - mostFaults;
  throw new LodgeError(first!.code, first!.message, {
    where: first!.where!,
    ...(first!.fix === undefined ? {} : { fix: first!.fix }),
    detail: [
      ...others.slice(0, mostFaults).map(({ where, message }) => `also ${where}: ${message}`),
      ...(more > 0 ? [`and ${more} more`] : []),
    ].join('\n'),
  });
}

function faultOf(issue: z.core.$ZodIssue, schema: z.ZodType, locate: Locate): LodgeError {
  const where = locate(issue.path);
  // A flag names the key already.
  const key = where.startsWith('--') && issue.path.length <= 1 ? '' : issue.path.join('.');
  const of = (text: string): string => (key === '' ? text : `'${key}': ${text}`);
  if (issue.code === 'unrecognized_keys') {
    const unknown = issue.keys[0]!;
    const known = knownKeys(schema, issue.path);
    const near = nearest(unknown, known);
    return new LodgeError('spec-unknown-key', `unknown key '${unknown}'${key === '' ? '' : ` in '${key}'`}`, {
      where: locate([...issue.path, unknown], 'key'),
      fix: near === undefined ? `known keys: ${known.join(', ')}` : `did you mean '${near}'?`,
    });
  }
  if (issue.code === 'invalid_key') {
    const inner = issue.issues[0];
    const wanted = inner === undefined ? 'is none of the known ones' : wantedBy(inner);
    return new LodgeError('spec-value', of(wanted), { where: locate(issue.path, 'key') });
  }
  if (issue.code === 'invalid_union') {
    // The branch that got furthest is the one the person meant.
    const branches = issue.errors.filter((issues) => issues.length > 0);
    const inner = branches.flat();
    // A kind that chooses among several shapes, and is missing or none of theirs.
    if (inner.length === 0) return new LodgeError('spec-value', of('is none of the known ones'), { where });
    const telling =
      inner.find(({ code }) => code === 'unrecognized_keys') ??
      inner.reduce((deepest, next) => (next.path.length > deepest.path.length ? next : deepest), inner[0]!);
    if (telling.path.length > 0 || telling.code === 'unrecognized_keys') {
      const nested = { ...telling, path: [...issue.path, ...telling.path] } as z.core.$ZodIssue;
      return faultOf(nested, schema, locate);
    }
    const words = inner.flatMap((one) => (one.code === 'invalid_value' ? one.values : [])).map(String);
    const wanted = branches.map((issues) => wantedBy(issues[0]!)).join('; or ');
    return new LodgeError('spec-value', of(wanted), { where, ...meantWord(issue.input, words) });
  }
  const words = issue.code === 'invalid_value' ? issue.values.map(String) : [];
  return new LodgeError('spec-value', of(wantedBy(issue)), { where, ...meantWord(issue.input, words) });
}

/** What a fault asks for: in the schema's words where it has some, else in those of YAML. */
function wantedBy(issue: z.core.$ZodIssue): string {
  if (!issue.message.startsWith('Invalid')) return issue.message;
  if (issue.code === 'invalid_value') return `must be one of ${issue.values.map(String).join(', ')}`;
  if (issue.code !== 'invalid_type') return issue.message;
  if (issue.input === undefined) return 'is missing';
  return `must be ${plainTypes[issue.expected] ?? issue.expected}`;
}

/** The words of YAML for the types of the schema language. */
const plainTypes: Record<string, string> = {
  object: 'a mapping (keys and values)',
  record: 'a mapping (keys and values)',
  array: 'a list',
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
};

function meantWord(input: unknown, words: readonly string[]): { fix?: string } {
  const near = typeof input === 'string' ? nearest(input, words) : undefined;
  return near === undefined ? {} : { fix: `did you mean '${near}'?` };
}

/** The keys that the object at `path` of the schema may have. */
function knownKeys(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  let reached: SchemaShape[] = [schema as unknown as SchemaShape];
  for (const step of path) reached = reached.flatMap(unwrapAll).flatMap((inner) => stepInto(inner, step));
  return [...new Set(reached.flatMap(unwrapAll).flatMap((inner) => Object.keys(inner._zod.def.shape ?? {})))];
}

/** What of zod's own description of a schema is used here. */
interface SchemaShape {
  _zod: {
    def: {
      shape?: Record<string, SchemaShape>;
      innerType?: SchemaShape;
      in?: SchemaShape;
      options?: SchemaShape[];
      valueType?: SchemaShape;
      element?: SchemaShape;
    };
  };
}

function unwrapAll(schema: SchemaShape): SchemaShape[] {
  const { innerType, in: input, options } = schema._zod.def;
  if (innerType !== undefined) return unwrapAll(innerType);
  if (input !== undefined) return unwrapAll(input);
  return options === undefined ? [schema] : options.flatMap(unwrapAll);
}

function stepInto(schema: SchemaShape, step: PropertyKey): SchemaShape[] {
  const { shape, valueType, element } = schema._zod.def;
  return [shape?.[String(step)], valueType, element].filter((inner) => inner !== undefined);
}

/** The known word nearest to what was written, if one is near enough to be what was meant. */
export function nearest(written: string, known: readonly string[]): string | undefined {
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

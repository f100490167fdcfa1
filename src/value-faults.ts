/** What is wrong with a value, from what the schema language finds to errors in lodge's words. */

import type * as z from 'zod';
import { LodgeError } from './errors.ts';
import { nearest } from './nearest.ts';
import { quoted } from './printable.ts';

/** Turns a path in a value into what a person knows it by: a file position, a flag. */
export type Locate = (path: readonly PropertyKey[], part?: 'key' | 'value') => string;

/**
 * The words for what is found where a schema has none of its own. Empty for what tells its fault within: unions by
 * their branches, mappings by their keys.
 */
export function wordsOf(issue: z.core.$ZodRawIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined
        ? 'is missing'
        : `must be ${plainTypes[issue.expected] ?? issue.expected}`;
    case 'too_small': {
      const { minimum, inclusive, origin } = issue;
      if (inclusive === false) return `must be more than ${minimum}`;
      if (origin !== 'string' && origin !== 'array') return `must be ${minimum} or more`;
      return minimum === 1 ? 'must not be empty' : `must have ${minimum} ${parts[origin]} or more`;
    }
    case 'too_big': {
      const { maximum, inclusive, origin } = issue;
      if (inclusive === false) return `must be less than ${maximum}`;
      if (origin !== 'string' && origin !== 'array') return `must be ${maximum} or less`;
      return `must have ${maximum} ${parts[origin]} or fewer`;
    }
    case 'not_multiple_of':
      return `must be a multiple of ${issue.divisor}`;
    case 'invalid_value':
      return `must be ${issue.values.length === 1 ? '' : 'one of '}${issue.values.map(String).join(', ')}`;
    case 'invalid_format':
      return issue.format === 'url'
        ? 'must be a URL, such as https://deb.debian.org/debian'
        : `must have the form ${issue.pattern ?? issue.format}`;
    case 'custom':
    case 'invalid_element':
      return 'cannot be so';
    default:
      return '';
  }
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

const parts: Record<string, string> = { string: 'characters', array: 'entries' };

/** The error of an issue, with the place of the key it is about. */
export function faultOf(issue: z.core.$ZodIssue, schema: z.ZodType, locate: Locate): LodgeError {
  if (issue.code === 'unrecognized_keys') return unknownKey(issue, schema, locate);
  const { message, fix } = tell(issue);
  const nested = message === undefined ? deepest(issue) : undefined;
  if (nested !== undefined) return faultOf(nested, schema, locate);
  const where = locate(issue.path, issue.code === 'invalid_key' ? 'key' : 'value');
  return new LodgeError(
    'spec-value',
    `${keyWords(issue.path, where)}${message ?? 'is none of the known ones'}`,
    {
      where,
      ...(fix === undefined ? {} : { fix }),
    },
  );
}

/** A flag names its key already. */
function keyWords(path: readonly PropertyKey[], where: string): string {
  if (path.length === 0 || (path.length === 1 && where.startsWith('--'))) return '';
  return `'${path.join('.')}': `;
}

function unknownKey(
  { keys, path }: z.core.$ZodIssueUnrecognizedKeys,
  schema: z.ZodType,
  locate: Locate,
): LodgeError {
  const unknown = keys[0]!;
  const known = knownKeys(schema, path);
  const within = path.length === 0 ? '' : ` in '${path.join('.')}'`;
  return new LodgeError('spec-unknown-key', `unknown key ${quoted(unknown)}${within}`, {
    where: locate([...path, unknown], 'key'),
    fix: meantKey(unknown, known),
  });
}

function meantKey(unknown: string, known: readonly string[]): string {
  // {cpus:2} and {cpus 2} are keys without a value.
  const [, key = '', colon, value = ''] = /^([\w-]+)(:|\s)\s*(\S.*)$/s.exec(unknown) ?? [];
  if (known.includes(key))
    return `write a ${colon === ':' ? 'space after the colon' : 'colon after the key'}: ${key}: ${value}`;
  const near = nearest(unknown, known);
  return near === undefined ? `known keys: ${known.join(', ')}` : `did you mean '${near}'?`;
}

interface Told {
  /** Undefined where the fault lies deeper. */
  message?: string | undefined;
  fix?: string | undefined;
}

function tell(issue: z.core.$ZodIssue): Told {
  if (issue.input === undefined && isOfForm(issue.code)) {
    const key = issue.path.at(-1);
    const fix = key === undefined ? undefined : `add it: ${String(key)}: …`;
    return { message: missing(issue.message), fix };
  }
  if (issue.code === 'invalid_union') return tellUnion(issue);
  if (issue.code === 'invalid_key') {
    const inner = issue.issues[0];
    return inner === undefined ? {} : { message: inner.message, fix: fixOf(inner) };
  }
  return { message: `${issue.message}${contrast(issue.message, issue.input)}`, fix: fixOf(issue) };
}

function isOfForm(code: z.core.$ZodIssue['code']): boolean {
  return code === 'invalid_type' || code === 'invalid_value' || code === 'invalid_union';
}

/** What is not there has no form. */
function missing(wanted: string): string {
  return wanted.startsWith('must ') ? `is missing; it ${wanted}` : 'is missing';
}

/** Of the forms that a value may have, the one that was meant is that whose type it has. */
function tellUnion(issue: z.core.$ZodIssueInvalidUnion): Told {
  if (deepest(issue) !== undefined) return {};
  const branches = issue.errors.filter((issues) => issues.length > 0);
  const ofType = branches.filter((issues) => issues[0]!.code !== 'invalid_type' && issues[0]!.message !== '');
  const [first] = ofType;
  if (first !== undefined) {
    const words = ofType.flatMap(([one]) => (one!.code === 'invalid_value' ? one!.values.map(String) : []));
    const told = tell({ ...first[0]!, input: issue.input } as z.core.$ZodIssue);
    return { message: told.message, fix: meantWord(issue.input, words) ?? told.fix };
  }
  const wanted = branches.map(([one]) => (one!.message === '' ? tell(one!).message : one!.message));
  const joined = wanted.map((text, i) => (i === 0 ? text : text?.replace(/^must be /, ''))).join(', or ');
  const message = issue.message === '' ? joined : issue.message;
  if (message === '') return {};
  return { message: `${message}${contrast(message, issue.input)}`, fix: fixOfType(wanted, issue.input) };
}

/** Of a union whose branches look into the value, the fault that lies deepest: that branch was meant. */
function deepest(issue: z.core.$ZodIssue): z.core.$ZodIssue | undefined {
  if (issue.code !== 'invalid_union') return undefined;
  const inner = issue.errors.flat();
  const telling =
    inner.find(({ code }) => code === 'unrecognized_keys') ??
    inner.reduce<z.core.$ZodIssue | undefined>(
      (most, next) => (next.path.length > (most?.path.length ?? 0) ? next : most),
      undefined,
    );
  return telling === undefined
    ? undefined
    : ({ ...telling, path: [...issue.path, ...telling.path] } as z.core.$ZodIssue);
}

/** What stands there, where a message says what must. */
function contrast(message: string, input: unknown): string {
  if (!message.startsWith('must ') || message.startsWith('must not')) return '';
  if (input === null) return ', and nothing is there';
  const written = shown(input);
  return written === undefined ? '' : `, not ${written}`;
}

function shown(input: unknown): string | undefined {
  if (Array.isArray(input)) return 'a list';
  switch (typeof input) {
    case 'string':
      return quoted(input);
    case 'number':
    case 'boolean':
      return String(input);
    case 'object':
      return 'a mapping';
    default:
      return undefined;
  }
}

/** What to do about an issue, as far as that can be told. */
function fixOf(issue: z.core.$ZodIssue): string | undefined {
  if (issue.code === 'custom') {
    const fix: unknown = issue.params?.fix;
    return typeof fix === 'string' ? fix : undefined;
  }
  if (issue.code === 'invalid_value') return meantWord(issue.input, issue.values.map(String));
  return issue.code === 'invalid_type' ? fixOfType([issue.message], issue.input) : undefined;
}

/** YAML has a type for what is written without quotes; that is seldom meant where another was wanted. */
function fixOfType(wanted: readonly (string | undefined)[], input: unknown): string | undefined {
  const wants = (type: string): boolean => wanted.some((text) => text?.includes(type));
  if (input === null) return 'write a value after the colon, or leave the key out';
  if (typeof input === 'string') {
    const truth = /^(?:(yes|on)|no|off)$/i.exec(input);
    if (wants(plainTypes.boolean!) && truth !== null) return `write ${truth[1] !== undefined}`;
    if (wants('number') && input.trim() !== '' && Number.isFinite(Number(input)))
      return 'write it without quotes';
    if (wants(plainTypes.array!)) return `write a list: [${quoted(input)}]`;
    if (wants(plainTypes.object!) && !wants(plainTypes.string!))
      return 'write KEY: VALUE, with a space after the colon';
  }
  if ((typeof input === 'number' || typeof input === 'boolean') && wants(plainTypes.string!))
    return 'put it in quotes';
  if (Array.isArray(input) && wants(plainTypes.object!))
    return 'write KEY: VALUE for each, without dashes and brackets';
  return undefined;
}

function meantWord(input: unknown, words: readonly string[]): string | undefined {
  const near = typeof input === 'string' ? nearest(input, words) : undefined;
  return near === undefined ? undefined : `did you mean '${near}'?`;
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

/** YAML that people write, checked against a schema; every fault is told with file, line, column and the nearest known key. */

import { isMap, isScalar, LineCounter, parseDocument } from 'yaml';
import type * as z from 'zod';
import { LodgeError } from './errors.ts';

/**
 * Parses YAML text and checks it against a schema.
 * @param file name used in errors
 * @throws LodgeError `spec-syntax`, `spec-unknown-key` or `spec-value`, `where` being `file:line:column`
 */
export function parseYaml<S extends z.ZodType>(text: string, schema: S, file: string): z.output<S> {
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
    value = document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    throw new LodgeError('spec-syntax', (cause as Error).message, { where: file, cause });
  }
  return checkValue(value, schema, locate);
}

/** Turns a path in a value into what a person knows it by: a file position, a flag. */
export type Locate = (path: readonly PropertyKey[], part?: 'key' | 'value') => string;

/**
 * Checks a value against a schema.
 */
export function checkValue<S extends z.ZodType>(value: unknown, schema: S, locate: Locate): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  // A key that is not known explains more than a value: it may be where the right value went.
  const { issues } = result.error;
  throw faultOf(issues.find((issue) => issue.code === 'unrecognized_keys') ?? issues[0]!, schema, locate);
}

function faultOf(issue: z.core.$ZodIssue, schema: z.ZodType, locate: Locate): LodgeError {
  const key = issue.path.join('.');
  if (issue.code === 'unrecognized_keys') {
    const unknown = issue.keys[0]!;
    const known = knownKeys(schema, issue.path);
    const near = nearest(unknown, known);
    return new LodgeError('spec-unknown-key', `unknown key '${unknown}'${key === '' ? '' : ` in '${key}'`}`, {
      where: locate([...issue.path, unknown], 'key'),
      fix: near === undefined ? `known keys: ${known.join(', ')}` : `did you mean '${near}'?`,
    });
  }
  if (issue.code === 'invalid_union') {
    // The branch that got furthest is the one the person meant.
    const branches = issue.errors.filter((issues) => issues.length > 0);
    const inner = branches.flat();
    const telling =
      inner.find(({ code }) => code === 'unrecognized_keys') ??
      inner.reduce((deepest, next) => (next.path.length > deepest.path.length ? next : deepest), inner[0]!);
    if (telling.path.length > 0 || telling.code === 'unrecognized_keys') {
      const nested = { ...telling, path: [...issue.path, ...telling.path] } as z.core.$ZodIssue;
      return faultOf(nested, schema, locate);
    }
    const wanted = branches.map((issues) => issues[0]!.message).join('; or ');
    return new LodgeError('spec-value', `${key === '' ? '' : `'${key}': `}${wanted}`, {
      where: locate(issue.path),
    });
  }
  return new LodgeError('spec-value', `${key === '' ? '' : `'${key}': `}${issue.message}`, {
    where: locate(issue.path),
  });
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
  let bestDistance = Math.max(2, Math.ceil(written.length / 3)) + 1;
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

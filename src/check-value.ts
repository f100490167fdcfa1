/** Values against schemas, wherever they were written: apart from YAML, which those of flags and of requests never were. */

import type * as z from 'zod';
import { retold } from './errors.ts';
import { faultOf, type Locate, wordsOf } from './value-faults.ts';

/** How many faults are told at once: the first in full, the others in a line each. */
const mostFaults = 10;

/**
 * Checks a value against a schema.
 * @throws LodgeError for the first fault, the others in its detail
 */
export function checkValue<S extends z.ZodType>(value: unknown, schema: S, locate: Locate): z.output<S> {
  const result = schema.safeParse(value, { reportInput: true, error: wordsOf });
  if (result.success) return result.data;
  // A key that is not known explains more than a value: it may be where the right value went.
  const isUnknownKey = ({ code }: z.core.$ZodIssue): boolean => code === 'unrecognized_keys';
  const issues = result.error.issues
    .flatMap(eachKey)
    .toSorted((a, b) => Number(isUnknownKey(b)) - Number(isUnknownKey(a)));
  // Some are found in two ways.
  const faults = new Map(
    issues
      .map((issue) => faultOf(issue, schema, locate))
      .map((fault) => [`${fault.where} ${fault.message}`, fault]),
  );
  const [first, ...others] = faults.values();
  if (others.length === 0) throw first!;
  const more = others.length - mostFaults;
  throw retold(first!, {
    detail: [
      ...others
        .slice(0, mostFaults)
        .map(({ where, message, fix }) => `also ${where}: ${message}${fix === undefined ? '' : `; ${fix}`}`),
      ...(more > 0 ? [`and ${more} more`] : []),
    ].join('\n'),
  });
}

/** Keys that are not known are one issue where they stand together, and a fault each. */
function eachKey(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  return issue.code === 'unrecognized_keys' ? issue.keys.map((key) => ({ ...issue, keys: [key] })) : [issue];
}

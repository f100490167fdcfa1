/** What the readers of benchmarks' output share: refusing what is not understood, and JSON of lodge's own programs. Pure. */

import type * as z from 'zod';
import { LodgeError } from '../../errors.ts';

/** An error `benchmark-output` that shows the end of what was printed. */
export function outputError(program: string, problem: string, stdout: string): LodgeError {
  const lines = stdout.trimEnd().split('\n').slice(-8);
  // Control characters would be obeyed by the terminal that this is shown on.
  const detail = lines.map((line) => line.slice(0, 200).replace(/\p{Cc}/gu, '?')).join('\n');
  return new LodgeError('benchmark-output', `${program}: ${problem}`, detail === '' ? {} : { detail });
}

/** The one line of JSON that a program of ours prints, checked against its shape. */
export function parseJsonLine<Shape extends z.ZodType>(
  program: string,
  shape: Shape,
  stdout: string,
): z.output<Shape> {
  let value: unknown;
  try {
    value = JSON.parse(stdout);
  } catch {
    throw outputError(program, 'did not print one line of JSON', stdout);
  }
  const result = shape.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const where = issue === undefined || issue.path.length === 0 ? '' : `${issue.path.join('.')}: `;
  throw outputError(program, `printed what lodge does not understand: ${where}${issue?.message}`, stdout);
}

/** Puts a command under the yardstick (study-side/yardstick.c) and reads what that adds to its output. Pure. */

import { join } from 'node:path';
import * as z from 'zod';
import type { Found } from '../samples.ts';
import type { BenchmarkCommand } from './benchmark.ts';
import { outputError } from './output.ts';

/** Between two looks at the memory of a run; the yardstick itself bounds what they cost. */
const lookEveryMs = 50;

/** The command, run and watched by the yardstick. Input and environment stay as they are. */
export function wrap(command: BenchmarkCommand, programsDir: string): BenchmarkCommand {
  return {
    ...command,
    argv: [join(programsDir, 'yardstick'), '-i', `${lookEveryMs}`, '--', ...command.argv],
  };
}

/** Clocks at one moment. Numbers of this size are exact to a quarter of a microsecond. */
export interface Moment {
  monotonicNs: number;
  realtimeNs: number;
}

export interface Yardstick {
  /** What the command itself wrote. */
  stdout: string;
  start: Moment;
  end: Moment & {
    /** The command's exit code; 128+n for a signal, 125 to 127 when it could not be started. */
    code: number;
    /** Absent when the command ended before its memory was looked at. */
    pages?: NonNullable<Found['ownPages']>;
  };
}

// Not `int()`, which refuses numbers as large as today's nanoseconds.
const count = z.number().nonnegative();
const moment = { monotonicNs: count, realtimeNs: count };
const startShape = z.strictObject({ yardstick: z.literal('start'), ...moment });
const endShape = z.strictObject({
  yardstick: z.literal('end'),
  ...moment,
  code: z.int().min(0).max(255),
  pages: z.strictObject({ hugetlbBytes: count, transparentBytes: count, smallBytes: count }).nullable(),
});

/**
 * Takes the yardstick's first and last line off what a command wrote.
 * @throws LodgeError `benchmark-output` when one is missing, as when the yardstick was killed
 */
export function readYardstick(stdout: string): Yardstick {
  const fail = (problem: string) => outputError('yardstick', problem, stdout);
  const firstEnd = stdout.indexOf('\n');
  const lastStart = stdout.lastIndexOf('\n{"yardstick":"end"');
  if (firstEnd < 0) throw fail('its first line is missing');
  if (lastStart <= firstEnd) throw fail('its last line is missing: it was ended before the command was');
  if (!stdout.endsWith('}\n')) throw fail('its last line is cut off, or not the last');
  const start = startShape.safeParse(parseJson(stdout.slice(0, firstEnd)));
  const end = endShape.safeParse(parseJson(stdout.slice(lastStart)));
  if (!start.success) throw fail('its first line is not one that lodge understands');
  if (!end.success) throw fail('its last line is not one that lodge understands');
  const { yardstick: _start, ...startMoment } = start.data;
  const { yardstick: _end, pages, ...endMoment } = end.data;
  return {
    stdout: stdout.slice(firstEnd + 1, lastStart),
    start: startMoment,
    end: pages === null ? endMoment : { ...endMoment, pages },
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

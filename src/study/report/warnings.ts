/** What must be said wherever timings of some guests are shown. */

import type { Environment } from '../cells.ts';
import type { HostDescription, Study } from '../samples.ts';

export const emulationWarning =
  'Emulated: guests under TCG are interpreted in software. Their timings say nothing about virtualization overhead.';

export const umlNote =
  'User-mode Linux: paging is not nested and system calls are traced, so this is no model of a guest under KVM.';

/** Warnings that stand over a figure or table with series of these environments. */
export function warningsFor(environments: Iterable<Environment>): string[] {
  return [...environments].includes('tcg') ? [emulationWarning] : [];
}

/** Notes that stand under it. */
export function notesFor(environments: Iterable<Environment>): string[] {
  return [...environments].includes('uml') ? [umlNote] : [];
}

/** What is to be known of the host before any of its numbers. */
export function hostNote({ virtualization }: HostDescription): string | undefined {
  return virtualization === undefined
    ? undefined
    : `This host is ${virtualization}: its "native" is what that gives, others may share its hardware, and guests under KVM are nested.`;
}

const mostLinesNamed = 10;

/** Lines of results that are in no number, and why: `lines 3, 4 of results.jsonl could not be read, and are left out`. */
export function leftOutNotes({ unreadableLines = [], repeatedLines = [] }: Study): string[] {
  return [
    ...noteOf(unreadableLines, 'could not be read'),
    ...noteOf(
      repeatedLines,
      repeatedLines.length === 1 ? 'is of a run that is there already' : 'are of runs that are there already',
    ),
  ];
}

function noteOf(lines: readonly number[], why: string): string[] {
  if (lines.length === 0) return [];
  const [noun, verb] = lines.length === 1 ? ['line', 'is'] : ['lines', 'are'];
  const more = lines.length - mostLinesNamed;
  const named = `${lines.slice(0, mostLinesNamed).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
  return [`${noun} ${named} of results.jsonl ${why}, and ${verb} left out`];
}

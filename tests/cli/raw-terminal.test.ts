import { expect, it } from 'vitest';
import { threeTimes } from '../../src/cli/raw-terminal.ts';

/** What is typed, and how many milliseconds after the start. @returns whether each piece made it three */
function typed(pieces: readonly (readonly [text: string, atMs: number])[]): boolean[] {
  let nowMs = 0;
  const isEscape = threeTimes(() => nowMs);
  return pieces.map(([text, atMs]) => {
    nowMs = atMs;
    return isEscape(Buffer.from(text));
  });
}

const key = '\u001d';

it('takes three of the key within a second as leaving, in one piece or in several', () => {
  expect(typed([[`${key}${key}${key}`, 5000]])).toEqual([true]);
  expect(
    typed([
      [key, 5000],
      [`text${key}${key}`, 5100],
      [key, 6000],
    ]),
  ).toEqual([false, false, true]);
});

it('leaves the key to the command when it comes slowly, less often, or between others', () => {
  expect(
    typed([
      [key, 0],
      [key, 500],
      [key, 1001],
    ]),
  ).toEqual([false, false, false]);
  expect(typed([[`${key}${key}x${key}${key}`, 0]])).toEqual([false]);
});

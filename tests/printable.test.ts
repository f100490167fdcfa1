import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { table } from '../src/cli/table.ts';
import { describeError, LodgeError } from '../src/errors.ts';
import { printable } from '../src/printable.ts';

const hostile = '\u001b]0;title\u0007\u001b[2J\u001b[31mred\u009b1m\u001bP+q\u001b\\\r\b\u0000end';
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not come through
const acts = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/;

describe('text from elsewhere', () => {
  it('has nothing left that a terminal would act on', () => {
    expect(printable(hostile)).toMatch(/red.*end$/);
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(printable(text)).not.toMatch(acts);
        expect(printable(printable(text))).toBe(printable(text));
      }),
    );
  });

  it('is not hidden by a title that never ends', () => {
    expect(printable('\u001b]0;title\nnext\u0007 and more')).toBe('0;title\nnext and more');
    expect(printable('\u001b]0;title')).toBe('0;title');
    expect(printable('a\u001b]0;title\u001b\\b')).toBe('ab');
  });

  it('is so in errors and in tables, where it stays in its line', () => {
    const error = new LodgeError('internal', hostile, {
      where: hostile,
      fix: hostile,
      detail: `a\n${hostile}`,
    });
    expect(describeError(error)).not.toMatch(acts);
    expect(describeError(new Error(hostile))).not.toMatch(acts);
    const shown = table([['NAME'], [`${hostile}\nFAKE  row`]]);
    expect(shown).not.toMatch(acts);
    expect(shown.split('\n')).toHaveLength(3);
  });
});

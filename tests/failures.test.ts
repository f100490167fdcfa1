import { describe, expect, it } from 'vitest';
import { LodgeError } from '../src/errors.ts';
import { throwFirst } from '../src/failures.ts';

describe('several failures', () => {
  it('are none when there are none', () => {
    expect(() => throwFirst([])).not.toThrow();
  });

  it('are told as the first, with a line for each other', () => {
    const first = new LodgeError('image-not-found', 'no a', { fix: 'lodge image ls', detail: 'of old' });
    expect(() => throwFirst([first, new LodgeError('usage', 'b is used'), new Error('c')])).toThrow(
      expect.objectContaining({
        code: 'image-not-found',
        message: 'no a',
        fix: 'lodge image ls',
        detail: 'of old\nalso: b is used\nalso: c',
      }),
    );
  });

  it('that are one, or of no kind lodge knows, stay what they are', () => {
    const one = new LodgeError('usage', 'a');
    expect(() => throwFirst([one])).toThrow(one);
    const strange = new TypeError('b');
    expect(() => throwFirst([strange, one])).toThrow(strange);
  });
});

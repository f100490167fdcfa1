import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseBitmap } from '../../src/machine/bitmap.ts';
import { formatCpuList, parseCpuList } from '../../src/units.ts';

/** As hwloc_bitmap_snprintf() writes a set: words of 32 bits, zero words in the middle left empty. */
function formatBitmap(numbers: readonly number[]): string {
  const words: number[] = [];
  for (const number of numbers) words[Math.floor(number / 32)] = 0;
  for (const number of new Set(numbers)) words[Math.floor(number / 32)]! += 2 ** (number % 32);
  const texts = Array.from(words, (word, index) =>
    word === undefined && index > 0 ? '' : `0x${(word ?? 0).toString(16).padStart(8, '0')}`,
  );
  return texts.length === 0 ? '0x0' : texts.reverse().join(',');
}

const sets = fc.uniqueArray(fc.integer({ min: 0, max: 2047 }), { maxLength: 100 });

describe('parseBitmap', () => {
  it.each([
    ['0x0', []],
    ['0x00000003', [0, 1]],
    ['0x00000001,0x80000000', [31, 32]],
    ['0x00000001,,0x00000001', [0, 64]],
    ['0x00000002,,', [65]],
  ])('reads %s', (text, numbers) => {
    expect(parseBitmap(text)).toEqual(numbers);
  });

  it.each(['', '3', '0xf...f', '0x123456789', '0xg', '0x1 0x2'])('refuses %j', (text) => {
    expect(() => parseBitmap(text)).toThrow(/not a bitmap/);
  });

  it('reads back every set', () => {
    fc.assert(
      fc.property(sets, (numbers) => {
        expect(parseBitmap(formatBitmap(numbers))).toEqual([...numbers].sort((a, b) => a - b));
      }),
    );
  });

  it('agrees with the list form of the kernel', () => {
    fc.assert(
      fc.property(sets, (numbers) => {
        expect(parseCpuList(formatCpuList(parseBitmap(formatBitmap(numbers))))).toEqual(
          [...numbers].sort((a, b) => a - b),
        );
      }),
    );
  });

  it('never gives anything but ascending numbers or an error', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'0x19af,. ') }), (text) => {
        try {
          const numbers = parseBitmap(text);
          expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
        } catch (error) {
          expect(error).toMatchObject({ code: 'machine-probe' });
        }
      }),
    );
  });
});

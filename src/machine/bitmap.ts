/** Sets of CPUs and NUMA nodes in the form hwloc writes them. */

import { LodgeError } from '../errors.ts';

/**
 * Reads a bitmap of hwloc's XML (`0x00000003`, `0xff,,0x0000000f`); gives the numbers in it, ascending.
 * Words of 32 bits, the most significant first, an empty word being zero.
 * Format: hwloc_bitmap_snprintf() of hwloc 2.
 * @throws LodgeError `machine-probe` when it is no bitmap, or an endless one (`0xf...f`)
 */
export function parseBitmap(text: string): number[] {
  const words = text.trim().split(',');
  const numbers: number[] = [];
  words.forEach((word, position) => {
    if (!/^(?:0x[0-9a-f]{1,8})?$/i.test(word) || (word === '' && words.length === 1)) {
      throw new LodgeError('machine-probe', `'${text}' is not a bitmap that hwloc writes`);
    }
    const bits = word === '' ? 0 : Number(word);
    const first = (words.length - 1 - position) * 32;
    for (let bit = 0; bit < 32; bit++) if ((bits >>> bit) & 1) numbers.push(first + bit);
  });
  return numbers.sort((a, b) => a - b);
}

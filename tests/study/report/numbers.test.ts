import { describe, expect, it } from 'vitest';
import {
  formatMessageSize,
  formatNumber,
  formatPercent,
  formatPercentInterval,
  formatSignificant,
  formatTolerance,
} from '../../../src/study/report/numbers.ts';

const plain = (text: string) => text.replaceAll('\u202F', ' ');

describe('numbers for people', () => {
  it.each([
    [80_000_000, '80 000 000'],
    [9871, '9871'],
    [-0.05, '−0.05'],
    [1e-7, '10⁻⁷'],
    [Number.NaN, '–'],
  ])('%d is %s', (value, text) => expect(plain(formatNumber(value))).toBe(text));

  it.each([
    [0.0145132, '0.01451'],
    [76.4821, '76.48'],
    [33_571.4, '33 571'],
    [0, '0'],
    [Number.POSITIVE_INFINITY, '–'],
  ])('%d to four digits is %s', (value, text) => expect(plain(formatSignificant(value, 4))).toBe(text));

  it('give overheads a sign, and nothing a sign of its own', () => {
    expect(plain(formatPercent(0.0251))).toBe('+2.5 %');
    expect(plain(formatPercent(-0.0251))).toBe('−2.5 %');
    expect(plain(formatPercent(-0.0001))).toBe('0.0 %');
    expect(plain(formatPercent(13.2))).toBe('+1320 %');
    expect(plain(formatPercentInterval(-0.003, -0.009, 0.004))).toBe('−0.3 % [−0.9, +0.4]');
    expect(plain(formatTolerance(0.03))).toBe('±3 %');
  });

  it.each([
    [1, '1 B'],
    [512, '512 B'],
    [65_536, '64 KiB'],
    [4_194_304, '4 MiB'],
    [1500, '1500 B'],
  ])('a message of %d bytes is %s', (bytes, text) => expect(plain(formatMessageSize(bytes))).toBe(text));
});

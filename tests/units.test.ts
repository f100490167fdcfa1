import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LodgeError } from '../src/errors.ts';
import {
  formatCpuList,
  formatSize,
  formatTime,
  parseCpuList,
  parseSizeBytes,
  parseTimeMs,
} from '../src/units.ts';

describe('sizes', () => {
  it.each([
    ['512M', 512 * 1024 ** 2],
    ['4G', 4 * 1024 ** 3],
    ['1.5GiB', 1.5 * 1024 ** 3],
    ['64KB', 65_536],
    ['100B', 100],
  ])('reads %s', (text, bytes) => {
    expect(parseSizeBytes(text)).toBe(bytes);
  });
  it.each(['4', 'G', '4X', '-1G', '1e3M', '', '4 G G', '0.3K', '99999999T'])('refuses %j', (text) => {
    expect(() => parseSizeBytes(text)).toThrow(LodgeError);
  });
  it('writes what it can read back', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4096 }), fc.constantFrom('K', 'M', 'G'), (n, unit) => {
        const bytes = parseSizeBytes(`${n}${unit}`);
        const text = formatSize(bytes);
        // Beyond one decimal the text is rounded, and only meant for people.
        if (!text.includes('.')) expect(parseSizeBytes(text)).toBe(bytes);
      }),
    );
  });
});

describe('times', () => {
  it.each([
    ['500ms', 500],
    ['30s', 30_000],
    ['2m', 120_000],
    ['1.5h', 5_400_000],
  ])('reads %s', (text, ms) => {
    expect(parseTimeMs(text)).toBe(ms);
  });
  it.each(['30', '2 minutes', '', '-1s'])('refuses %j', (text) => {
    expect(() => parseTimeMs(text)).toThrow(LodgeError);
  });
  it('writes them for people', () => {
    expect([850, 12_340, 60_000, 90_000].map(formatTime)).toEqual(['850ms', '12.3s', '1m', '1m30s']);
  });
});

describe('lists of CPUs', () => {
  it('are read and written as the kernel does', () => {
    expect(parseCpuList('0-3,8,10-11')).toEqual([0, 1, 2, 3, 8, 10, 11]);
    expect(formatCpuList([11, 10, 8, 0, 1, 2, 3])).toBe('0-3,8,10-11');
  });
  it('survive both ways', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: 0, max: 512 })), (cpus) => {
        expect(parseCpuList(formatCpuList(cpus))).toEqual([...cpus].sort((a, b) => a - b));
      }),
    );
  });
  it.each(['3-1', 'a', '1-2-3', '0-99999999'])('refuse %j', (text) => {
    expect(() => parseCpuList(text)).toThrow(LodgeError);
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LodgeError } from '../src/errors.ts';
import {
  formatBandwidth,
  formatCpuList,
  formatDelay,
  formatPercentage,
  formatSize,
  formatTime,
  parseBandwidthBitsPerSecond,
  parseCpuList,
  parseDelayMs,
  parsePercentage,
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
    const times = [850, 12_340, 59_960, 90_000, 119_700, 3_599_600, 7_500_000, 86_399_000, 263_000_000];
    const formatted = ['850ms', '12.3s', '1m', '1m30s', '2m', '1h', '2h5m', '1d', '3d1h'];
    expect(times.map(formatTime)).toEqual(formatted);
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

describe('what links do to frames', () => {
  it.each([
    ['10Gbit', 1e10],
    ['1.5mbit', 1.5e6],
    ['64kbit/s', 64_000],
    ['9600bit', 9600],
  ])('has a bandwidth: %s', (text, bits) => {
    expect(parseBandwidthBitsPerSecond(text)).toBe(bits);
  });
  it.each([
    ['50us', 0.05],
    ['10ms', 10],
    ['1.5s', 1500],
    ['0s', 0],
    ['0.1us', 0.0001],
  ])('has a delay: %s', (text, ms) => {
    expect(parseDelayMs(text)).toBe(ms);
  });
  it.each([
    ['0.1%', 0.001],
    ['100%', 1],
    ['0 %', 0],
  ])('has a share: %s', (text, share) => {
    expect(parsePercentage(text)).toBeCloseTo(share, 12);
  });
  it.each(['10', '10G', '0bit', '10GB', '-1Mbit', '99999999Tbit', ''])('is not the bandwidth %j', (text) => {
    expect(() => parseBandwidthBitsPerSecond(text)).toThrow(LodgeError);
  });
  it.each([
    ['1bit', 'slow'],
    ['0.5bit', 'slow'],
    ['1001Tbit', 'fast'],
  ])('%s is too %s for a link', (text, how) => {
    expect(() => parseBandwidthBitsPerSecond(text)).toThrow(
      expect.objectContaining({
        message: `'${text}' is too ${how} for a link`,
        fix: 'from 8bit to 1000Tbit',
      }),
    );
  });
  it.each(['10', '1m', '61s', '-1ms', 'ms'])('is not the delay %j', (text) => {
    expect(() => parseDelayMs(text)).toThrow(LodgeError);
  });
  it.each(['0.1', '101%', '-1%', '%'])('is not the share %j', (text) => {
    expect(() => parsePercentage(text)).toThrow(LodgeError);
  });
  it('is written as it is read', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 8, max: 1e13 }),
        fc.integer({ min: 0, max: 6e10 }),
        fc.nat(1e6),
        (bits, ns, n) => {
          expect(parseBandwidthBitsPerSecond(formatBandwidth(bits))).toBeCloseTo(bits, -2);
          expect(parseDelayMs(formatDelay(ns / 1e6))).toBeCloseTo(ns / 1e6, 5);
          expect(parsePercentage(formatPercentage(n / 1e6))).toBeCloseTo(n / 1e6, 9);
        },
      ),
    );
  });
});

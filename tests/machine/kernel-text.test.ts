import { describe, expect, it } from 'vitest';
import {
  chosenWord,
  meminfoBytes,
  parseCapabilities,
  parseCount,
  parseFields,
  parseMountinfo,
  parseResourceLimit,
  parseSwitch,
} from '../../src/machine/kernel-text.ts';

describe('texts of /proc and /sys', () => {
  it('takes the first of several fields of one name', () => {
    const fields = parseFields('processor\t: 0\nmodel name\t: A: B\nprocessor\t: 1\n');
    expect(fields.get('processor')).toBe('0');
    expect(fields.get('model name')).toBe('A: B');
  });

  it('reads memory in bytes, and nothing where the unit is another', () => {
    const fields = parseFields('MemTotal:   16 kB\nHugePages_Total:  3\n');
    expect(meminfoBytes(fields, 'MemTotal')).toBe(16384);
    expect(meminfoBytes(fields, 'HugePages_Total')).toBeUndefined();
    expect(meminfoBytes(fields, 'MemAvailable')).toBeUndefined();
  });

  it('reads the chosen word', () => {
    expect(chosenWord('always defer+madvise [madvise] never\n')).toBe('madvise');
    expect(chosenWord(undefined)).toBeUndefined();
  });

  it('reads resource limits', () => {
    const text = 'Max locked memory         8388608              unlimited            bytes     \n';
    expect(parseResourceLimit(text, 'Max locked memory')).toEqual({ soft: 8388608, hard: undefined });
    expect(parseResourceLimit(text, 'Max open files')).toEqual({ soft: undefined, hard: undefined });
  });

  it('reads counts and switches strictly', () => {
    expect(parseCount('42\n')).toBe(42);
    expect(parseCount('max\n')).toBeUndefined();
    expect(parseCount('')).toBeUndefined();
    expect([parseSwitch('Y\n'), parseSwitch('0\n'), parseSwitch('forceoff')]).toEqual([
      true,
      false,
      undefined,
    ]);
  });

  it('reads mounts with escaped paths and optional fields', () => {
    const text =
      '36 35 98:0 /sub /mnt/a\\040b rw,noatime master:1 - hugetlbfs none rw,pagesize=2M\nnot a mount\n';
    expect(parseMountinfo(text)).toEqual([
      { root: '/sub', path: '/mnt/a b', type: 'hugetlbfs', options: ['rw', 'noatime', 'rw', 'pagesize=2M'] },
    ]);
  });

  it('reads capabilities', () => {
    expect(parseCapabilities('000001ffffffffff')).toContain('SYS_ADMIN');
    expect(parseCapabilities('0000000000004000')).toEqual(['IPC_LOCK']);
    expect(parseCapabilities('garbage')).toEqual([]);
  });
});

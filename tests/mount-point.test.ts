import { mkdtempSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { hostIoError } from '../src/errors.ts';
import { mountPointOf } from '../src/mount-point.ts';

it('finds where a filesystem is mounted, also of what is not there', () => {
  expect(mountPointOf('/')).toBe('/');
  expect(mountPointOf('/proc/self/status')).toBe('/proc');
  expect(mountPointOf('/proc/nope/below')).toBe('/proc');
  const base = mkdtempSync(join(tmpdir(), 'lodge-mount-'));
  symlinkSync('/proc/sys', join(base, 'link'));
  expect(mountPointOf(join(base, 'link/kernel'))).toBe('/proc');
  const found = mountPointOf(base);
  expect(statSync(found).dev).toBe(statSync(base).dev);
  rmSync(base, { recursive: true });
  expect(mountPointOf(base)).toBe(found);
});

it('is what a full disk is told by, for what was being written is gone', () => {
  const full = Object.assign(new Error('no space'), { code: 'ENOSPC' });
  const { fix } = hostIoError('writing', '/proc/nope/object', full);
  expect(fix).toContain('`df -h /proc`');
});

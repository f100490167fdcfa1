import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readAtMost } from '../src/bounded-file.ts';

let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'lodge-bounded-'));
});

afterEach(() => rmSync(dir, { recursive: true }));

it('reads files whole that are no larger than they may be', () => {
  const path = join(dir, 'file');
  writeFileSync(path, 'x'.repeat(100));
  expect(readAtMost(path, 100)?.toString()).toBe('x'.repeat(100));
  expect(readAtMost(path, 99)).toBeUndefined();
  writeFileSync(path, '');
  expect(readAtMost(path, 0)?.length).toBe(0);
});

it('reads files of the kernel, which tell no size', () => {
  expect(readAtMost('/proc/version', 4096)?.toString()).toBe(readFileSync('/proc/version', 'utf8'));
  expect(readAtMost('/proc/version', 4)).toBeUndefined();
});

it('reads pipes, as far as they may go', () => {
  const path = join(dir, 'pipe');
  execFileSync('mkfifo', [path]);
  for (const [limit, bytes] of [
    [3_000_000, 3_000_000],
    [2_999_999, undefined],
  ] as const) {
    const writer = spawn('sh', ['-c', 'head -c 3000000 /dev/zero >"$0"', path], { stdio: 'ignore' });
    expect(readAtMost(path, limit)?.length).toBe(bytes);
    writer.kill();
  }
});

it('begins with no device, which might never end', () => {
  expect(() => readAtMost('/dev/zero', 100)).toThrow('it is a device');
});

it('says what the operating system says', () => {
  expect(() => readAtMost(join(dir, 'none'), 100)).toThrow('ENOENT');
  expect(() => readAtMost(dir, 100)).toThrow('EISDIR');
});

import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { makeDirectory } from '../src/make-directory.ts';

let base: string;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'lodge-directory-'));
});

afterEach(() => rmSync(base, { recursive: true }));

it('makes a directory and those above it', () => {
  const path = join(base, 'a/b/c');
  makeDirectory(path, 0o700);
  makeDirectory(path, 0o700);
  expect([path, join(base, 'a')].map((made) => statSync(made).mode & 0o777)).toEqual([0o700, 0o700]);
});

it('says what is in the way', () => {
  writeFileSync(join(base, 'file'), '');
  expect(() => makeDirectory(join(base, 'file'))).toThrow('EEXIST');
  expect(() => makeDirectory(join(base, 'file/below'))).toThrow('ENOTDIR');
});

it('ends where nothing can be made', () => {
  expect(() => makeDirectory('/proc/nope/below')).toThrow('ENOENT');
});

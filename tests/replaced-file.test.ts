import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { replacedFile, writeReplacing } from '../src/replaced-file.ts';

let base: string;

beforeEach(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), 'lodge-replaced-')));
  writeFileSync(join(base, 'file'), '');
  symlinkSync('file', join(base, 'link'));
  symlinkSync('nowhere', join(base, 'broken'));
});

afterEach(() => rmSync(base, { recursive: true }));

it('is a file, what a link leads to, or a name that is free', () => {
  const found = ['file', 'link', 'new'].map((name) => replacedFile(join(base, name)));
  expect(found).toEqual(['file', 'file', 'new'].map((name) => join(base, name)));
});

it('is never a device, a directory or a link that leads nowhere', () => {
  for (const path of ['/dev/null', base, join(base, 'broken')]) {
    expect(() => replacedFile(path)).toThrow(expect.objectContaining({ code: 'host-io', where: path }));
  }
});

it('is written whole, or is left as it was', () => {
  const path = join(base, 'link');
  writeReplacing(path, ['one ', 'two'], 'a test');
  expect([readFileSync(join(base, 'file'), 'utf8'), readlinkSync(path)]).toEqual(['one two', 'file']);
  function* broken() {
    yield 'half';
    throw new Error('no more');
  }
  expect(() => writeReplacing(path, broken(), 'a test')).toThrow(
    expect.objectContaining({ code: 'host-io', message: 'a test failed: no more' }),
  );
  expect(readFileSync(join(base, 'file'), 'utf8')).toBe('one two');
  expect(readdirSync(base).sort()).toEqual(['broken', 'file', 'link']);
});

it('tells of a full disk what to do about a file of one’s own', () => {
  function* full(): Generator<string> {
    yield 'some';
    throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
  }
  const path = join(base, 'file');
  expect(() => writeReplacing(path, full(), 'a test')).toThrow(
    expect.objectContaining({
      code: 'disk-full',
      fix: expect.stringMatching(/^free space there \(`df -h \/[^`]*`\), or write it elsewhere$/),
    }),
  );
});

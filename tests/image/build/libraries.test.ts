import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { DynamicElf } from '../../../src/image/build/dynamic.ts';
import { readDynamic } from '../../../src/image/build/dynamic.ts';
import { findLibrary, parseLinkerCache, rpathOf } from '../../../src/image/build/libraries.ts';
import { interpretersOf } from '../../../src/image/build/script.ts';
import { withFileBytes } from '../../../src/image/bytes.ts';
import { temporaryDirectory } from '../samples.ts';

const root = temporaryDirectory();
const own = withFileBytes('/bin/true', readDynamic)!;
const search = { cache: new Map<string, string[]>(), libraryPath: [] };

function library(path: string): string {
  const full = join(root, path);
  mkdirSync(join(full, '..'), { recursive: true });
  copyFileSync('/bin/true', full);
  return full;
}

function requester(elf: Partial<DynamicElf>, inheritedRpath: string[] = []) {
  return {
    path: join(root, 'app/bin/tool'),
    elf: { ...own, rpath: [], runpath: [], ...elf },
    inheritedRpath,
  };
}

describe('parseLinkerCache', () => {
  it('keeps every candidate of a name', () => {
    const text = `3 libs found in cache \`/etc/ld.so.cache'
\tlibz.so.1 (libc6,x86-64, hwcap: "x86-64-v3") => /lib/hw/libz.so.1
\tlibz.so.1 (libc6,x86-64) => /lib/libz.so.1
\tlinux-vdso.so.1 (libc6,x86-64)
`;
    expect([...parseLinkerCache(text)]).toEqual([['libz.so.1', ['/lib/hw/libz.so.1', '/lib/libz.so.1']]]);
  });
});

describe('findLibrary', () => {
  it('searches as ld.so does: RPATH, LD_LIBRARY_PATH, RUNPATH, cache', () => {
    const byOrigin = library('app/lib/liba.so');
    const byPath = library('path/liba.so');
    const byRunpath = library('run/liba.so');
    const cached = library('cached/liba.so');
    const all = { cache: new Map([['liba.so', [cached]]]), libraryPath: [join(root, 'path')] };
    expect(findLibrary('liba.so', requester({ rpath: ['$ORIGIN/../lib'] }), all)).toEqual([byOrigin]);
    expect(findLibrary('liba.so', requester({}, [join(root, 'app/lib')]), all)).toEqual([byOrigin]);
    expect(findLibrary('liba.so', requester({ runpath: [join(root, 'run')] }), all)).toEqual([byPath]);
    const noPath = { ...all, libraryPath: [] };
    expect(findLibrary('liba.so', requester({ runpath: [`${root}/run`] }), noPath)).toEqual([byRunpath]);
    expect(findLibrary('liba.so', requester({}), noPath)).toEqual([cached]);
    expect(findLibrary('libb.so', requester({}), all)).toEqual([]);
  });

  it('takes a name with a slash as a path, and nothing for another machine or of another kind', () => {
    const path = library('direct/libc.so');
    expect(findLibrary(path, requester({}), search)).toEqual([path]);
    expect(findLibrary(path, requester({ machine: 40 }), search)).toEqual([]);
    expect(findLibrary(path, requester({ bits: 32 }), search)).toEqual([]);
    writeFileSync(join(root, 'direct/text.so'), 'INPUT(-lc)');
    expect(findLibrary(join(root, 'direct/text.so'), requester({}), search)).toEqual([]);
    expect(findLibrary(join(root, 'direct'), requester({}), search)).toEqual([]);
  });

  it('ignores RPATH beside RUNPATH, and hands RPATH down', () => {
    const both = requester({ rpath: ['/a'], runpath: ['/b'] }, ['/c']);
    expect(rpathOf(both)).toEqual(['/c']);
    expect(rpathOf(requester({ rpath: ['$ORIGIN/x', '/a/$PLATFORM'] }, ['/c']))).toEqual([
      join(root, 'app/bin/x'),
      `/a/${own.machine === 183 ? 'aarch64' : 'x86_64'}`,
      '/c',
    ]);
  });
});

describe('interpretersOf', () => {
  const of = (text: string) => interpretersOf(Buffer.from(text));

  it('names the interpreter, and what env is to find', () => {
    expect(of('#!/bin/sh -e\necho')).toEqual(['/bin/sh']);
    expect(of('#! /usr/bin/perl -w')).toEqual(['/usr/bin/perl']);
    expect(of('#!/usr/bin/env python3\n')).toEqual(['/usr/bin/env', 'python3']);
    expect(of('#!/usr/bin/env -S A=1 node --no-warnings\n')).toEqual(['/usr/bin/env', 'node']);
  });

  it('finds none where there is none', () => {
    for (const text of ['', '#!', '#!\n', '#!sh\n', '# !/bin/sh\n', '#!/bin/\0sh\n', 'ELF']) {
      expect(of(text)).toEqual([]);
    }
  });
});

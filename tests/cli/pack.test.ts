import { cpSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';

interface Pack {
  packed(head: Record<string, unknown>, data: ReadonlyMap<string, Uint8Array>): Buffer;
  unpack(fd: number): { index: Record<string, unknown>; piece(name: string): Buffer | undefined };
}
const scripts = join(import.meta.dirname, '../../scripts');
const { packed, unpack } = createRequire(import.meta.url)(join(scripts, 'pack.cjs')) as Pack;

const directory = mkdtempSync(join(tmpdir(), 'lodge-pack-'));
afterAll(() => rmSync(directory, { recursive: true }));

describe('a pack', () => {
  it('gives back what was put in, also where its index is long', () => {
    const name = fc.string({ minLength: 1, maxLength: 2000 }).filter((text) => text !== '__proto__');
    const pieces = fc.uniqueArray(fc.tuple(name, fc.uint8Array({ maxLength: 200 })), {
      selector: ([key]) => key,
      maxLength: 60,
    });
    const file = join(directory, 'any');
    fc.assert(
      fc.property(pieces, fc.string(), (entries, mark) => {
        writeFileSync(file, packed({ mark }, new Map(entries)));
        const { index, piece } = unpack(openSync(file, 'r'));
        expect(index.mark).toBe(mark);
        for (const [key, bytes] of entries) expect([...piece(key)!]).toEqual([...bytes]);
        expect(piece('one that is not there')).toBeUndefined();
      }),
      { numRuns: 50 },
    );
  });

  it('starts without its cache, with one of another build, and with one that is cut off', () => {
    const source = (text: string): Buffer =>
      Buffer.from(`(function(exports,require,module,lodgeFileUrl){${text}\n})`);
    for (const name of ['pack.cjs', 'start.cjs']) cpSync(join(scripts, name), join(directory, name));
    const data = new Map([
      ['main.js', source('require("./other.js").set(42)')],
      ['other.js', source('exports.set=value=>{globalThis.packTest=value}')],
    ]);
    const mark = 'this build';
    writeFileSync(join(directory, 'lodge.pack'), packed({ entry: 'main.js', mark }, data));
    const cache = join(directory, 'lodge.cache');
    const caches = [
      undefined,
      packed({ mark: 'another build' }, new Map([['main.js', Buffer.from('rubbish')]])),
      packed({ mark }, new Map([['main.js', Buffer.from('rubbish')]])),
      packed({ mark }, data).subarray(0, 30),
    ];
    for (const bytes of caches) {
      if (bytes !== undefined) writeFileSync(cache, bytes);
      const seen = globalThis as { packTest?: number };
      delete seen.packTest;
      const require = createRequire(import.meta.url);
      delete require.cache[join(directory, 'start.cjs')];
      require(join(directory, 'start.cjs'));
      expect(seen.packTest).toBe(42);
    }
  });

  it('has pieces see a module of Node.js that few use as it is, whichever way they look at it', () => {
    const looks = `const z=require("node:zlib");const {crc32,gzipSync}=z;
      globalThis.packTest=[Object.keys(z),{...z}.gzipSync===gzipSync,"gzipSync" in z,"none" in z,z.none];`;
    const piece = Buffer.from(`(function(exports,require,module,lodgeFileUrl){${looks}\n})`);
    for (const name of ['pack.cjs', 'start.cjs']) cpSync(join(scripts, name), join(directory, name));
    const head = { entry: 'main.js', mark: 'a look' };
    writeFileSync(join(directory, 'lodge.pack'), packed(head, new Map([['main.js', piece]])));
    const seen = globalThis as { packTest?: unknown };
    delete seen.packTest;
    const require = createRequire(import.meta.url);
    delete require.cache[join(directory, 'start.cjs')];
    require(join(directory, 'start.cjs'));
    expect(seen.packTest).toEqual([Object.keys(require('node:zlib')), true, true, false, undefined]);
  });
});

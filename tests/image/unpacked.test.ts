import { mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { importImage } from '../../src/image/images.ts';
import { openStore } from '../../src/image/store.ts';
import { withUnpacked } from '../../src/image/unpacked.ts';
import { hasProgram, makeDisk, pack, temporaryDirectory, writeTree } from './samples.ts';

const root = temporaryDirectory();
const at = (name: string) => join(root, name);
const disk = makeDisk({ gpt: true });
const store = openStore(at('store'));
const options = { signal: new AbortController().signal, onProgress: () => {} };
const packed = pack(disk, 'gzip');
writeTree(root, {
  'disk.img': disk,
  "it's.gz": packed,
  'short.gz': packed.subarray(0, packed.length >> 1),
  'twice.gz': pack(packed, 'gzip'),
  'text.gz': pack(Buffer.from('no image'), 'gzip'),
});

afterEach(() => {
  vi.unstubAllEnvs();
});

const take = (file: string, name: string) =>
  withUnpacked(store, file, options, (path) => importImage(store, path, { name, source: file }));

it('gives what is compressed as the same image as what it was made from, which it names', async () => {
  const plain = await take(at('disk.img'), 'plain');
  expect((await take(at("it's.gz"), 'packed')).id).toBe(plain.id);
  await store.discard(plain.id);
  await take(at("it's.gz"), 'packed');
  expect((await store.manifest(plain.id)).source).toBe(at("it's.gz"));
});

it.skipIf(!['xz', 'zstd', 'bzip2'].every(hasProgram))('knows other programs that compress', async () => {
  const { id } = await take(at('disk.img'), 'plain');
  for (const compression of ['xz', 'zstd', 'bzip2']) {
    writeTree(root, { [`disk.${compression}`]: pack(disk, compression) });
    expect((await take(at(`disk.${compression}`), compression)).id).toBe(id);
  }
});

it('tells what is wrong of the file that was given, and leaves nothing', async () => {
  for (const [file, where, message] of [
    ['short.gz', at('short.gz'), /cannot be unpacked: .*unexpected end of file/],
    ['twice.gz', at('twice.gz'), /compressed twice/],
    ['text.gz', `${at('text.gz')}, unpacked`, /cannot be imported/],
  ] as const) {
    const code = 'image-unreadable';
    await expect(take(at(file), 'x')).rejects.toMatchObject({
      code,
      where,
      message: expect.stringMatching(message),
    });
  }
  const gone = { ...options, signal: AbortSignal.abort(new Error('enough')) };
  await expect(withUnpacked(store, at("it's.gz"), gone, async () => {})).rejects.toThrow('enough');
  expect(readdirSync(at('store/tmp'))).toEqual([]);
});

it('says which program is missing, and does not blame the file', async () => {
  mkdirSync(at('bin'));
  symlinkSync('/bin/sh', at('bin/sh'));
  vi.stubEnv('PATH', at('bin'));
  await expect(take(at("it's.gz"), 'x')).rejects.toMatchObject({
    code: 'missing-program',
    message: expect.stringContaining("'gzip'"),
  });
});

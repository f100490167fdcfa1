import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { exportImage } from '../../src/image/archive.ts';
import { importImage } from '../../src/image/images.ts';
import { fetchDebianKernel } from '../../src/image/kernel-debian.ts';
import { openStore } from '../../src/image/store.ts';
import { makeIso, temporaryDirectory, writeTree } from './samples.ts';

const root = temporaryDirectory();
const small = join(root, 'small');

/** A filesystem of four megabytes, where mounting is allowed. */
function mountSmall(): boolean {
  mkdirSync(small);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'none', small], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const mounted = mountSmall();
afterAll(() => {
  if (mounted) execFileSync('umount', [small]);
});

// Mounting a small filesystem takes root: as a plain user these are skipped, and shown as such.
describe.skipIf(!mounted)('on a full disk', () => {
  const store = openStore(join(small, 'store'));
  const iso = join(root, 'cd.iso');
  writeTree(root, { 'cd.iso': makeIso(0) });

  it('a put fails with disk-full and leaves nothing', async () => {
    const full = store.put('test', 'large', async (directory) => {
      writeFileSync(join(directory, 'data'), Buffer.alloc(8 << 20, 1));
    });
    await expect(full).rejects.toMatchObject({
      code: 'disk-full',
      fix: expect.stringContaining('LODGE_DATA_DIR'),
    });
    expect(readdirSync(join(store.path, 'tmp'))).toEqual([]);
    expect(await store.objects()).toEqual([]);
  });

  it('an import fails with disk-full and leaves nothing', async () => {
    const large = join(root, 'large.iso');
    writeFileSync(large, Buffer.concat([makeIso(0), Buffer.alloc(8 << 20, 1)]));
    await expect(importImage(store, large, { name: 'x' })).rejects.toMatchObject({ code: 'disk-full' });
    expect(readdirSync(join(store.path, 'tmp'))).toEqual([]);
    expect(await store.names()).toEqual([]);
  });

  it('an export fails with disk-full and leaves no part of the file', async () => {
    const roomy = openStore(join(root, 'roomy'));
    const large = join(root, 'large.iso');
    await importImage(roomy, large, { name: 'large' });
    const before = readdirSync(small);
    const full = exportImage(roomy, 'large', join(small, 'large.tar'));
    await expect(full).rejects.toMatchObject({ code: 'disk-full' });
    expect(readdirSync(small)).toEqual(before);
  });

  it('a kernel is not even fetched', async () => {
    let asked = '';
    const full = fetchDebianKernel(store, (text) => {
      asked += text;
    });
    await expect(full).rejects.toMatchObject({ code: expect.stringMatching(/disk-full|kernel-not-found/) });
    expect(asked).toBe('');
    expect(readdirSync(join(store.path, 'tmp'))).toEqual([]);
  });

  it('a small image still fits', async () => {
    await importImage(store, iso, { name: 'small' });
    expect((await store.names()).length).toBe(1);
  });

  it('that nobody may write to is told, not that nothing can be removed there', async () => {
    execFileSync('mount', ['-o', 'remount,ro', small]);
    try {
      await expect(store.lease('guest', [])).rejects.toMatchObject({
        code: 'host-io',
        message: expect.stringContaining('writing failed: EROFS'),
      });
      await store.release('guest');
      await expect(store.forgetName('small')).rejects.toMatchObject({
        message: expect.stringContaining('removing failed: EROFS'),
        fix: expect.stringContaining('LODGE_DATA_DIR'),
      });
    } finally {
      execFileSync('mount', ['-o', 'remount,rw', small]);
    }
  });
});

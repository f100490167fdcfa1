import { utimesSync, writeFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { defaultKernel, hostKernel, neededModules, umlKernel } from '../../src/image/kernel.ts';
import { kernelFromFile, kernelOfObject, storeKernel } from '../../src/image/kernel-file.ts';
import { openStore } from '../../src/image/store.ts';
import { hasProgram, makeBzImage, makeElf, pack, temporaryDirectory, writeTree } from './samples.ts';

const root = temporaryDirectory();
const store = openStore(join(root, 'store'));

function file(name: string, content: string | Buffer): string {
  writeTree(root, { [name]: content });
  return join(root, name);
}

describe('kernelFromFile', () => {
  const vmlinux = makeElf();

  for (const compression of ['gzip', 'xz', 'zstd', 'lz4', 'lzma', 'bzip2']) {
    const program = { gzip: 'sh', lzma: 'xz' }[compression] ?? compression;
    it.skipIf(!hasProgram(program))(`unpacks a bzImage packed with ${compression}`, async () => {
      const kernel = await kernelFromFile(
        store,
        file(`bz-${compression}`, makeBzImage(vmlinux, compression)),
      );
      expect(await readFile(kernel.vmlinuxPath)).toEqual(vmlinux);
      expect(kernel).toMatchObject({ release: '6.1.0-test', source: 'file' });
      expect(store.objectIdOf(kernel.vmlinuxPath)).toBeDefined();
    });
  }

  it('uses a vmlinux where it is and finds its release in the banner', async () => {
    const path = file('vmlinux', vmlinux);
    const kernel = await kernelFromFile(store, path);
    expect(kernel).toMatchObject({ vmlinuxPath: path, release: '6.1.0-test' });
    expect(kernel.id).toMatch(/^[0-9a-f]{64}$/);
  });

  it('unpacks a compressed vmlinux', async () => {
    const kernel = await kernelFromFile(store, file('vmlinux.gz', pack(vmlinux, 'gzip')));
    expect(await readFile(kernel.vmlinuxPath)).toEqual(vmlinux);
  });

  it('unpacks a bzImage that is compressed once more', async () => {
    const kernel = await kernelFromFile(store, file('bzImage.gz', pack(makeBzImage(vmlinux), 'gzip')));
    expect(await readFile(kernel.vmlinuxPath)).toEqual(vmlinux);
    expect(kernel.release).toBe('6.1.0-test');
  });

  it('finds its modules in the tree that it is in, if there is a list of them', async () => {
    const path = file('tree/boot/vmlinuz', makeBzImage(vmlinux));
    const modules = join(root, 'tree/usr/lib/modules/6.1.0-test');
    writeTree(root, { 'tree/usr/lib/modules/6.1.0-test/modules.order': '' });
    expect(await kernelFromFile(store, path)).not.toHaveProperty('modulesPath');
    writeTree(root, { 'tree/usr/lib/modules/6.1.0-test/modules.dep': '' });
    expect(await kernelFromFile(store, path)).toMatchObject({ modulesPath: modules });
  });

  it('sees that a file was replaced', async () => {
    const path = file('changing', makeBzImage(vmlinux));
    const first = await kernelFromFile(store, path);
    writeFileSync(path, makeBzImage(makeElf({ text: 'Linux version 6.2.0 (a@b)' }), 'gzip', '6.2.0 (a@b)'));
    utimesSync(path, 1, 1);
    expect((await kernelFromFile(store, path)).release).toBe('6.2.0');
    expect(first.release).toBe('6.1.0-test');
  });

  it('makes an object again that was removed behind its back', async () => {
    const path = file(
      'again',
      makeBzImage(makeElf({ text: 'Linux version 6.3.0 (a@b)' }), 'gzip', '6.3.0 (a@b)'),
    );
    const first = await kernelFromFile(store, path);
    await rm(join(first.vmlinuxPath, '..'), { recursive: true });
    expect(await kernelFromFile(store, path)).toEqual(first);
  });

  const bad: [string, Buffer, RegExp][] = [
    ['an empty file', Buffer.alloc(0), /not an x86-64 Linux kernel/],
    ['text', Buffer.from('#!/bin/sh\necho hello\n'.repeat(100)), /not an x86-64 Linux kernel/],
    ['a truncated bzImage', makeBzImage(vmlinux).subarray(0, -20), /cut short/],
    ['a truncated vmlinux', vmlinux.subarray(0, -20), /cut short/],
    ['a kernel of another machine', makeElf({ machine: 183 }), /not an x86-64 Linux kernel/],
    ['a kernel without PVH entry', makeBzImage(makeElf({ pvh: false })), /no PVH entry/],
    ['an ELF file that is not Linux', makeElf({ text: 'hello' }), /does not say which Linux/],
    ['a boot image with text packed', makeBzImage(Buffer.from('hello'.repeat(50))), /not a whole ELF/],
  ];
  for (const [what, content, message] of bad) {
    it(`refuses ${what}`, async () => {
      const path = file(`bad-${what.replaceAll(' ', '-')}`, content);
      await expect(kernelFromFile(store, path)).rejects.toMatchObject({
        code: 'image-unreadable',
        message: expect.stringMatching(message),
        where: path,
      });
    });
  }

  it('refuses damaged payloads and wrong sizes, and leaves nothing in tmp', async () => {
    const image = makeBzImage(makeElf({ text: `Linux version 6.1.0-test ${'abc'.repeat(1000)}` }));
    image.fill(0x55, 3 * 512 + 64 + 30, 3 * 512 + 64 + 60);
    const path = file('damaged', image);
    await expect(kernelFromFile(store, path)).rejects.toMatchObject({ code: 'image-unreadable' });
    expect(await readdir(join(store.path, 'tmp'))).toEqual([]);
  });

  it('says when there is no such file', async () => {
    await expect(kernelFromFile(store, join(root, 'none'))).rejects.toMatchObject({
      code: 'kernel-not-found',
    });
    await expect(kernelFromFile(store, root)).rejects.toMatchObject({ code: 'kernel-not-found' });
  });
});

describe('storeKernel', () => {
  it('keeps a vmlinux that lies elsewhere, with where its modules are', async () => {
    const kernel = await kernelFromFile(store, file('vmlinux', makeElf()), { modulesPath: root });
    const object = await storeKernel(store, kernel);
    const kept = await kernelOfObject(store, object);
    expect(kept).toEqual({ ...kernel, vmlinuxPath: join(store.objectPath(object), 'vmlinux') });
    expect(await storeKernel(store, kept)).toBe(object);
  });
});

describe('defaultKernel', () => {
  const modules = (missing?: string) => ({
    'modules.dep': neededModules
      .filter((name) => name !== missing)
      .map((name) => `kernel/${name}.ko:\n`)
      .join(''),
  });
  const host = (name: string) => ({
    release: '6.1.0-test',
    bootPath: join(root, name),
    modulesPath: join(root, name),
  });

  it("takes the host's own kernel when it has what is needed, and remembers it", async () => {
    writeTree(join(root, 'own'), { 'vmlinuz-6.1.0-test': makeBzImage(makeElf()) });
    writeTree(join(root, 'own/6.1.0-test'), modules());
    const kernel = await defaultKernel(store, { host: host('own') });
    expect(kernel).toMatchObject({ source: 'host', modulesPath: join(root, 'own/6.1.0-test') });
    expect(await defaultKernel(store, { host: host('own') })).toEqual(kernel);
  });

  it('takes it not without a module, without PVH, or when it is damaged', async () => {
    writeTree(join(root, 'lacking'), { 'vmlinuz-6.1.0-test': makeBzImage(makeElf()) });
    writeTree(join(root, 'lacking/6.1.0-test'), modules('9p'));
    expect(await hostKernel(store, host('lacking'))).toBeUndefined();
    writeTree(join(root, 'plain'), { 'vmlinuz-6.1.0-test': makeBzImage(makeElf({ pvh: false })) });
    writeTree(join(root, 'plain/6.1.0-test'), modules());
    expect(await hostKernel(store, host('plain'))).toBeUndefined();
    writeTree(join(root, 'cut'), { 'vmlinuz-6.1.0-test': makeBzImage(makeElf()).subarray(0, -40) });
    writeTree(join(root, 'cut/6.1.0-test'), modules());
    expect(await hostKernel(store, host('cut'))).toBeUndefined();
    expect(await hostKernel(store, host('absent'))).toBeUndefined();
  });
});

describe('umlKernel', () => {
  it('asks the program for its release', async () => {
    await mkdir(join(root, 'bin'), { recursive: true });
    writeFileSync(join(root, 'bin/linux.uml'), '#!/bin/sh\necho 6.1.99\n', { mode: 0o755 });
    const path = process.env.PATH;
    process.env.PATH = `${join(root, 'bin')}:${path}`;
    try {
      const kernel = await umlKernel(store);
      expect(kernel).toMatchObject({ path: join(root, 'bin/linux.uml'), release: '6.1.99' });
      expect(kernel.modulesPath).toBeUndefined();
      expect(await umlKernel(store)).toEqual(kernel);
      process.env.PATH = root;
      await expect(umlKernel(store)).rejects.toMatchObject({ code: 'missing-program' });
    } finally {
      process.env.PATH = path;
    }
  });
});

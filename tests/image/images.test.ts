import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { LodgeError } from '../../src/errors.ts';
import { exportImage, streamImage } from '../../src/image/archive.ts';
import { collectGarbage } from '../../src/image/collect.ts';
import { importImage, inspectImage, listImages, removeImage } from '../../src/image/images.ts';
import { kernelFromFile } from '../../src/image/kernel-file.ts';
import { resolveImage } from '../../src/image/resolve.ts';
import { openStore } from '../../src/image/store.ts';
import {
  hasProgram,
  makeBzImage,
  makeDisk,
  makeElf,
  makeIso,
  makeMultiboot,
  temporaryDirectory,
  writeTree,
} from './samples.ts';

const root = temporaryDirectory();
const at = (name: string) => join(root, name);
let count = 0;
const freshStore = () => openStore(at(`store-${count++}`));
const squashfs = Buffer.alloc(8192);
squashfs.write('hsqs');
squashfs.writeBigUInt64LE(8000n, 40);
writeTree(root, {
  bzImage: makeBzImage(makeElf()),
  vmlinux: makeElf(),
  initrd: 'cpio',
  'memory-test.bin': makeMultiboot(),
  'disk.img': makeDisk({ gpt: true, efi: true }),
  'cd.iso': makeIso(0),
  'root.squashfs': squashfs,
  empty: '',
  'oci/oci-layout': '{}',
  'oci/index.json': '{}',
  'data.gz': Buffer.from('1f8b080000', 'hex'),
  'my data.gz': Buffer.from('1f8b080000', 'hex'),
});

describe('resolveImage', () => {
  const store = freshStore();

  it('knows the host, paths, and a kernel with its initrd', async () => {
    const resolve = (reference: Parameters<typeof resolveImage>[0], options = {}) =>
      resolveImage(reference, store, options);
    expect(await resolve('host')).toEqual({
      kind: 'linux',
      name: 'host',
      id: 'host',
      root: { kind: 'host' },
    });
    expect(await resolve(at('bzImage'))).toMatchObject({
      kind: 'kernel',
      format: 'bzimage',
      kernelPath: at('bzImage'),
    });
    expect(await resolve(at('memory-test.bin'))).toMatchObject({ kind: 'kernel', format: 'multiboot' });
    expect(await resolve(at('disk.img'))).toMatchObject({ kind: 'disk', format: 'raw', firmware: 'uefi' });
    expect(await resolve(at('disk.img'), { firmware: 'bios' })).toMatchObject({ firmware: 'bios' });
    expect(await resolve(at('cd.iso'))).toMatchObject({ kind: 'iso', firmware: 'bios', path: at('cd.iso') });
    expect(await resolve(at('root.squashfs'))).toMatchObject({
      kind: 'linux',
      root: { kind: 'block', filesystem: 'squashfs', path: at('root.squashfs') },
    });
    expect(await resolve({ kernel: at('vmlinux'), initrd: at('initrd') })).toMatchObject({
      kind: 'kernel',
      format: 'pvh',
      initrdPath: at('initrd'),
    });
  });

  it.each([
    ['none', 'image-not-found', /no such file/, undefined],
    ['empty', 'image-unreadable', /an empty file/, undefined],
    ['oci', 'image-unreadable', /OCI/, /image import/],
    ['data.gz', 'image-unreadable', /gzip/, /lodge image import .*data\.gz --name NAME$/],
    ['my data.gz', 'image-unreadable', /gzip/, /lodge image import '.*my data\.gz' --name NAME$/],
    ['.', 'image-unreadable', /directory/, /mksquashfs/],
  ])('refuses %s and says what to do', async (name, code, message, fix) => {
    await expect(resolveImage(`${root}/${name}`, store)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
      ...(fix === undefined ? {} : { fix: expect.stringMatching(fix) }),
    });
  });

  it('refuses a kernel that is none, and an initrd that is missing or empty', async () => {
    const resolve = (kernel: string, initrd: string) =>
      resolveImage({ kernel: at(kernel), initrd: at(initrd) }, store);
    await expect(resolve('cd.iso', 'initrd')).rejects.toMatchObject({ code: 'image-unreadable' });
    await expect(resolve('bzImage', 'none')).rejects.toMatchObject({ code: 'image-not-found' });
    await expect(resolve('bzImage', 'empty')).rejects.toMatchObject({ code: 'image-unreadable' });
    // What cannot be looked at at all is no fault of lodge's.
    const tooLong = 'x'.repeat(300);
    await expect(resolve('bzImage', tooLong)).rejects.toMatchObject({ code: 'host-io' });
    await expect(resolve(tooLong, 'initrd')).rejects.toMatchObject({ code: 'host-io' });
  });

  it('offers the nearest name', async () => {
    await importImage(store, at('cd.iso'), { name: 'rescue' });
    await expect(resolveImage('rescu', store)).rejects.toMatchObject({
      code: 'image-not-found',
      fix: expect.stringContaining("'rescue'"),
    });
  });

  it.skipIf(!hasProgram('qemu-img'))('takes no disk that names other files, unless told', async () => {
    const disk = at('based.qcow2');
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', at('disk.img'), '-F', 'raw', disk]);
    await expect(resolveImage(disk, store)).rejects.toMatchObject({
      code: 'image-unreadable',
      message: expect.stringContaining(at('disk.img')),
    });
    expect(await resolveImage(disk, store, { allowBacking: true })).toMatchObject({
      kind: 'disk',
      format: 'qcow2',
    });
    await expect(importImage(store, disk, { name: 'based' })).rejects.toMatchObject({
      code: 'image-unreadable',
    });
    await importImage(store, disk, { name: 'based', allowBacking: true });
    // What boots it is written in the file that it was based on.
    expect(await resolveImage('based', store)).toMatchObject({
      kind: 'disk',
      format: 'qcow2',
      firmware: 'uefi',
    });
    execFileSync('qemu-img', ['rebase', '-q', '-u', '-b', at('gone'), '-F', 'raw', disk]);
    await expect(importImage(store, disk, { name: 'based', allowBacking: true })).rejects.toMatchObject({
      code: 'image-unreadable',
      detail: expect.stringContaining(at('gone')),
    });
  });
});

describe('importImage', () => {
  it('takes every kind in, and gives it back by name', async () => {
    const store = freshStore();
    await importImage(store, at('bzImage'), { name: 'kernel', initrd: at('initrd') });
    await importImage(store, at('disk.img'), { name: 'disk', firmware: 'bios' });
    await importImage(store, at('cd.iso'), { name: 'cd' });
    const kernel = await kernelFromFile(store, at('vmlinux'), { modulesPath: root });
    await importImage(store, at('root.squashfs'), { name: 'root', kernel, defaults: { cwd: '/tmp' } });
    expect((await listImages(store)).map(({ name, kind, format }) => `${name} ${kind} ${format}`)).toEqual([
      'cd iso iso',
      'disk disk raw',
      'kernel kernel bzimage',
      'root linux squashfs',
    ]);
    const resolved = await resolveImage('kernel', store);
    expect(resolved).toMatchObject({ kind: 'kernel', name: 'kernel', format: 'bzimage' });
    if (resolved.kind === 'kernel') expect(readFileSync(resolved.initrdPath!, 'utf8')).toBe('cpio');
    expect(await resolveImage('disk', store)).toMatchObject({ firmware: 'bios' });
    expect(await resolveImage('root', store)).toMatchObject({
      defaults: { cwd: '/tmp' },
      kernel: { id: kernel.id, release: '6.1.0-test', modulesPath: root },
    });
    expect(await inspectImage(store, 'root')).toMatchObject({ source: at('root.squashfs'), usedBy: [] });
    expect(await collectGarbage(store, { nowMs: Date.now() + 1e9 })).toEqual([]);
  });

  it('refuses what it cannot take, and leaves nothing', async () => {
    const store = freshStore();
    for (const name of ['empty', 'oci', 'data.gz', 'initrd']) {
      await expect(importImage(store, at(name), { name: 'x' })).rejects.toMatchObject({
        code: 'image-unreadable',
      });
    }
    await expect(importImage(store, at('cd.iso'), { name: 'a/b' })).rejects.toMatchObject({
      code: 'spec-value',
    });
    expect(await store.objects()).toEqual([]);
  });

  it.skipIf(!hasProgram('qemu-img'))('refuses a qcow2 disk that is cut short or damaged', async () => {
    const store = freshStore();
    writeFileSync(at('full.img'), Buffer.alloc(1 << 20, 7));
    execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', at('full.img'), at('full.qcow2')]);
    await importImage(store, at('full.qcow2'), { name: 'full' });
    const image = readFileSync(at('full.qcow2'));
    writeFileSync(at('cut.qcow2'), image.subarray(0, image.length / 2));
    await expect(importImage(store, at('cut.qcow2'), { name: 'cut' })).rejects.toMatchObject({
      code: 'image-unreadable',
      message: expect.stringContaining('cut short'),
    });
    // Two clusters of the disk at one place in the file: only a full check finds it.
    const l2At = Number(image.readBigUInt64BE(Number(image.readBigUInt64BE(40))) & 0xff_ffff_ffff_fe00n);
    image.copy(image, l2At, l2At + 8, l2At + 16);
    writeFileSync(at('twice.qcow2'), image);
    await expect(importImage(store, at('twice.qcow2'), { name: 'twice' })).rejects.toMatchObject({
      code: 'image-unreadable',
      message: expect.stringContaining('damaged'),
    });
    expect((await store.names()).map(({ name }) => name)).toEqual(['full']);
  });

  it('finds a stored image that lost bytes', async () => {
    const store = freshStore();
    const { path } = await importImage(store, at('disk.img'), { name: 'disk' });
    chmodSync(join(path, 'disk.raw'), 0o644);
    truncateSync(join(path, 'disk.raw'), 1000);
    await expect(resolveImage('disk', store)).rejects.toMatchObject({
      code: 'image-unreadable',
      message: expect.stringContaining('1000 bytes'),
    });
    await expect(exportImage(store, 'disk', at('x.tar'))).rejects.toMatchObject({ code: 'image-unreadable' });
    expect(readdirSync(root).filter((name) => name.includes('x.tar'))).toEqual([]);
    await removeImage(store, 'disk');
    expect(await listImages(store)).toEqual([]);
  });
});

describe('removeImage', () => {
  it('frees what nothing else leads to, and refuses while a guest runs from it', async () => {
    const store = freshStore();
    const { id } = await importImage(store, at('disk.img'), { name: 'one' });
    await store.name('two', id);
    expect(await removeImage(store, 'one')).toEqual({ id, freedBytes: 0 });
    await store.lease('v01', [id]);
    await expect(removeImage(store, 'two')).rejects.toMatchObject({
      code: 'image-in-use',
      fix: expect.stringContaining('lodge stop v01'),
    });
    expect((await inspectImage(store, 'two')).usedBy).toMatchObject([{ guest: 'v01' }]);
    await store.release('v01');
    expect((await removeImage(store, 'two')).freedBytes).toBeGreaterThan(1 << 20);
    expect(await store.objects()).toEqual([]);
    await expect(removeImage(store, 'two')).rejects.toMatchObject({ code: 'image-not-found' });
  });
});

describe('exportImage', () => {
  it('writes one file that another store reads back, kernel and all', async () => {
    const [from, to] = [freshStore(), freshStore()];
    const kernel = await kernelFromFile(from, at('bzImage'));
    await importImage(from, at('root.squashfs'), { name: 'root', kernel });
    const { path, bytes } = await exportImage(from, 'root', at('root.tar'));
    expect(readFileSync(path).length).toBe(bytes);
    const again = await importImage(to, path, { name: 'copy' });
    expect(again.id).toBe((await from.resolve('root')).id);
    expect(await to.objects()).toEqual((await from.objects()).sort());
    expect(await resolveImage('copy', to)).toMatchObject({
      kind: 'linux',
      kernel: { id: kernel.id, release: '6.1.0-test' },
    });
    await exportImage(to, 'copy', at('again.tar'));
    expect(readFileSync(at('again.tar')).equals(readFileSync(path))).toBe(true);
    expect(execFileSync('tar', ['-tf', path]).toString()).toContain('root.squashfs');
    const pieces: Buffer[] = [];
    await streamImage(to, 'copy', async (data) => {
      pieces.push(data);
    });
    expect(Buffer.concat(pieces).equals(readFileSync(path))).toBe(true);
  });

  it('can be interrupted, as can an import, and leaves nothing', async () => {
    const store = freshStore();
    await importImage(store, at('disk.img'), { name: 'disk' });
    await exportImage(store, 'disk', at('whole.tar'));
    const interrupted = async (work: (signal: AbortSignal) => Promise<unknown>): Promise<void> => {
      const controller = new AbortController();
      const done = work(controller.signal);
      const reason = new LodgeError('image-build', 'enough');
      controller.abort(reason);
      await expect(done).rejects.toBe(reason);
    };
    const before = readdirSync(root);
    await interrupted((signal) => exportImage(store, 'disk', at('part.tar'), signal));
    expect(readdirSync(root)).toEqual(before);
    for (const file of ['cd.iso', 'whole.tar'])
      await interrupted((signal) => importImage(store, at(file), { name: 'part', signal }));
    expect((await store.names()).map(({ name }) => name)).toEqual(['disk']);
    expect(readdirSync(join(store.path, 'tmp'))).toEqual([]);
  });

  it('is not read back when it was changed or cut, and nothing of it is kept', async () => {
    const from = freshStore();
    await importImage(from, at('disk.img'), { name: 'disk' });
    await exportImage(from, 'disk', at('disk.tar'));
    const whole = readFileSync(at('disk.tar'));
    const spoilt: Record<string, Buffer> = {
      cut: whole.subarray(0, whole.length / 2),
      changed: Buffer.from(whole).fill(1, whole.length / 2, whole.length / 2 + 1),
      'no-list': Buffer.from(whole).fill(0x20, 512, 530),
      escaping: Buffer.from(whole.toString('latin1').replace('"disk.raw"', '"../d.raw"'), 'latin1'),
    };
    for (const [name, content] of Object.entries(spoilt)) {
      const to = freshStore();
      writeFileSync(at(`${name}.tar`), content);
      const read = importImage(to, at(`${name}.tar`), { name: 'x' });
      await expect(read, name).rejects.toMatchObject({ code: 'image-unreadable', where: at(`${name}.tar`) });
      expect(await to.objects()).toEqual([]);
      expect(await to.names()).toEqual([]);
      const left = existsSync(join(to.path, 'tmp')) ? readdirSync(join(to.path, 'tmp')) : [];
      expect(left).toEqual([]);
    }
  });

  it.each([
    ['image.json', '/home/of/others'],
    ['image.json', '/lib/modules/..'],
    ['kernel.json', '/home/of/others'],
    ['kernel.json', '../other'],
    ['link', '/home/of/others'],
    ['link', 'a/../../other'],
  ])('is not read back when %s in it names %s, which a guest would see', async (where, outside) => {
    const [from, to] = [freshStore(), freshStore()];
    const { id } = await from.put('kernel', 'evil', async (directory) => {
      const modules = where === 'kernel.json' ? { modules: outside } : {};
      writeTree(directory, { 'kernel.json': JSON.stringify({ vmlinux: 'vmlinux', ...modules }) });
      if (where === 'link') symlinkSync(outside, join(directory, 'link'));
    });
    const { id: image } = await from.put('image', 'evil', async (directory) => {
      const modulesPath = where === 'image.json' ? { modulesPath: outside } : {};
      const root = { file: 'root.squashfs', filesystem: 'squashfs' };
      const record = { kind: 'linux', root, kernel: { object: id, ...modulesPath } };
      writeTree(directory, { 'image.json': JSON.stringify(record), 'root.squashfs': squashfs });
      return { references: [id] };
    });
    await from.name('evil', image);
    await exportImage(from, 'evil', at('evil.tar'));
    await expect(importImage(to, at('evil.tar'), { name: 'evil' })).rejects.toMatchObject({
      code: 'image-unreadable',
      message: expect.stringContaining(`${where} in this archive names something outside: '${outside}'`),
    });
    expect(await to.names()).toEqual([]);
  });

  it('says when it cannot be written', async () => {
    const store = freshStore();
    await importImage(store, at('cd.iso'), { name: 'cd' });
    await expect(exportImage(store, 'cd', at('none/cd.tar'))).rejects.toMatchObject({ code: 'host-io' });
    await expect(exportImage(store, 'none', at('cd.tar'))).rejects.toMatchObject({ code: 'image-not-found' });
  });
});

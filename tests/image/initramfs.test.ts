import { chmodSync, readFileSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { buildInitramfs } from '../../src/image/initramfs.ts';
import { openStore } from '../../src/image/store.ts';
import { hasProgram, makeModule, pack, temporaryDirectory, writeTree } from './samples.ts';

const root = temporaryDirectory();
const store = openStore(join(root, 'store'));
const agentPath = join(root, 'agent');
const modulesPath = join(root, 'modules');
const ring = makeModule({ depends: '', description: 'ring' });
const virtio = makeModule({ depends: 'virtio_ring', description: 'virtio' });
writeTree(root, {
  agent: 'the agent',
  'modules/modules.dep': 'kernel/virtio_ring.ko:\nkernel/virtio.ko: kernel/virtio_ring.ko\nkernel/text.ko:\n',
  'modules/modules.builtin': 'kernel/built-in.ko\n',
  'modules/kernel/virtio_ring.ko': ring,
  'modules/kernel/virtio.ko': virtio,
  'modules/kernel/text.ko': 'no module',
});
const vmlinuxPath = join(root, 'vmlinux');
const kernel = { id: 'k1', release: '6.1.0-test', vmlinuxPath, modulesPath };

describe('buildInitramfs', () => {
  it('holds the agent as init and the modules in load order', async () => {
    const built = await buildInitramfs({ store, agentPath, kernel, modules: ['virtio', 'built_in'] });
    expect(built.modulePaths).toEqual(['/lodge/modules/virtio_ring.ko', '/lodge/modules/virtio.ko']);
    const archive = readFileSync(built.path);
    for (const part of [Buffer.from('the agent'), ring, virtio, Buffer.from(built.modulePaths.join('\n'))]) {
      expect(archive.includes(part)).toBe(true);
    }
    expect(archive.indexOf(ring)).toBeLessThan(archive.indexOf(virtio));
  });

  it('is made once: asked again, it is the same file, untouched', async () => {
    const request = { store, agentPath, kernel, modules: ['virtio'] };
    const first = await buildInitramfs(request);
    const second = await buildInitramfs(request);
    expect(second).toEqual(first);
    rmSync(join(first.path, '..'), { recursive: true });
    expect(await buildInitramfs(request)).toEqual(first);
    const whole = readFileSync(first.path);
    expect(whole.length).toBeGreaterThan(0);
    // What a purge of old files or a crash of the host left of it.
    chmodSync(first.path, 0o644);
    for (const spoil of [() => truncateSync(first.path, 1000), () => rmSync(first.path, { force: true })]) {
      spoil();
      expect(await buildInitramfs(request)).toEqual(first);
      expect(readFileSync(first.path).equals(whole)).toBe(true);
      chmodSync(first.path, 0o644);
    }
  });

  it('is made again when the agent, the kernel or the modules change', async () => {
    const ids = new Set<string>();
    const build = async (change: object = {}) => {
      ids.add((await buildInitramfs({ store, agentPath, kernel, modules: ['virtio'], ...change })).id);
    };
    await build();
    await build({ modules: ['virtio_ring'] });
    writeFileSync(agentPath, 'another agent');
    await build();
    expect(ids.size).toBe(3);
    // The same content for another kernel is the same object, by another key.
    await build({ kernel: { ...kernel, id: 'k2' } });
    expect(ids.size).toBe(3);
    utimesSync(agentPath, 5, 5);
    await build();
    expect(ids.size).toBe(3);
  });

  it('without modules wants everything built in, but what can be done without, and says what is not', async () => {
    const build = (id: string, text: string) => {
      writeFileSync(vmlinuxPath, text);
      const bare = { id, release: '6.9', vmlinuxPath };
      const modules = ['virtio_pci', '9p', 'pvpanic-pci'];
      return buildInitramfs({ store, agentPath, kernel: bare, modules, optional: ['pvpanic-pci'] });
    };
    expect((await build('whole', 'a virtio-pci\0b v9fs_inode_cache\0')).modulePaths).toEqual([]);
    await expect(build('part', 'a virtio-pci\0b')).rejects.toMatchObject({
      code: 'kernel-not-found',
      message: expect.stringMatching(/Linux 6\.9.*not built in: 9p$/),
      fix: expect.stringContaining('/lib/modules/6.9'),
    });
  });

  it('goes without a module that can be done without', async () => {
    const request = { store, agentPath, kernel, modules: ['virtio', 'nonesuch'], optional: ['nonesuch'] };
    expect((await buildInitramfs(request)).modulePaths.at(-1)).toBe('/lodge/modules/virtio.ko');
  });

  for (const [compression, extension] of [
    ['xz', 'xz'],
    ['zstd', 'zst'],
    ['gzip', 'gz'],
  ] as const) {
    it.skipIf(compression !== 'gzip' && !hasProgram(compression))(
      `unpacks modules packed with ${compression}`,
      async () => {
        const packed = join(root, `modules-${extension}`);
        writeTree(packed, {
          'modules.dep': `kernel/virtio.ko.${extension}:\n`,
          [`kernel/virtio.ko.${extension}`]: pack(virtio, compression),
        });
        const request = {
          store,
          agentPath,
          kernel: { ...kernel, id: extension, modulesPath: packed },
          modules: ['virtio'],
        };
        const built = await buildInitramfs(request);
        expect(built.modulePaths).toEqual(['/lodge/modules/virtio.ko']);
        expect(readFileSync(built.path).includes(virtio)).toBe(true);
      },
    );
  }

  it('names a module that is missing or damaged, and an agent that is not there', async () => {
    const build = (change: object) => buildInitramfs({ store, agentPath, kernel, modules: [], ...change });
    await expect(build({ modules: ['nonesuch'] })).rejects.toMatchObject({
      code: 'kernel-not-found',
      message: expect.stringContaining("'nonesuch'"),
    });
    await expect(build({ modules: ['text'] })).rejects.toMatchObject({ code: 'image-unreadable' });
    await expect(build({ agentPath: join(root, 'none') })).rejects.toMatchObject({ code: 'host-io' });
  });
});

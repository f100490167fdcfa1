import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { LodgeError } from '../../src/errors.ts';
import {
  modulesForDevices,
  modulesInLoadOrder,
  readModuleTree,
  writeModuleFiles,
} from '../../src/image/modules.ts';
import { makeModule, temporaryDirectory, writeTree } from './samples.ts';

const root = temporaryDirectory();

function tree(name: string, files: Record<string, string | Buffer>): string {
  writeTree(join(root, name), files);
  return join(root, name);
}

const names = (files: string[]): string[] =>
  files.map((file) => file.replace(/^.*\//, '').replace(/\.ko.*$/, ''));

describe('modulesInLoadOrder', () => {
  const path = tree('depmod', {
    'modules.dep': [
      'kernel/virtio_ring.ko:',
      'kernel/virtio.ko: kernel/virtio_ring.ko',
      'kernel/virtio_pci.ko.xz: kernel/virtio.ko kernel/virtio_ring.ko',
      'kernel/crc32c_generic.ko:',
      'kernel/crc32c-intel.ko:',
      'kernel/libcrc32c.ko:',
      'kernel/erofs.ko: kernel/libcrc32c.ko',
      '',
    ].join('\n'),
    'modules.softdep': '# comment\nsoftdep libcrc32c pre: crc32c absent post: later\n',
    'modules.alias': 'alias crc32c crc32c_generic\nalias crc32c crc32c_intel\nalias other erofs\n',
    'modules.builtin': 'kernel/fs/ext4/ext4.ko\n',
  });

  it('puts what is needed first, once', () => {
    const order = modulesInLoadOrder(readModuleTree(path), ['virtio-pci', 'virtio']);
    expect(names(order)).toEqual(['virtio_ring', 'virtio', 'virtio_pci']);
  });

  it('follows soft dependencies through aliases, and takes the generic one', () => {
    const order = modulesInLoadOrder(readModuleTree(path), ['erofs']);
    expect(names(order)).toEqual(['crc32c_generic', 'libcrc32c', 'erofs']);
  });

  it('skips what is built in and names what is not there', () => {
    expect(modulesInLoadOrder(readModuleTree(path), ['ext4'])).toEqual([]);
    const missing = () => modulesInLoadOrder(readModuleTree(path), ['virtio', 'nonesuch']);
    expect(missing).toThrow(LodgeError);
    expect(missing).toThrow("no module 'nonesuch'");
  });

  it('ends on a circle of dependencies', () => {
    const circle = tree('circle', { 'modules.dep': 'a.ko: b.ko\nb.ko: a.ko\n' });
    expect(names(modulesInLoadOrder(readModuleTree(circle), ['a']))).toEqual(['b', 'a']);
  });

  it('says so when there is no modules.dep', () => {
    expect(() => readModuleTree(join(root, 'nowhere'))).toThrow('list of the kernel');
  });
});

describe('writeModuleFiles', () => {
  it('finds dependencies, soft dependencies and aliases in the modules themselves', async () => {
    const path = tree('raw', {
      'kernel/drivers/virtio-ring.ko': makeModule({ depends: '' }),
      'kernel/drivers/virtio.ko': makeModule({ depends: 'virtio_ring' }),
      'kernel/fs/9p.ko': makeModule({ depends: 'virtio', softdep: 'pre: crc32c', alias: 'fs-9p' }),
      'kernel/crypto/crc32c_generic.ko': makeModule({ depends: '', alias: 'crc32c' }),
      'kernel/broken.ko': 'not a module',
    });
    await writeModuleFiles(path);
    const read = readModuleTree(path);
    expect(names(modulesInLoadOrder(read, ['9p']))).toEqual([
      'crc32c_generic',
      'virtio-ring',
      'virtio',
      '9p',
    ]);
    expect(read.dependencies.get('kernel/fs/9p.ko')).toEqual([
      'kernel/drivers/virtio.ko',
      'kernel/drivers/virtio-ring.ko',
    ]);
  });
});

describe('modulesForDevices', () => {
  const path = tree('aliases', {
    'modules.alias': [
      'alias pci:v00008086d000010D3sv*sd*bc*sc*i* e1000e',
      'alias pci:v*d*sv*sd*bc01sc08i02* nvme',
      'alias usb:v8086p10D3* usbnet',
      'alias pci:v00008086d[z-a]* broken',
      'alias pci:v00008086d000010D3sv*sd*bc02sc00i* second',
      '',
    ].join('\n'),
  });

  it('gives those whose patterns a device fits, each once', () => {
    const card = 'pci:v00008086d000010D3sv00008086sd00000000bc02sc00i00';
    expect(modulesForDevices(path, [card, card])).toEqual(['e1000e', 'second']);
    expect(modulesForDevices(path, ['pci:v0000144Dd0000A808sv0000144Dsd0000A801bc01sc08i02'])).toEqual([
      'nvme',
    ]);
  });

  it('gives none for what nobody drives', () => {
    expect(modulesForDevices(path, ['pci:v00001234d00001111sv*sd*bc03sc00i00'])).toEqual([]);
    expect(modulesForDevices(tree('none', { 'modules.dep': '' }), ['pci:v1'])).toEqual([]);
  });
});

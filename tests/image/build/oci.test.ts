import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { importOci, isOci } from '../../../src/image/build/oci.ts';
import { ociConfig } from '../../../src/image/build/oci-config.ts';
import { imageOfObject } from '../../../src/image/record.ts';
import { openStore } from '../../../src/image/store.ts';
import { hasProgram, temporaryDirectory, writeTree } from '../samples.ts';

const root = temporaryDirectory();
const store = openStore(join(root, 'store'));
const layout = join(root, 'lay:out');
const run = (...argv: string[]) =>
  execFileSync(argv[0]!, argv.slice(1), { cwd: root, stdio: 'pipe', encoding: 'utf8' });
const tools = ['umoci', 'skopeo', 'mksquashfs', 'unsquashfs', 'unshare'];

describe.skipIf(!tools.every(hasProgram))('importOci', () => {
  beforeAll(() => {
    // umoci takes a colon for the beginning of a tag, so the layout is made under another name.
    run('umoci', 'init', '--layout', 'plain');
    for (const tag of ['one', 'two']) run('umoci', 'new', '--image', `plain:${tag}`);
    mkdirSync(join(root, 'in/etc'), { recursive: true });
    writeFileSync(join(root, 'in/etc/motd'), 'hello\n');
    symlinkSync('/etc/motd', join(root, 'in/etc/link'));
    run('umoci', 'insert', '--image', 'plain:one', 'in/etc', '/etc');
    const settings = [
      '--config.env',
      'A=b=c',
      '--config.cmd',
      'cat',
      '--config.workingdir',
      '/etc',
      '--config.user',
      'www',
    ];
    run('umoci', 'config', '--image', 'plain:one', ...settings);
    run('cp', '-r', 'plain', layout);
    run('skopeo', '--insecure-policy', 'copy', '-q', 'oci:plain:one', 'oci-archive:archive.tar:one');
    run('skopeo', '--insecure-policy', 'copy', '-q', 'oci:plain:one', 'docker-archive:docker.tar:some/app:1');
  });

  it('brings a layout in with its files and settings', async () => {
    expect(await isOci(`${layout}:one`)).toBe(true);
    const built = await importOci(`${layout}:one`, store, { name: 'app' });
    expect(built.notes.join()).toContain("'www'");
    const image = await imageOfObject(store, built.id, 'app');
    if (image.kind !== 'linux' || image.root.kind !== 'block') throw new Error('not an image');
    expect(image.defaults).toMatchObject({ env: { A: 'b=c' }, cwd: '/etc', command: ['cat'], user: 'www' });
    const listing = run('unsquashfs', '-ll', image.root.path);
    expect(listing).toMatch(/-rw-r--r-- root\/root .* squashfs-root\/etc\/motd\n/);
    expect(listing).toContain('squashfs-root/etc/link -> /etc/motd\n');
    expect(listing).toContain('squashfs-root/proc\n');
    expect((await store.resolve('app')).id).toBe(built.id);
  });

  it('brings archives in: the same image has the same content', async () => {
    const one = await importOci(join(root, 'archive.tar'), store);
    expect((await importOci(`${layout}:one`, store)).id).toBe(one.id);
    await importOci(join(root, 'docker.tar:some/app:1'), store, { scratch: 'directory' });
  });

  it('asks which one when there are several, and names them', async () => {
    await expect(importOci(layout, store)).rejects.toMatchObject({
      code: 'image-not-found',
      fix: expect.stringContaining(`${layout}:two`),
    });
    await expect(importOci(`${layout}:three`, store)).rejects.toMatchObject({ code: 'image-not-found' });
  });

  it('refuses what is damaged or no container image, and leaves nothing', async () => {
    copyFileSync(join(root, 'archive.tar'), join(root, 'short.tar'));
    truncateSync(join(root, 'short.tar'), 3000);
    await expect(importOci(join(root, 'short.tar'), store)).rejects.toMatchObject({
      code: 'image-unreadable',
    });
    run('cp', '-r', 'plain', 'broken');
    rmSync(join(root, 'broken/blobs'), { recursive: true });
    await expect(importOci(join(root, 'broken:one'), store)).rejects.toMatchObject({
      code: 'image-unreadable',
    });
    // Parts that would be read without an end.
    for (const [part, made] of [
      ['index.json', ['ln', '-sfn', '/dev/zero']],
      ['blobs/sha256/pipe', ['mkfifo']],
    ] as const) {
      const endless = join(root, 'endless');
      rmSync(endless, { recursive: true, force: true });
      run('cp', '-r', 'plain', endless);
      run(...made, join(endless, part));
      await expect(importOci(`${endless}:one`, store), part).rejects.toMatchObject({
        code: 'image-unreadable',
        message: expect.stringContaining(`'${part}'`),
      });
    }
    // For another machine: told of the image itself, not of the copy that was looked into.
    run('umoci', 'init', '--layout', 'foreign');
    run('umoci', 'new', '--image', 'foreign:one');
    run('umoci', 'config', '--image', 'foreign:one', '--architecture', 's390x');
    await expect(importOci(join(root, 'foreign'), store)).rejects.toMatchObject({
      code: 'image-unreadable',
      message: expect.stringContaining('s390x'),
      where: join(root, 'foreign'),
    });
    // An archive whose links would have what follows them unpacked elsewhere.
    mkdirSync(join(root, 'victim'));
    symlinkSync(join(root, 'victim'), join(root, 'blobs'));
    writeFileSync(join(root, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
    writeFileSync(join(root, 'index.json'), '{}');
    run('tar', '-cf', 'links.tar', 'blobs', 'oci-layout', 'index.json');
    rmSync(join(root, 'blobs'));
    mkdirSync(join(root, 'blobs'));
    writeFileSync(join(root, 'blobs/keep'), 'overwritten');
    run('tar', '-rf', 'links.tar', 'blobs/keep');
    await expect(importOci(join(root, 'links.tar'), store)).rejects.toMatchObject({
      code: 'image-unreadable',
    });
    expect(run('ls', join(root, 'victim'))).toBe('');
    await expect(importOci('/bin/true', store)).rejects.toMatchObject({ code: 'image-unreadable' });
    await expect(importOci(join(root, 'absent'), store)).rejects.toMatchObject({ code: 'image-not-found' });
    expect(run('ls', join(store.path, 'tmp'))).toBe('');
  });
});

describe('ociConfig', () => {
  const digest = (letter: string): string => `sha256:${letter.repeat(64)}`;
  const write = (index: unknown, manifest: unknown = {}, config: unknown = {}): string => {
    const path = join(root, `made-${Math.random()}`);
    writeTree(path, {
      'index.json': JSON.stringify(index),
      [`blobs/sha256/${'a'.repeat(64)}`]: JSON.stringify(manifest),
      [`blobs/sha256/${'b'.repeat(64)}`]: JSON.stringify(config),
    });
    return path;
  };
  const index = { manifests: [{ digest: digest('a') }] };
  const manifest = { config: { digest: digest('b') } };
  const architecture = ({ x64: 'amd64' } as Record<string, string>)[process.arch] ?? process.arch;

  it('reads an image that says nothing of itself', () => {
    const path = write(index, manifest, { architecture, os: 'linux', config: { User: '0:0', Env: null } });
    expect(ociConfig(path)).toEqual({ defaults: {}, architecture });
  });

  it('keeps the user that an image names, but not root, which is what they say without thinking', () => {
    const userOf = (User: string): string | undefined =>
      ociConfig(write(index, manifest, { architecture, os: 'linux', config: { User } })).defaults.user;
    expect(['app', '1000', '1000:100', 'app:staff', 'rooty'].map(userOf)).toEqual([
      ...['app', '1000', '1000:100', 'app:staff', 'rooty'],
    ]);
    expect(['', 'root', '0', '0:5', 'root:app', 'a b', ':5'].map(userOf)).toEqual(Array(7).fill(undefined));
  });

  it('refuses words that no program can be given', () => {
    const saying = (config: unknown) => () =>
      ociConfig(write(index, manifest, { architecture, os: 'linux', config }));
    expect(saying({ Cmd: ['sh', 'a\0b'] })).toThrow('config.Cmd.1: holds a NUL');
    expect(saying({ Env: ['A=b\0C=d'] })).toThrow('config.Env.0: holds a NUL');
  });

  it('refuses what is damaged, for another machine, or leads out of the layout', () => {
    expect(() => ociConfig(write({ manifests: [] }))).toThrow('no image');
    expect(() => ociConfig(write(index, {}))).toThrow('config');
    expect(() => ociConfig(write({ manifests: [{ digest: 'sha256:../../../etc/passwd' }] }))).toThrow(
      'digest',
    );
    expect(() => ociConfig(write(index, manifest, { architecture: 'riscv64', os: 'linux' }))).toThrow(
      'riscv64',
    );
    const path = write(index);
    writeFileSync(join(path, 'index.json'), readFileSync(join(path, 'index.json')).subarray(0, 20));
    expect(() => ociConfig(path)).toThrow('cannot be read');
  });
});

import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { collectGarbage, usageOf, verifyStore } from '../../src/image/collect.ts';
import { fateOf, thisProcess } from '../../src/image/owner.ts';
import { openStore, type Store } from '../../src/image/store.ts';
import { temporaryDirectory, writeTree } from './samples.ts';

const root = temporaryDirectory();
let count = 0;
const freshStore = (): Store => openStore(join(root, `store-${count++}`));
const put = (store: Store, text: string, references: string[] = []) =>
  store.put('test', `the text '${text}'`, async (directory) => {
    writeTree(directory, { 'a/b.txt': text, 'run.sh': '#!/bin/sh\n' });
    chmodSync(join(directory, 'run.sh'), 0o755);
    return { references };
  });
const tomorrow = () => Date.now() + 25 * 3_600_000;
const yearLater = () => Date.now() + 365 * 86_400_000;

describe('openStore', () => {
  const { LODGE_DATA_DIR, XDG_DATA_HOME, HOME } = process.env;
  afterEach(() => {
    for (const [name, value] of Object.entries({ LODGE_DATA_DIR, XDG_DATA_HOME, HOME })) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  });

  it('goes by argument, LODGE_DATA_DIR, XDG_DATA_HOME, home, and makes nothing yet', () => {
    process.env.LODGE_DATA_DIR = join(root, 'data');
    process.env.XDG_DATA_HOME = join(root, 'xdg');
    process.env.HOME = join(root, 'home');
    expect(openStore(join(root, 'x')).path).toBe(join(root, 'x'));
    expect(openStore().path).toBe(join(root, 'data'));
    delete process.env.LODGE_DATA_DIR;
    expect(openStore().path).toBe(join(root, 'xdg/lodge'));
    process.env.XDG_DATA_HOME = 'not/absolute';
    expect(openStore().path).toBe(join(root, 'home/.local/share/lodge'));
    expect(readdirSync(root)).not.toContain('data');
  });

  it('takes no relative LODGE_DATA_DIR, which would be another store in each directory', () => {
    process.env.LODGE_DATA_DIR = 'data';
    expect(() => openStore()).toThrow('must be an absolute path');
    expect(openStore(join(root, 'x')).path).toBe(join(root, 'x'));
    process.env.LODGE_DATA_DIR = '';
    expect(openStore().path).toMatch(/\/lodge$/);
  });
});

describe('put', () => {
  it('gives the same content the same id, and lists it with checksums', async () => {
    const [one, two] = [freshStore(), freshStore()];
    const first = await put(one, 'x');
    expect((await put(one, 'x')).id).toBe(first.id);
    expect((await put(two, 'x')).id).toBe(first.id);
    expect((await put(two, 'y')).id).not.toBe(first.id);
    expect(await one.objects()).toEqual([first.id]);
    expect((await one.manifest(first.id)).files).toEqual([
      { path: 'a', directory: true },
      {
        path: 'a/b.txt',
        bytes: 1,
        sha256: '2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881',
      },
      expect.objectContaining({ path: 'run.sh', executable: true }),
    ]);
    expect(statSync(join(first.path, 'a/b.txt')).mode & 0o777).toBe(0o444);
    expect(statSync(join(first.path, 'run.sh')).mode & 0o777).toBe(0o555);
    expect(readdirSync(join(one.path, 'tmp'))).toEqual([]);
  });

  it('leaves nothing when filling fails, and passes the failure on', async () => {
    const store = freshStore();
    const failing = store.put('test', 'x', async (directory) => {
      writeFileSync(join(directory, 'half'), 'x');
      throw new TypeError('no');
    });
    await expect(failing).rejects.toThrow(TypeError);
    const full = store.put('test', 'x', async () => writeFileSync('/dev/full', 'x'));
    await expect(full).rejects.toMatchObject({ code: 'disk-full' });
    expect(readdirSync(join(store.path, 'tmp'))).toEqual([]);
    expect(await store.objects()).toEqual([]);
  });

  it('refuses content that is not what it should be', async () => {
    const store = freshStore();
    const expected = { id: '0'.repeat(64), where: '/some/file' };
    const wrong = store.put('test', 'x', async () => undefined, { expected });
    await expect(wrong).rejects.toMatchObject({ code: 'image-unreadable', where: '/some/file' });
    expect(await store.objects()).toEqual([]);
  });

  it('replaces an object that lost its manifest', async () => {
    const store = freshStore();
    const { id, path } = await put(store, 'x');
    rmSync(join(path, 'object.json'), { force: true });
    await expect(store.manifest(id)).rejects.toMatchObject({ code: 'image-unreadable' });
    await put(store, 'x');
    expect((await store.manifest(id)).kind).toBe('test');
  });

  it.each([
    ['lost a file', (file: string) => rmSync(file, { force: true })],
    ['has a file that was cut short', (file: string) => truncateSync(file)],
  ])('replaces an object that %s', async (_what, spoil) => {
    const store = freshStore();
    const { id, path } = await put(store, 'x');
    const file = join(path, 'a/b.txt');
    chmodSync(file, 0o644);
    spoil(file);
    await put(store, 'x');
    expect(await verifyStore(store)).toEqual([]);
    expect(await store.objects()).toEqual([id]);
  });
});

describe('names', () => {
  it('are set, replaced, listed and forgotten', async () => {
    const store = freshStore();
    const [x, y] = [await put(store, 'x'), await put(store, 'y')];
    await store.name('one', x.id);
    await store.name('two', x.id);
    await store.name('one', y.id);
    expect((await store.names()).map(({ name, id }) => [name, id])).toEqual([
      ['one', y.id],
      ['two', x.id],
    ]);
    expect(await store.resolve('one')).toEqual({ name: 'one', ...y });
    await store.forgetName('one');
    await store.forgetName('one');
    await expect(store.resolve('one')).rejects.toMatchObject({ code: 'image-not-found' });
  });

  it('that are not there are told with the nearest that is', async () => {
    const store = freshStore();
    await store.name('debian-hpc', (await put(store, 'x')).id);
    const near = store.resolve('debian-hcp');
    await expect(near).rejects.toMatchObject({ fix: expect.stringContaining("'debian-hpc'") });
    const host = store.resolve('host');
    await expect(host).rejects.toMatchObject({ code: 'image-not-found', fix: 'images: debian-hpc' });
    await expect(store.resolve('../../etc/passwd')).rejects.toMatchObject({ code: 'image-not-found' });
  });

  it('cannot be paths, nor taken words', async () => {
    const store = freshStore();
    const { id } = await put(store, 'x');
    for (const name of ['', 'a/b', '..', '.hidden', 'host', 'x'.repeat(65), 'a b', '-v']) {
      await expect(store.name(name, id)).rejects.toMatchObject({ code: 'spec-value' });
    }
    await expect(store.name('x', '0'.repeat(64))).rejects.toMatchObject({ code: 'image-not-found' });
    expect(await store.names()).toEqual([]);
  });

  it('survive a damaged file', async () => {
    const store = freshStore();
    await store.name('x', (await put(store, 'x')).id);
    writeFileSync(join(store.path, 'names/bad.json'), '{"object":');
    writeFileSync(join(store.path, 'names/worse.json'), '{"object":"../../x"}');
    expect((await store.names()).map(({ name }) => name)).toEqual(['x']);
  });
});

describe('manifests', () => {
  it.each([
    '',
    '{',
    '[]',
    'null',
    '{"format":2}',
    '{"format":1,"kind":"x","created":"","source":"","references":[],"files":[{"path":"../x"}]}',
  ])('that read %j are refused with a way to mend it', async (text) => {
    const store = freshStore();
    const { id, path } = await put(store, 'x');
    await store.name('x', id);
    rmSync(join(path, 'object.json'));
    writeFileSync(join(path, 'object.json'), text);
    await expect(store.resolve('x')).rejects.toMatchObject({
      code: 'image-unreadable',
      where: path,
      fix: expect.stringContaining('rm -rf'),
    });
    expect((await verifyStore(store))[0]).toMatchObject({ id, faults: [expect.stringContaining('damaged')] });
  });

  it('tell what was changed, removed or added', async () => {
    const store = freshStore();
    const { path } = await put(store, 'x');
    expect(await verifyStore(store)).toEqual([]);
    chmodSync(join(path, 'a/b.txt'), 0o644);
    writeFileSync(join(path, 'a/b.txt'), 'y');
    rmSync(join(path, 'run.sh'), { force: true });
    writeFileSync(join(path, 'new'), '');
    expect((await verifyStore(store))[0]?.faults).toEqual([
      'a/b.txt was changed',
      'run.sh is missing',
      'new does not belong there',
    ]);
  });
});

describe('keys', () => {
  it('lead to what was made, until it is gone', async () => {
    const store = freshStore();
    const { id, path } = await put(store, 'x');
    await store.remember('recipe 1', [id], { size: 5 });
    expect(store.recall('recipe 1')).toEqual({ objects: [id], value: { size: 5 } });
    expect(store.recall('recipe 2')).toBeUndefined();
    rmSync(path, { recursive: true });
    expect(store.recall('recipe 1')).toBeUndefined();
  });

  it('note the day of their last use', async () => {
    const store = freshStore();
    await store.remember('k', [], 1);
    const file = join(store.path, 'keys', readdirSync(join(store.path, 'keys'))[0]!);
    utimesSync(file, 1000, 1000);
    expect(store.recall('k')?.value).toBe(1);
    expect(Date.now() - statSync(file).mtimeMs).toBeLessThan(60_000);
  });

  it('that are damaged lead nowhere', async () => {
    const store = freshStore();
    await store.remember('k', [], 1);
    const file = join(store.path, 'keys', readdirSync(join(store.path, 'keys'))[0]!);
    writeFileSync(file, readFileSync(file, 'utf8').slice(0, 20));
    expect(store.recall('k')).toBeUndefined();
  });
});

describe('collectGarbage', () => {
  it('keeps what a name, a lease or a key in use leads to, also through others', async () => {
    const store = freshStore();
    const kernel = await put(store, 'kernel');
    const named = await put(store, 'named', [kernel.id]);
    const leased = await put(store, 'leased');
    const cached = await put(store, 'cached');
    const unused = await put(store, 'unused');
    await store.name('image', named.id);
    await store.lease('guest', [leased.id]);
    await store.remember('key', [cached.id]);
    expect(await collectGarbage(store)).toEqual([]);
    const collected = await collectGarbage(store, { nowMs: tomorrow() });
    expect(collected).toEqual([{ id: unused.id, kind: 'test', source: "the text 'unused'", bytes: 16 }]);
    await store.release('guest');
    await store.forgetName('image');
    const rest = await collectGarbage(store, { nowMs: yearLater() });
    expect(rest.map(({ id }) => id).sort()).toEqual([kernel.id, named.id, leased.id, cached.id].sort());
    expect(await store.keys()).toEqual([]);
    expect(readdirSync(join(store.path, 'tmp'))).toEqual([]);
  });

  it('lets go of a lease whose process is gone, and keeps one that nothing is known of', async () => {
    const store = freshStore();
    const [gone, elsewhere] = [await put(store, 'gone'), await put(store, 'elsewhere')];
    await store.lease('a', [gone.id], { owner: { ...thisProcess(), pid: 2 ** 22 + 5 } });
    await store.lease('b', [elsewhere.id], {
      owner: { ...thisProcess(), host: 'n17', machine: 'm', boot: 'b' },
    });
    expect((await store.leases()).map(({ host, guest }) => [host, guest])).toEqual([['n17', 'b']]);
    expect((await collectGarbage(store, { nowMs: tomorrow() })).map(({ id }) => id)).toEqual([gone.id]);
  });

  it('puts back what is named while it collects', async () => {
    const store = freshStore();
    const { id } = await put(store, 'x');
    const makeTemporary = store.makeTemporary.bind(store);
    // Called after the references were read and before anything is taken away.
    store.makeTemporary = async () => {
      await store.name('late', id);
      return makeTemporary();
    };
    expect(await collectGarbage(store, { nowMs: tomorrow() })).toEqual([]);
    expect((await store.resolve('late')).id).toBe(id);
  });

  it('refuses a lease on what is not there', async () => {
    const store = freshStore();
    await expect(store.lease('a', ['0'.repeat(64)])).rejects.toMatchObject({ code: 'image-not-found' });
    expect(await store.leases()).toEqual([]);
  });

  it('tells what is used and what is not', async () => {
    const store = freshStore();
    await store.name('x', (await put(store, 'xx')).id);
    await put(store, 'yyy');
    expect(await usageOf(store)).toEqual({ objects: 2, bytes: 25, unusedBytes: 13, temporary: 0 });
    expect(await usageOf(freshStore())).toEqual({ objects: 0, bytes: 0, unusedBytes: 0, temporary: 0 });
  });
});

describe('tmp', () => {
  it('is cleaned of what dead processes and old ones left, and of nothing else', async () => {
    const store = freshStore();
    const mine = await store.makeTemporary();
    const name = mine.slice(mine.lastIndexOf('/') + 1);
    const dead = name.replace(/\.\d+\.\d+-/, '.4194309.1-');
    const elsewhere = `00000000.${name.split('.').slice(1).join('.')}`;
    for (const each of [dead, elsewhere, 'whatever']) mkdirSync(join(store.path, 'tmp', each));
    await store.cleanTemporary();
    expect(readdirSync(join(store.path, 'tmp')).sort()).toEqual([elsewhere, name, 'whatever'].sort());
    await store.cleanTemporary(tomorrow());
    expect(readdirSync(join(store.path, 'tmp'))).toEqual([name]);
  });
});

describe('fateOf', () => {
  const here = thisProcess();
  it('is sure only of processes it can see', () => {
    expect(fateOf(here)).toBe('alive');
    expect(fateOf({ ...here, startTicks: 1 })).toBe('gone');
    expect(fateOf({ ...here, pidNamespace: '1' })).toBe('unknown');
    expect(fateOf({ ...here, host: 'other', boot: 'other' })).toBe('unknown');
    expect(fateOf({ ...here, machine: 'other', boot: 'other' })).toBe('unknown');
  });
  it.skipIf(here.machine === 'unknown')('knows that nothing outlives a reboot', () => {
    expect(fateOf({ ...here, boot: 'before' })).toBe('gone');
  });
});

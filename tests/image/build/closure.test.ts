import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { buildClosure, entriesOf } from '../../../src/image/build/closure.ts';
import { collectHostFiles, findProgram } from '../../../src/image/build/closure-files.ts';
import { imageOfObject } from '../../../src/image/record.ts';
import { openStore } from '../../../src/image/store.ts';
import { hasProgram, temporaryDirectory } from '../samples.ts';

const root = temporaryDirectory();
const script = join(root, 'script');
writeFileSync(script, '#!/usr/bin/env sh\necho hi\n');
chmodSync(script, 0o755);

const pathsOf = (files: { path: string }[]) => files.map(({ path }) => path);

describe('collectHostFiles', () => {
  it('takes a program with its interpreter, libraries and every link on the way', async () => {
    const { files, missing } = await collectHostFiles([findProgram('true')], []);
    const paths = pathsOf(files);
    const interpreter = paths.find((path) => /\/ld-(?:linux|musl)[^/]*$/.test(path));
    expect(interpreter).toBeDefined();
    expect(paths.some((path) => /\/libc\.so\.6$|\/ld-musl/.test(path))).toBe(true);
    expect(paths).toContain('/etc/nsswitch.conf');
    expect(missing).toEqual([]);
    for (const file of files) {
      if (file.kind !== 'symlink' || file.target!.startsWith('/')) continue;
      expect(paths).toContain(join(file.path, '..', file.target!));
    }
    for (const path of paths) {
      const parent = join(path, '..');
      expect(parent === '/' || paths.indexOf(parent) < paths.indexOf(path)).toBe(true);
    }
  });

  it('takes what a script is run by', async () => {
    const paths = pathsOf((await collectHostFiles([script], [])).files);
    expect(paths).toContain(script);
    expect(paths.some((path) => /\/bin\/env$/.test(path))).toBe(true);
    expect(paths.some((path) => /\/bin\/(?:sh|dash|bash|busybox)$/.test(path))).toBe(true);
  });

  it('takes an included directory whole, but no secrets, and refuses what is not there', async () => {
    const data = join(root, 'data');
    mkdirSync(join(data, 'deep'), { recursive: true });
    writeFileSync(join(data, 'deep/file'), 'x');
    symlinkSync('..', join(data, 'deep/up'));
    symlinkSync('/nowhere', join(data, 'dangling'));
    const paths = pathsOf((await collectHostFiles([], [data])).files);
    for (const name of ['deep/file', 'deep/up', 'dangling']) expect(paths).toContain(join(data, name));
    expect(paths).not.toContain(script);
    await expect(collectHostFiles([], [join(root, 'absent')])).rejects.toMatchObject({ code: 'host-io' });
    await expect(collectHostFiles([], ['/etc/shadow'])).rejects.toMatchObject({ code: 'host-io' });
  });

  it('tells a library that a program needs and the host lacks', async () => {
    const broken = join(root, 'broken');
    copyFileSync('/bin/true', broken);
    execFileSync('sed', ['-i', 's/libc\\.so\\.6/libq.so.6/', broken]);
    expect((await collectHostFiles([broken], [])).missing).toEqual(['libq.so.6']);
  });
});

describe('findProgram', () => {
  it('says what is wrong with a name', () => {
    expect(() => findProgram('no-such-program-here')).toThrow("there is no program 'no-such-program-here'");
    expect(() => findProgram(join(root, 'absent'))).toThrow('there is no program');
    writeFileSync(join(root, 'plain'), 'x');
    expect(() => findProgram(root)).toThrow('is not a program');
  });
});

describe('entriesOf', () => {
  it('makes a root with the usual directories, this user, and no secrets', async () => {
    const entries = entriesOf((await collectHostFiles([], [])).files);
    const byPath = new Map(entries.map((entry) => [entry.path, entry]));
    expect(byPath.get('/tmp')).toMatchObject({ kind: 'directory', mode: 0o1777, uid: 0 });
    expect(byPath.get('/proc')).toMatchObject({ kind: 'directory' });
    const passwd = byPath.get('/etc/passwd') as { data: Buffer };
    expect(passwd.data.toString()).toContain(`:${process.getuid!()}:`);
    expect(byPath.has('/etc/shadow')).toBe(false);
  });
});

describe.skipIf(!hasProgram('sqfstar') || !hasProgram('unsquashfs'))('buildClosure', () => {
  const store = openStore(join(root, 'store'));

  it('stores an image that runs, and gives the same one again until a file changes', async () => {
    const first = await buildClosure([script], store, { name: 'script' });
    expect(first).toMatchObject({ name: 'script', cached: false, missing: [] });
    const image = await imageOfObject(store, first.id, 'script');
    if (image.kind !== 'linux' || image.root.kind !== 'block') throw new Error('not an image');
    const listing = execFileSync('unsquashfs', ['-ll', image.root.path], { encoding: 'utf8' });
    expect(listing).toMatch(/drwxrwxrwt root\/root .* squashfs-root\/tmp\n/);
    expect(listing).toContain(`squashfs-root${script}\n`);

    const again = await buildClosure([script], store);
    expect(again).toMatchObject({ id: first.id, cached: true, files: first.files });

    // What a purge of old files leaves of an image is none that was there already.
    rmSync(image.root.path, { force: true });
    expect(await buildClosure([script], store)).toMatchObject({ id: first.id, cached: false });
    expect(existsSync(image.root.path)).toBe(true);

    writeFileSync(script, '#!/usr/bin/env sh\necho changed\n');
    const changed = await buildClosure([script], store);
    expect(changed.cached).toBe(false);
    expect(changed.id).not.toBe(first.id);
  });

  it.skipIf(process.getuid!() !== 0 || !hasProgram('setcap'))(
    'names the programs whose capabilities it does not keep',
    async () => {
      const able = join(root, 'able');
      copyFileSync('/bin/true', able);
      execFileSync('setcap', ['cap_net_raw=ep', able]);
      const { notes } = await buildClosure([able, script], store);
      expect(notes.filter((note) => note.includes(root))).toEqual([
        `file capabilities are not kept: ${able} cap_net_raw=ep`,
      ]);
    },
  );

  it('leaves nothing when it is ended', async () => {
    const stop = new AbortController();
    const onProgress = (text: string): void => {
      if (text.startsWith('packing')) stop.abort(new Error('interrupted'));
    };
    writeFileSync(script, '#!/usr/bin/env sh\necho changed again\n');
    const building = buildClosure([script], store, { signal: stop.signal, onProgress });
    await expect(building).rejects.toThrow('interrupted');
    expect(readdirSync(join(store.path, 'tmp'))).toEqual([]);
  });
});

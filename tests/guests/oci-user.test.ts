/** Whom commands run as in an image that names a user, and by whom they are asked to. */

import { execFileSync } from 'node:child_process';
import { chownSync, copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Runtime } from './lodge.ts';

let here: Runtime;
let env: Record<string, string>;
const whoami = ['sh', '-c', 'id -u; id -g; id -G; echo "$HOME $USER"; pwd'];

beforeAll(async () => {
  here = new Runtime();
  env = { LODGE_DATA_DIR: join(here.work, 'data') };
  const tree = join(here.work, 'tree');
  for (const path of ['bin', 'etc', 'app']) mkdirSync(join(tree, path), { recursive: true });
  copyFileSync('/bin/busybox', join(tree, 'bin/busybox'));
  for (const name of ['sh', 'id', 'cat', 'tar', 'mktemp', 'rm', 'mv', 'dirname', 'basename', 'stat']) {
    symlinkSync('busybox', join(tree, 'bin', name));
  }
  writeFileSync(join(tree, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\napp:x:1500:1600::/app:/bin/sh\n');
  writeFileSync(join(tree, 'etc/group'), 'root:x:0:\nmore:x:1700:app\n');
  const run = (...argv: string[]) => execFileSync(argv[0]!, argv.slice(1), { cwd: here.work, stdio: 'pipe' });
  run('umoci', 'init', '--layout', 'layout');
  run('umoci', 'new', '--image', 'layout:one');
  run('umoci', 'insert', '--image', 'layout:one', 'tree', '/');
  const settings = [
    '--config.user',
    'app',
    '--config.workingdir',
    '/app',
    '--config.cmd',
    'cat',
    '--config.cmd',
    '/etc/passwd',
  ];
  run('umoci', 'config', '--image', 'layout:one', ...settings);
  chownSync(join(here.work, 'tree/app'), process.getuid!(), process.getgid!());
  const imported = await here.lodge(['image', 'import', 'layout:one', '--name', 'named'], { env });
  // Its probe is told on standard error.
  await here.lodge(['run', '-n', '-a', 'uml'], { env });
  expect(imported).toMatchObject({ code: 0, stderr: expect.stringContaining("the image's user 'app'") });
}, 60_000);

afterAll(async () => {
  expect(await here.close()).toEqual([]);
});

describe('an image that names a user', () => {
  it('has its commands run as that, in its own directory, and as others when asked', async () => {
    const ran = await here.lodge(['run', '-a', 'uml', '--image', 'named', '--', ...whoami], { env });
    expect({ ...ran, stdout: ran.stdout.toString() }).toEqual({
      code: 0,
      stderr: '',
      stdout: '1500\n1600\n1600 1700\n/app app\n/app\n',
    });
    const gone = await here.lodge(['run', '-a', 'uml', '--image', 'named', '-u', 'nosuch', '--', 'id'], {
      env,
    });
    expect(gone).toMatchObject({ code: 125, stderr: expect.stringContaining('[no-such-user]') });
    expect(here.files()).toEqual([]);
  });

  it('has them run so in a guest that stays, while copies are made as who we are', async () => {
    await here.lodge(['run', '-d', '-a', 'uml', '--image', 'named', '--name', 'stays'], { env });
    const exec = async (...flags: string[]): Promise<string> => {
      const { stdout, stderr } = await here.lodge(
        ['exec', ...flags, 'stays', '--', 'sh', '-c', 'id -u; id -g; pwd'],
        { env },
      );
      return stdout.toString() + stderr;
    };
    const us = `${process.getuid!()}\n${process.getgid!()}\n`;
    expect(await exec()).toBe('1500\n1600\n/app\n');
    expect(await exec('-u', 'app:more', '--cwd', '/app')).toBe('1500\n1700\n/app\n');
    expect(await exec('-u', execFileSync('id', ['-un'], { encoding: 'utf8' }).trim())).toBe(
      `${us}${here.work}\n`,
    );
    expect(await exec('-u', 'root', '--cwd', '/')).toBe('0\n0\n/\n');
    expect(await exec('-u', 'nosuch')).toContain('[no-such-user]');
    writeFileSync(join(here.work, 'file'), '');
    expect(await here.lodge(['cp', 'file', 'stays:/tmp/file'], { env })).toMatchObject({
      code: 0,
      stderr: '',
    });
    const owner = await here.lodge(['exec', 'stays', '--', 'stat', '-c', '%u', '/tmp/file'], { env });
    expect(owner.stdout.toString()).toBe(`${process.getuid!()}\n`);
    await here.lodge(['rm', '-f', 'stays'], { env });
  });
});

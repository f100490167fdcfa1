import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openStore } from '../../src/image/store.ts';
import { hasProgram, inTree, lookUpImage } from '../../src/study/image-tree.ts';

const dir = mkdtempSync(join(tmpdir(), 'lodge-tree-'));
afterAll(() => rmSync(dir, { recursive: true }));

describe('an image that the benchmarks come from', () => {
  it('is entered with the programs of lodge at their place, and the command as it is', () => {
    const command = { argv: ['/opt/lodge/programs/yardstick', '--', 'a b'], env: { A: '1' }, input: 'x' };
    const { argv, env, input } = inTree(command, { entry: ['unshare', '--'], path: '/t/root' }, '/opt/lodge');
    expect(argv.slice(0, 4)).toEqual(['unshare', '--', 'sh', '-c']);
    expect(argv[4]).toMatch(/exec chroot "\$root" "\$@"\n$/);
    expect(argv.slice(5)).toEqual(['image', '/t/root', '/opt/lodge', ...command.argv]);
    expect([env, input]).toEqual([command.env, command.input]);
  });

  it('has what lies on its own PATH, links that lead elsewhere on this host included', () => {
    mkdirSync(join(dir, 'usr/bin'), { recursive: true });
    writeFileSync(join(dir, 'usr/bin/hpcc'), '');
    symlinkSync('/etc/alternatives/nothing-here', join(dir, 'usr/bin/mpiexec'));
    expect(hasProgram({ path: dir }, 'hpcc')).toBe(true);
    expect(hasProgram({ path: dir }, 'mpiexec')).toBe(true);
    // Every host has this one.
    expect(hasProgram({ path: dir }, 'sh')).toBe(false);
  });

  it('must have files, and must be there', async () => {
    const store = openStore(join(dir, 'store'));
    await expect(lookUpImage('host', store)).rejects.toMatchObject({ code: 'spec-value' });
    await expect(lookUpImage('none', store)).rejects.toMatchObject({ code: 'image-not-found' });
  });
});

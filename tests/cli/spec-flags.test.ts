import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type SpecFlags, specOfFlags } from '../../src/cli/spec-flags.ts';
import { LodgeError } from '../../src/errors.ts';
import { type Fix, fixWith, key, type SpecPath } from '../../src/fix.ts';

const directory = mkdtempSync(join(tmpdir(), 'lodge-test-'));
afterAll(() => rmSync(directory, { recursive: true }));
const file = join(directory, 'g.yaml');
writeFileSync(file, 'memory: 64M\npages: 2M\nvolumes:\n  - /a:/b\n');

async function told(flags: Partial<SpecFlags>, asked: SpecPath, fix: Fix = 'do', where?: string) {
  const { told } = await specOfFlags({ share: true, ...flags }, true, { cpus: 3 });
  const error = told(
    new LodgeError('driver-cannot', 'no', { asked, fix, ...(where === undefined ? {} : { where }) }),
  ) as LodgeError;
  return [error.where, error.fix];
}

describe('what cannot be had for a guest of lodge run', () => {
  const fix = fixWith`${key('memory', '96M')}, ${key('placement', 'prefer')}, ${key('pin', 'true')} or no ${key('volumes')}`;
  const inFlags = '--memory 96M, --prefer, --pin or no -v';
  const inKeys = 'memory: 96M, placement: prefer, pin: true or no volumes';

  it.each([
    [{ memory: '32M' }, ['memory'], '--memory 32M'],
    [{ cpus: 7 }, ['cpus'], '--cpus 7'],
    [{ pin: true }, ['pin'], '--pin'],
    [{ pin: '0-3' }, ['pin'], '--pin 0-3'],
    [{ prefer: true }, ['placement'], '--prefer'],
    [{ volume: ['/a:/b', '/c d:/e'] }, ['volumes', 1], "-v '/c d:/e'"],
    [{ pci: ['3b:00.1'] }, ['pci', 0], '--pci 3b:00.1'],
    [{ image: 'x' }, ['image'], '--image x'],
    [{ kernel: 'k', initrd: 'i' }, ['image'], '--kernel k'],
    [{ mountType: 'virtiofs' }, ['mount-type'], '--mount-type virtiofs'],
    [{ append: 'x'.repeat(501) }, ['append'], '--append'],
    // What nobody has written has no place.
    [{}, ['memory'], undefined],
    [{}, ['cpus'], undefined],
  ] satisfies [Partial<SpecFlags>, SpecPath, string | undefined][])(
    '%j is told at its flag',
    async (flags, asked, where) => {
      expect(await told(flags, asked, fix)).toEqual([where, inFlags]);
    },
  );
  it('is told at the line of the file that asked for it, in its words', async () => {
    expect(await told({ spec: file }, ['pages'], fix)).toEqual([`${file}:2:8`, inKeys]);
    expect(await told({ spec: file }, ['volumes', 0], fix)).toEqual([`${file}:4:5`, inKeys]);
  });
  it('is told at the flag that won over the file', async () => {
    expect(await told({ spec: file, memory: '80M' }, ['memory'], fix)).toEqual(['--memory 80M', inFlags]);
  });
  it('keeps the path that was looked at', async () => {
    expect(await told({ kernel: 'k', image: 'host' }, ['kernel'], 'do', '/k')).toEqual(['/k', 'do']);
  });
});

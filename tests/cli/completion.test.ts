import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { completionOf } from '../../src/cli/completion.ts';
import { buildProgram } from '../../src/cli/program.ts';

const program = await buildProgram('0');
const root = mkdtempSync(join(tmpdir(), 'lodge-completion-'));
afterAll(() => rmSync(root, { recursive: true }));
mkdirSync(join(root, 'data/names'), { recursive: true });
for (const name of ['rescue', 'debian-hpc']) writeFileSync(join(root, `data/names/${name}.json`), '{}');
mkdirSync(join(root, 'run/guests/v01'), { recursive: true });
mkdirSync(join(root, 'xdg/lodge/guests/v02'), { recursive: true });
mkdirSync(join(root, 'share/lodge/names'), { recursive: true });
writeFileSync(join(root, 'share/lodge/names/mine.json'), '{}');
writeFileSync(join(root, 'share/lodge/names/$(exit).json'), '{}');
writeFileSync(join(root, 'bzImage'), '');

/** What bash offers after these words, the last of which is being written. */
function offered(words: readonly string[], env: Record<string, string> = {}): string[] {
  const script = `${completionOf(program, 'bash')}
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _lodge; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const output = execFileSync('bash', ['-c', script, 'bash', 'lodge', ...words], {
    cwd: root,
    encoding: 'utf8',
    env: {
      PATH: process.env.PATH,
      HOME: root,
      LODGE_DATA_DIR: join(root, 'data'),
      LODGE_RUNTIME_DIR: join(root, 'run'),
      ...env,
    },
  });
  return output.split('\n').filter((line) => line !== '');
}

describe('completion in bash', () => {
  it('offers verbs, their parts and their flags', () => {
    expect(offered(['ru'])).toEqual(['run']);
    expect(offered(['-q', 'ru'])).toEqual(['run']);
    expect(offered(['image', 'imp'])).toEqual(['import']);
    expect(offered(['image', 'import', '--all'])).toEqual(['--allow-backing']);
    expect(offered(['run', '--ac'])).toEqual(['--accelerator']);
  });

  it('offers the values of a flag', () => {
    expect(offered(['run', '-a', ''])).toEqual(['auto', 'kvm', 'uml', 'tcg', 'netns']);
    expect(offered(['run', '--accelerator', 't'])).toEqual(['tcg']);
    expect(offered(['run', '--accelerator', '=', 't'])).toEqual(['tcg']);
    expect(offered(['run', '--accelerator', '='])).toHaveLength(5);
    expect(offered(['run', '--pages', ''])).toEqual(['any', '4K', 'thp', '2M', '1G']);
    expect(offered(['run', '--mount-type', ''])).toEqual(['9p', 'virtiofs']);
    expect(offered(['place', '--effort', ''])).toEqual(['fast', 'normal', 'best']);
  });

  it('offers files where a flag takes one, and no flags', () => {
    expect(offered(['run', '--kernel', 'b'])).toEqual(['bzImage']);
    expect(offered(['run', '--kernel', '--'])).toEqual([]);
  });

  it('offers images by name', () => {
    expect(offered(['run', '--image', '']).sort()).toEqual(['debian-hpc', 'host', 'rescue']);
    expect(offered(['image', 'rm', 're'])).toEqual(['rescue']);
    const elsewhere = { LODGE_DATA_DIR: '', XDG_DATA_HOME: join(root, 'share') };
    expect(offered(['image', 'inspect', 'm'], elsewhere)).toEqual(['mine']);
  });

  it('offers guests by name, wherever their directory is', () => {
    expect(offered(['exec', 'v'])).toEqual(['v01']);
    // The directory of this user under /run/user comes first, where there is one.
    const xdg = { LODGE_RUNTIME_DIR: '', XDG_RUNTIME_DIR: join(root, 'xdg') };
    const hasOwn = execFileSync('sh', ['-c', '[ -O /run/user/$(id -u) ] && echo own || true']).length > 0;
    if (!hasOwn) expect(offered(['stop', 'v'], xdg)).toEqual(['v02']);
  });
});

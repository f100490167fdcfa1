import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseYaml } from '../../../src/document.ts';
import { parseDeb822, parseOneLine, sourcesText } from '../../../src/image/build/apt.ts';
import { planBootstrap, progressOf, quote } from '../../../src/image/build/bootstrap.ts';
import { adviceFor } from '../../../src/image/build/namespace.ts';
import { buildRecipe } from '../../../src/image/build/recipe.ts';
import { digestOf, recipeEntries } from '../../../src/image/build/recipe-files.ts';
import { checkRecipe, readRecipe, recipeSchema } from '../../../src/image/build/recipe-schema.ts';
import { openStore } from '../../../src/image/store.ts';
import { installationDir } from '../../../src/installation.ts';
import { temporaryDirectory } from '../samples.ts';

const root = temporaryDirectory();
const base = { suite: 'bookworm' };
const faultOf = (text: string) => {
  try {
    parseYaml(text, recipeSchema, 'r.yaml');
  } catch (error) {
    return error as { code: string; where: string; fix: string; message: string };
  }
  throw new Error('no fault');
};

describe('recipeSchema', () => {
  it('fills in the defaults', () => {
    expect(checkRecipe({ name: 'a', base })).toMatchObject({
      base: { suite: 'bookworm', variant: 'minbase' },
      packages: [],
      commands: [],
      filesystem: 'squashfs',
    });
  });

  it('says where a fault is, and what was meant', () => {
    const unknown = faultOf('name: a\nbase: {suite: bookworm}\npackags: [hpcc]\n');
    expect(unknown).toMatchObject({ code: 'spec-unknown-key', fix: "did you mean 'packages'?" });
    expect(unknown.where).toMatch(/^r\.yaml:3:/);
    expect(faultOf('name: a\nbase:\n  suite: bookworm\n  varient: apt\n')).toMatchObject({
      code: 'spec-unknown-key',
      where: expect.stringMatching(/^r\.yaml:4:/),
    });
    expect(faultOf('name: a\nbase: {suite: bookworm}\npackages:\n  - hpcc\n  - "--help"\n')).toMatchObject({
      code: 'spec-value',
      where: 'r.yaml:5:5',
    });
    expect(faultOf('name: a b\nbase: {suite: x}\n').where).toBe('r.yaml:1:7');
    expect(faultOf('name: a\nbase: {suite: x}\nfiles:\n  - {to: /a/../b, content: x}\n').message).toContain(
      '..',
    );
    expect(
      faultOf('name: a\nbase: {suite: x}\nfiles:\n  - {to: /a, content: x, from: y}\n').message,
    ).toContain('either');
    expect(faultOf('name: a\nbase: {suite: x}\nfiles:\n  - {to: /a, content: x, mode: 644}\n').code).toBe(
      'spec-value',
    );
    expect(faultOf('name: [\n').code).toBe('spec-syntax');
  });

  it('takes the recipes that lodge ships', () => {
    const { recipe } = readRecipe(join(installationDir, 'images/debian-hpc.yaml'));
    expect(recipe.packages).toContain('hpcc');
  });
});

describe('buildRecipe', () => {
  it('refuses what it cannot build before it does anything', async () => {
    const store = openStore(join(root, 'store'));
    await expect(buildRecipe(join(root, 'absent.yaml'), store)).rejects.toMatchObject({
      code: 'image-not-found',
    });
    await expect(buildRecipe({ name: 'host', base }, store)).rejects.toMatchObject({ code: 'spec-value' });
    await expect(buildRecipe({ name: 'a', base: { suite: 'no-such-suite' } }, store)).rejects.toMatchObject({
      code: 'image-build',
      where: 'base.suite',
    });
  });
});

describe('recipeEntries', () => {
  it('lays files and trees out, owned by root', () => {
    mkdirSync(join(root, 'tree/sub'), { recursive: true });
    writeFileSync(join(root, 'tree/sub/run'), 'x');
    chmodSync(join(root, 'tree/sub/run'), 0o750);
    symlinkSync('run', join(root, 'tree/sub/link'));
    const files = checkRecipe({
      name: 'a',
      base,
      files: [
        { to: '/opt/tree/', from: 'tree' },
        { to: '/etc/motd', content: 'hi', mode: '0600' },
      ],
    }).files;
    const entries = recipeEntries(files, root);
    expect(
      entries.map((entry) => [entry.path, entry.kind, entry.kind === 'symlink' ? entry.target : entry.mode]),
    ).toEqual([
      ['/etc/motd', 'file', 0o600],
      ['/opt/tree', 'directory', 0o755],
      ['/opt/tree/sub', 'directory', 0o755],
      ['/opt/tree/sub/link', 'symlink', 'run'],
      ['/opt/tree/sub/run', 'file', 0o755],
    ]);
    const before = digestOf(entries);
    writeFileSync(join(root, 'tree/sub/run'), 'y');
    expect(digestOf(recipeEntries(files, root))).not.toBe(before);
    expect(() => recipeEntries([{ to: '/a', from: 'absent' }], root)).toThrow('is not there');
  });
});

describe('package sources', () => {
  const deb822 = `# a comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates trixie
Components: main
# inside a stanza
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQ==

Types: deb-src
URIs: http://mirror.example/debian
Suites: bookworm

Types: deb
Enabled: no
URIs: http://other.example/debian
Suites: bookworm
`;

  it('are read from deb822 files, without what is switched off or holds sources only', () => {
    const sources = parseDeb822(deb822);
    expect(sources).toHaveLength(1);
    expect(sources[0]!.get('Signed-By')).toContain('mQ==');
    const text = sourcesText(base, sources);
    expect(text).toContain('Suites: bookworm bookworm-updates\n');
    expect(text).toContain('\n mQ==\n');
    expect(parseDeb822(text)).toHaveLength(1);
  });

  it('are read from one-line files', () => {
    const sources = parseOneLine(`deb-src http://a/ bookworm main
#deb http://a/ bookworm main
deb [arch=amd64,arm64 signed-by=/key.gpg] http://a/debian bookworm main contrib # note
deb http://b/ ./
`);
    expect([...sources[0]!]).toEqual([
      ['Types', 'deb'],
      ['URIs', 'http://a/debian'],
      ['Suites', 'bookworm'],
      ['Components', 'main contrib'],
      ['Architectures', 'amd64 arm64'],
      ['Signed-By', '/key.gpg'],
    ]);
    expect(sourcesText({ ...base, components: ['main'] }, sources)).toContain('Components: main\n');
    expect(sources).toHaveLength(2);
  });

  it('are the mirror alone when one is named, and an error when there is none', () => {
    expect(sourcesText({ ...base, mirror: 'http://m/' }, parseDeb822(deb822))).toBe(
      'Types: deb\nComponents: main\nURIs: http://m/\nSuites: bookworm\n',
    );
    expect(() => sourcesText({ suite: 'bookworm-updates' }, [])).toThrow('no package source');
  });
});

describe('planBootstrap', () => {
  const recipe = checkRecipe({
    name: 'a',
    base,
    packages: ['hpcc', 'numactl'],
    exclude: ['/usr/share/doc/*'],
    commands: ['echo "$A"', 'true'],
    env: { A: "it's" },
  });
  const input = { recipe, name: 'a', target: '/scratch/root', fetchOptions: 'Acquire::Retries "3";\n' };

  it('keeps what is long or private out of the command line', () => {
    const { argv, env } = planBootstrap(input);
    expect(argv).toContain('--include=hpcc,numactl');
    expect(env.LODGE_PACKAGES).toBe('hpcc numactl');
    expect(env.LODGE_EXCLUDE).toBe('/usr/share/doc/*');
    expect(argv.slice(-3)).toEqual(['bookworm', '/scratch/root', '-']);
    expect(env.LODGE_COMMAND_0).toBe(`export A='it'\\''s'\necho "$A"`);
    expect(argv.join('\n')).not.toContain('Retries');
    expect(argv.filter((arg) => arg.startsWith('--customize-hook='))).toHaveLength(3);
  });

  it('puts files in before commands run', () => {
    const hooks = planBootstrap({ ...input, filesPath: '/w/files.tar' }).argv.filter((arg) =>
      arg.startsWith('--customize-hook='),
    );
    expect(hooks[0]).toContain('tar -xf -');
    expect(hooks[1]).toContain('LODGE_COMMAND_0');
  });

  it('looks for packages before it sets up the base, and not for none', () => {
    const hooks = (packages: string[]): string[] =>
      planBootstrap({ ...input, recipe: { ...recipe, packages } }).argv.filter((arg) =>
        arg.startsWith('--extract-hook=APT_CONFIG'),
      );
    expect(hooks(['hpcc'])).toEqual([expect.stringContaining('apt-get --simulate install $LODGE_PACKAGES')]);
    expect(hooks([])).toEqual([]);
  });

  it('tells what it is doing', () => {
    expect(progressOf('I: installing essential packages...')).toBe('installing essential packages');
    expect(progressOf('I: running command 1 of 2')).toBe('running command 1 of 2');
    for (const line of [
      'I: using /tmp/x as tempdir',
      'Unpacking a',
      "I: running --customize-hook in shell: sh -c 'x'",
    ]) {
      expect(progressOf(line)).toBeUndefined();
    }
    expect(quote('')).toBe("''");
  });
});

describe('adviceFor', () => {
  it('says what is missing to be root without root', () => {
    expect(adviceFor('unshare: failed to execute newuidmap: No such file or directory', 'u', '')).toContain(
      'uidmap',
    );
    expect(adviceFor('unshare: no line matching user "u" in /etc/subuid', 'u', 'v:100000:65536\n')).toContain(
      '--add-subuids',
    );
    expect(adviceFor("unshare: unrecognized option '--map-auto'", 'u', '')).toContain('2.38');
    expect(adviceFor('unshare: unshare failed: Operation not permitted', 'u', 'u:100000:65536\n')).toContain(
      'forbids',
    );
  });
});

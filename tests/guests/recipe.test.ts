import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { buildRecipe } from '../../src/image/build/recipe.ts';
import type { RecipeInput } from '../../src/image/build/recipe-schema.ts';
import { imageOfObject } from '../../src/image/record.ts';
import { openStore } from '../../src/image/store.ts';

const root = mkdtempSync(join(tmpdir(), 'lodge-recipe-'));
const store = openStore(join(root, 'store'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** The suite of this host, whose package sources are used. */
const suite = /^VERSION_CODENAME=(\w+)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'bookworm';
const recipe: RecipeInput = {
  name: 'tiny',
  base: { suite, variant: 'essential' },
  packages: ['numactl'],
  exclude: ['/usr/share/doc/*', '/usr/share/locale/*', '/usr/share/man/*'],
  files: [{ to: '/opt/greeting', content: 'hello\n' }],
  commands: ['test "$(cat /opt/greeting)" = hello', 'echo "$WORD" > /etc/word'],
  env: { WORD: "it's" },
  command: ['cat', '/etc/word'],
};

describe('a recipe', () => {
  it('becomes an image, and is not built again', async () => {
    const said: string[] = [];
    const built = await buildRecipe(recipe, store, { onProgress: (text) => said.push(text) });
    expect(built).toMatchObject({ name: 'tiny', cached: false, notes: [] });
    // How far it is told depends on how often one looks; the first step takes long enough.
    expect(said).toContain('running apt-get update');
    const image = await imageOfObject(store, built.id, 'tiny');
    if (image.kind !== 'linux' || image.root.kind !== 'block') throw new Error('not an image');
    expect(image.defaults).toEqual({ env: { WORD: "it's" }, command: ['cat', '/etc/word'] });
    const files = execFileSync('unsquashfs', [
      '-cat',
      image.root.path,
      'etc/word',
      'etc/hostname',
      'etc/resolv.conf',
    ]);
    expect(files.toString()).toBe("it's\ntiny\n");
    const listing = execFileSync('unsquashfs', ['-ll', image.root.path], {
      encoding: 'utf8',
      maxBuffer: 1 << 26,
    });
    expect(listing).toMatch(/root\/root .* squashfs-root\/usr\/bin\/numactl\n/);
    // Neither of what was installed last, nor of the base.
    expect(listing).not.toMatch(/squashfs-root\/usr\/share\/(doc|locale|man)\/./);
    expect(listing).toMatch(/squashfs-root\/usr\/share\/common-licenses\/GPL-3\n/);
    expect(await buildRecipe(recipe, store)).toMatchObject({ id: built.id, cached: true });
  });

  // A package is missed, and a command fails, only when much is done, which takes minutes.
  const nowhere = { ...recipe.base, mirror: 'http://127.0.0.1:9/' };
  const faults: { what: string; change: Partial<RecipeInput>; reason: string }[] = [
    { what: 'a mirror that is not there', change: { base: nowhere }, reason: '127.0.0.1' },
    ...(process.env.LODGE_TEST_FULL === '1'
      ? [
          { what: 'a package that is not there', change: { packages: ['no-such'] }, reason: 'no-such' },
          { what: 'its command', change: { commands: ['echo reason >&2; false'] }, reason: 'reason' },
        ]
      : []),
  ];
  it.each(faults)('that fails over $what shows its log and leaves nothing', async ({ change, reason }) => {
    await expect(buildRecipe({ ...recipe, ...change }, store)).rejects.toMatchObject({
      code: 'image-build',
      detail: expect.stringContaining(reason),
      fix: expect.stringContaining('build-tiny.log'),
    });
    expect(existsSync(join(store.path, 'logs/build-tiny.log'))).toBe(true);
    expect(readdirSync(join(store.path, 'tmp'))).toEqual([]);
    expect(
      readdirSync(tmpdir()).filter(
        (name) => name.includes(`.${process.pid}.`) && name.startsWith('lodge-scratch'),
      ),
    ).toEqual([]);
  });
});

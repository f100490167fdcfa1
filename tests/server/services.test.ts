import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Services } from '../../src/server/services.ts';

let base: string;
let services: Services;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'lodge-services-'));
  services = new Services();
});

afterEach(async () => {
  await services.stopAll();
  rmSync(base, { recursive: true, force: true });
});

const group = (dir: string, ...argv: string[]) => ({
  name: 'group',
  dir,
  files: [{ name: 'conf', text: 'of the group\n' }],
  directories: ['state'],
  programs: [{ name: 'daemon', argv, ready: 'ready' }],
});

it('run in a directory of their own, which goes with them', async () => {
  const dir = join(base, 'place');
  await services.start(group(dir, 'sh', '-c', 'cat conf >seen; echo >ready; sleep 1000'));
  expect(readFileSync(join(dir, 'seen'), 'utf8')).toBe('of the group\n');
  await services.stop('group');
  expect(existsSync(dir)).toBe(false);
});

it('write nothing where a link leads that somebody has put in their place', async () => {
  const elsewhere = join(base, 'elsewhere');
  mkdirSync(elsewhere, { mode: 0o700 });
  symlinkSync(elsewhere, join(base, 'place'));
  await expect(services.start(group(join(base, 'place'), 'true'))).rejects.toMatchObject({ code: 'host-io' });
  expect(readdirSync(elsewhere)).toEqual([]);
});

it('that do not come up are told with what they said, and leave nothing', async () => {
  const dir = join(base, 'place');
  const failing = services.start(group(dir, 'sh', '-c', 'echo no such port; exit 3'));
  await expect(failing).rejects.toMatchObject({ code: 'host-agent', detail: 'no such port' });
  expect(existsSync(dir)).toBe(false);
});

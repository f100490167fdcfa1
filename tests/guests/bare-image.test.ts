/** An image that has nothing but one program. */

import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Runtime } from './lodge.ts';

let here: Runtime;

beforeAll(async () => {
  here = new Runtime();
  mkdirSync(join(here.work, 'tree'));
  copyFileSync('/bin/busybox', join(here.work, 'tree/busybox'));
  execFileSync('mksquashfs', ['tree', 'bare.squashfs', '-quiet'], { cwd: here.work, stdio: 'pipe' });
});

afterAll(async () => {
  expect(await here.close()).toEqual([]);
});

it('runs that program, which finds its names where all programs look for them', async () => {
  const argv = ['/busybox', 'cat', '/etc/hostname'];
  const run = ['-q', 'run', '-a', 'uml', '--name', 'bare', '--image', './bare.squashfs', '--', ...argv];
  const { code, stdout, stderr } = await here.lodge(run);
  expect([code, stdout.toString(), stderr]).toEqual([0, 'bare\n', '']);
});

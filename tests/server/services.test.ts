import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { identify } from '../../src/process-identity.ts';
import { type ServiceGroup, Services } from '../../src/server/services.ts';

let root: string;
let services: Services;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'lodge-services-'));
  services = new Services();
});

afterEach(async () => {
  await services.stopAll();
  rmSync(root, { recursive: true, force: true });
});

function group(more: Partial<ServiceGroup> = {}): ServiceGroup {
  return {
    ...{
      name: 'one',
      dir: join(root, 'one'),
      files: [{ name: 'conf', text: 'x=1\n' }],
      directories: ['state'],
    },
    programs: [
      // Ready late: the second finds what the first has made.
      { name: 'first', argv: ['sh', '-c', 'sleep 0.2; echo $$ >ready; exec sleep 100'], ready: 'ready' },
      { name: 'second', argv: ['sh', '-c', 'cat ready conf >seen; exec sleep 100'] },
    ],
    ...more,
  };
}

async function until(isSo: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !isSo(); i++) await delay(20);
  expect(isSo()).toBe(true);
}

test('programs of a group start one after the other, in a directory that goes with them', async () => {
  await services.start(group());
  const { dir } = group();
  expect(statSync(dir).mode & 0o777).toBe(0o700);
  await until(
    () => existsSync(join(dir, 'seen')) && readFileSync(join(dir, 'seen'), 'utf8').endsWith('x=1\n'),
  );
  const pid = Number(readFileSync(join(dir, 'ready'), 'utf8'));
  expect(identify(pid)).toBeDefined();
  // Asked for again, it goes on.
  await services.start(group());
  expect(Number(readFileSync(join(dir, 'ready'), 'utf8'))).toBe(pid);
  await services.stop('one');
  expect(identify(pid)).toBeUndefined();
  expect(existsSync(dir)).toBe(false);
  expect(services.isAny).toBe(false);
});

test('a group of which one does not come up is ended, and says why', async () => {
  const programs = [
    { name: 'first', argv: ['sleep', '100'] },
    { name: 'bad', argv: ['sh', '-c', 'echo no such thing; exit 3'], ready: 'never' },
  ];
  await expect(services.start(group({ programs }))).rejects.toMatchObject({
    code: 'host-agent',
    message: expect.stringContaining('code 3'),
    detail: 'no such thing',
  });
  expect(existsSync(group().dir)).toBe(false);
  expect(services.isAny).toBe(false);
});

test('a group ends with the process that it is bound to', async () => {
  const other = spawn('sleep', ['100']);
  await services.start(group({ boundTo: identify(other.pid!)! }));
  other.kill('SIGKILL');
  await until(() => !existsSync(group().dir));
  expect(services.isAny).toBe(false);
});

test('what a daemon has set free ends with the group', async () => {
  const script =
    'setsid sh -c "echo \\$\\$ >freed; sleep 100 & wait" & until [ -s freed ]; do sleep 0.05; done; touch ready; exec sleep 100';
  await services.start(group({ programs: [{ name: 'daemon', argv: ['sh', '-c', script], ready: 'ready' }] }));
  const pid = Number(readFileSync(join(group().dir, 'freed'), 'utf8'));
  expect(identify(pid)).toBeDefined();
  await services.stop('one');
  await until(() => identify(pid) === undefined);
});

/** Checkpoints of whole clusters. Under TCG, because the state of other guests here cannot be saved. */

import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RunResult, Runtime, until } from './lodge.ts';

const here = new Runtime();
const image = `checkpoint-${process.pid}`;
const lines = 60;

async function lodge(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await here.lodge(args, { timeoutMs: 300_000 });
  if (code !== 0) throw new Error(`lodge ${args.join(' ')} ended with ${code}: ${stderr}`);
  return stdout.toString();
}

const inGuest = (guest: string, script: string): Promise<string> =>
  lodge('exec', '--cwd', '/', guest, '--', 'sh', '-c', script);

const spec = `image: ${image}
defaults: {accelerator: tcg, memory: 192M, share: false}
guests: {"v[1-2]": }
fabric: {lan: {members: ["v[1-2]"], delay: 200ms}}
`;

beforeAll(async () => {
  await lodge('image', 'build', '--closure', 'busybox', '--name', image);
  writeFileSync(join(here.work, 'lab.yaml'), spec);
  await lodge('up', 'lab.yaml');
});

afterAll(async () => {
  for (const name of ['lab', 'lab-2']) await here.lodge(['down', name]);
  await here.lodge(['image', 'rm', image]);
  expect(await here.close()).toEqual([]);
});

/** What came over the connection, once all of it has. */
async function received(guest: string): Promise<string> {
  return until(
    'all that was sent',
    async () => {
      const got = await inGuest(guest, 'cat /tmp/got');
      return got.split('\n').length > lines ? got : undefined;
    },
    180_000,
  );
}

describe('a cluster', () => {
  it('is saved and goes on twice, with connections and frames on their way', async () => {
    const alone = (script: string): string =>
      `busybox setsid sh -c '${script}' > /dev/null 2>&1 < /dev/null &`;
    // Its input stays open: at the end of it, this nc would end the connection.
    await inGuest('v2', alone('busybox sleep 600 | busybox nc -l -p 7000 > /tmp/got'));
    const loop = `i=0; while [ $i -lt ${lines} ]; do echo line $i; i=$((i + 1)); busybox usleep 100000; done`;
    await inGuest('v1', alone(`(${loop}) | busybox nc v2 7000`));
    await until('something sent', async () => (await inGuest('v2', 'cat /tmp/got')) !== '');
    await lodge('checkpoint', 'saved');
    const whole = Array.from({ length: lines }, (_, i) => `line ${i}\n`).join('');
    expect((await lodge('restore', '--fork', 'saved')).trim()).toBe('lab-2');
    expect(await received('lab.v2')).toBe(whole);
    expect(await received('lab-2.v2')).toBe(whole);
    // Two clusters with the same names and addresses, and neither sees the other.
    await inGuest('lab.v1', 'echo first > /tmp/who');
    expect(await inGuest('lab-2.v1', 'cat /tmp/who 2>/dev/null || echo none')).toBe('none\n');
    const proof = JSON.parse(await lodge('fabric', 'prove', '--cluster', 'lab-2', '--json')) as {
      isProved: boolean;
    };
    expect(proof.isProved).toBe(true);
    await lodge('down', 'lab-2');
  });

  it('goes on when the host agent is killed in the middle of it', async () => {
    const frozen = join(here.dir, 'clusters/lab/frozen');
    const taking = here.startLodge(['checkpoint', 'broken'], { input: '' });
    await until('the cluster to stand still', () => existsSync(frozen));
    process.kill(here.agentPid()!, 'SIGKILL');
    expect((await taking.end).stderr).toMatch(/\[host-agent\]/);
    await lodge('status', 'lab');
    await until('the cluster to go on', () => !existsSync(frozen));
    expect(await inGuest('v1', 'busybox ping -c 1 -W 10 v2 > /dev/null && echo reached')).toBe('reached\n');
    expect(readdirSync(here.work).filter((name) => name.includes('broken'))).toEqual([]);
  });

  const refused = async (args: string[], pattern: RegExp): Promise<RunResult> => {
    const result = await here.lodge(args);
    expect(result.code).toBe(125);
    expect(result.stderr).toMatch(pattern);
    return result;
  };

  it('is not saved over something, nor restored over itself or from nothing', async () => {
    await refused(['checkpoint', 'saved'], /something at this place already \[checkpoint\]/);
    await refused(['restore', 'saved'], /a cluster named 'lab' already \[name-taken\]/);
    await refused(['restore', '--fork', 'nothing'], /there is no such directory \[checkpoint\]/);
  });

  it('is forked twice at once, under two names', async () => {
    const forks = await Promise.all([1, 2].map(() => lodge('restore', '--fork', 'saved')));
    expect(forks.sort()).toEqual(['lab-2\n', 'lab-3\n']);
    for (const name of ['lab-2', 'lab-3']) await lodge('down', name);
  });

  it('that does not fit is not begun, and is not there', async () => {
    cpSync(join(here.work, 'saved'), join(here.work, 'large'), { recursive: true });
    const path = join(here.work, 'large/checkpoint.json');
    const text = readFileSync(path, 'utf8').replaceAll(/"neededBytes": \d+/g, '"neededBytes": 1e14');
    writeFileSync(path, text);
    await refused(['restore', '--name', 'large', 'large'], /need 181\.9T of memory.*\[not-enough-memory\]/);
    expect(readdirSync(join(here.dir, 'clusters'))).toEqual(['lab']);
  });

  it('is not saved where nothing can be written', async () => {
    await refused(['checkpoint', '/proc/saved'], /\[(host-io|checkpoint)\]/);
    expect(await inGuest('v1', 'echo runs')).toBe('runs\n');
  });
});

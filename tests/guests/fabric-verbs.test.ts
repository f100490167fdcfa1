/** What the verbs of the fabric tell programs, and what they do where something is in their way. */

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { processesOf, Runtime, until } from './lodge.ts';

const spec = `
defaults: {accelerator: netns, memory: 64M}
guests:
  n[1-2]:
fabric:
  lan: {members: ['n[1-2]'], topology: 'ring:3'}
`;

describe('programs that use a cluster', () => {
  let here: Runtime;
  beforeAll(async () => {
    here = new Runtime();
    writeFileSync(join(here.work, 'lab.yaml'), spec);
    await here.done(['up', 'lab.yaml']);
  });
  afterAll(async () => {
    await here.done(['down', 'lab']);
    expect(await here.close()).toEqual([]);
  });

  const told = async (words: string): Promise<unknown> =>
    JSON.parse(await here.done(['--json', ...words.split(' ')]));
  const link = (name: string, more: object): unknown[] => [expect.objectContaining({ name, ...more })];
  const directions = (direction: object): object => ({
    out: expect.objectContaining(direction),
    in: expect.objectContaining(direction),
  });

  it('are told of each link that was changed as it is then', async () => {
    const loss = { shape: { loss: 0.01 } };
    expect(await told('fabric shape lan/n1 --loss 1%')).toEqual(link('lan/n1', directions(loss)));
    const cut = [
      ...link('lan/n1', directions({ isCut: true })),
      ...link('lan/n2', directions({ isCut: true })),
    ];
    expect(await told('fabric cut lan/n[1-2]')).toEqual(cut);
    expect(await told('fabric heal lan/n2')).toEqual(link('lan/n2', directions({ isCut: false })));
    const there = expect.objectContaining({ switch: 's2' });
    expect(await told('fabric move lan/n2 s2')).toEqual(link('lan/n2', { port: there }));
  });

  it('are told of each capture that begins and ends', async () => {
    const one = { link: 'lan/n1', file: join(here.work, 'lab/lan/n1.pcapng') };
    const captures = [expect.objectContaining(one)];
    expect(await told('fabric capture start lan/n1')).toEqual(captures);
    expect(await told('fabric capture ls')).toEqual(captures);
    expect(await told('fabric capture stop lan/n[1-2]')).toEqual(captures);
    expect(await told('fabric capture stop lan/n1')).toEqual([]);
  });

  it('are told of each copy, and of each guest that is stopped and removed', async () => {
    writeFileSync(join(here.work, 'one'), '1\n');
    mkdirSync(join(here.work, 'results'));
    expect(await told('cp one n1:/tmp/')).toEqual([{ from: join(here.work, 'one'), to: 'lab.n1:/tmp/' }]);
    expect(await told('cp n[1]:/tmp/one results')).toEqual([
      { from: 'lab.n1:/tmp/one', to: join(here.work, 'results/n1/one') },
    ]);
    expect(await told('stop n2')).toEqual([{ name: 'lab.n2' }]);
    expect(await told('rm n2')).toEqual([{ name: 'lab.n2' }]);
    await here.done(['apply', 'lab.yaml']);
  });

  it('are told of links that were changed before one that cannot be', async () => {
    const { code, stdout } = await here.lodge(['--json', 'fabric', 'move', 'lan/*', 's1']);
    expect([code, JSON.parse(stdout.toString())]).toEqual([
      125,
      { error: expect.objectContaining({ code: 'usage', detail: 'done before: lan/n1, lan/n2' }) },
    ]);
  });

  it('end a verb that follows by reading no more, though nothing happens', async () => {
    const line = 'set -o pipefail; $LODGE fabric events -f --kind fabric-started | head -n 1; echo $?';
    const { stdout } = await here.bash(line, { timeoutMs: 60_000 });
    expect(stdout.toString()).toMatch(/fabric-started .*\n141\n$/);
  });
});

// Mounting takes root: as a plain user this is skipped, and shown as such.
it.skipIf(process.getuid!() !== 0)('a full disk has a fabric stay as it was', async () => {
  const here = new Runtime();
  const small = join(here.work, 'small');
  mkdirSync(small);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=700', 'none', small]);
  const env = { LODGE_RUNTIME_DIR: small };
  const lodge = (...args: string[]) => here.lodge(args, { env });
  const shapes = async (): Promise<unknown> =>
    (
      JSON.parse((await lodge('--json', 'fabric', 'links')).stdout.toString()) as {
        out: { shape: object; isCut: boolean };
      }[]
    ).map(({ out: { shape, isCut } }) => ({ shape, isCut }));
  try {
    writeFileSync(join(here.work, 'lab.yaml'), spec);
    expect(await lodge('up', 'lab.yaml')).toMatchObject({ code: 0 });
    const before = await shapes();
    await here.bash('cat /dev/zero >"$LODGE_RUNTIME_DIR/filler"', { env });
    for (const change of ['cut lan/n1', 'shape lan/n1 --loss 1%', 'capture start lan/n1']) {
      const { code, stderr } = await lodge('fabric', ...change.split(' '));
      expect([change, code, stderr]).toEqual([change, 125, expect.stringContaining('[disk-full]')]);
    }
    expect(await shapes()).toEqual(before);
    rmSync(join(small, 'filler'));
    expect(readdirSync(join(small, 'clusters/lab')).sort()).toEqual([
      'cluster.json',
      'events.jsonl',
      'fabric.json',
      'secret',
    ]);
    expect(await lodge('down')).toMatchObject({ code: 0, stderr: '' });
  } finally {
    for (const { pid } of processesOf(small)) process.kill(pid, 'SIGKILL');
    // Who dies has let go of its memory before its files: that no process is found is not enough.
    await until('it is free', () => spawnSync('umount', [small]).status === 0 || undefined);
    expect(await here.close()).toEqual([]);
  }
});

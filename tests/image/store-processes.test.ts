import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { beforeAll, describe, expect, it } from 'vitest';
import { verifyStore } from '../../src/image/collect.ts';
import { openStore } from '../../src/image/store.ts';
import { temporaryDirectory } from './samples.ts';

const root = temporaryDirectory();
const program = join(root, 'store-process.cjs');

beforeAll(async () => {
  await build({
    entryPoints: [join(import.meta.dirname, 'store-process.ts')],
    outfile: program,
    bundle: true,
    platform: 'node',
    format: 'cjs',
  });
});

function start(
  store: string,
  ...args: (string | number)[]
): ChildProcess & { output: () => string; closed: Promise<number | null> } {
  const child = spawn(process.execPath, [program, store, ...args.map(String)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (piece) => {
    output += piece;
  });
  const closed = once(child, 'close').then(([code]) => code as number | null);
  return Object.assign(child, { output: () => output, closed });
}

describe('several processes with one store', () => {
  it('put the same and different objects at once', async () => {
    const store = openStore(join(root, 'together'));
    // Two put 0 to 11, two put 6 to 17: most numbers are put by several at about the same time.
    const children = [0, 0, 6, 6].map((first) => start(store.path, 'put', first, 12));
    const codes = await Promise.all(children.map((child) => child.closed));
    expect(codes).toEqual([0, 0, 0, 0]);
    expect(children[0]!.output()).toBe(children[1]!.output());
    expect((await store.objects()).length).toBe(18);
    expect((await store.names()).length).toBe(18);
    expect(store.recall('key 17')?.value).toBe(17);
    expect(await verifyStore(store)).toEqual([]);
    expect(readdirSync(join(store.path, 'tmp'))).toEqual([]);
  }, 60_000);

  it('show nothing of a process killed while it made an object; the next one cleans up', async () => {
    const store = openStore(join(root, 'killed'));
    const child = start(store.path, 'hang');
    await once(child.stdout!, 'data');
    expect(readdirSync(join(store.path, 'tmp')).length).toBe(1);
    child.kill('SIGKILL');
    await child.closed;
    expect(await store.objects()).toEqual([]);
    await store.put('test', 'next', async () => undefined);
    expect(readdirSync(join(store.path, 'tmp'))).toEqual([]);
    expect((await store.objects()).length).toBe(1);
  });

  it('leave only whole objects and names when killed at any moment', async () => {
    const store = openStore(join(root, 'random'));
    // Moments spread over its work, counted from the first object it made: a busy machine only starts it later.
    for (let round = 0; round < 12; round++) {
      const child = start(store.path, 'put', round * 3, 40);
      await Promise.race([once(child.stdout!, 'data'), child.closed]);
      const delayMs = (round * 37) % 110;
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      child.kill('SIGKILL');
      await child.closed;
      expect(await verifyStore(store)).toEqual([]);
      const ids = new Set(await store.objects());
      expect(ids.size).toBeGreaterThan(round);
      for (const { id } of await store.names()) expect(ids.has(id)).toBe(true);
    }
    await store.cleanTemporary();
    expect(readdirSync(join(store.path, 'tmp'))).toEqual([]);
  }, 60_000);
});

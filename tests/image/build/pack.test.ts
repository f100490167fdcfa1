import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { runLong } from '../../../src/image/build/long-run.ts';
import { packStream, packTree } from '../../../src/image/build/pack.ts';
import { hasProgram, temporaryDirectory, writeTree } from '../samples.ts';

const root = temporaryDirectory();
writeTree(join(root, 'tree'), { 'etc/a': 'a', b: 'b'.repeat(10_000) });

describe.skipIf(!hasProgram('mksquashfs') || !hasProgram('unsquashfs'))('packing', () => {
  it('makes the same file of the same tree, all of it owned by root', async () => {
    const [one, two] = [join(root, 'one'), join(root, 'two')];
    await packTree(join(root, 'tree'), one);
    await packTree(join(root, 'tree'), two);
    expect(execFileSync('cmp', [one, two]).length).toBe(0);
    const listing = execFileSync('unsquashfs', ['-ll', one], { encoding: 'utf8' });
    expect(
      listing
        .split('\n')
        .filter((line) => line.includes('squashfs-root'))
        .every((line) => line.includes(' root/root ')),
    ).toBe(true);
  });

  it.skipIf(!hasProgram('mkfs.erofs'))('packs as erofs too', async () => {
    await packTree(join(root, 'tree'), join(root, 'erofs'), { filesystem: 'erofs' });
    expect(execFileSync('head', ['-c', '1028', join(root, 'erofs')]).readUInt32LE(1024)).toBe(0xe0f5e1e2);
  });

  it('says why it failed, and leaves nothing', async () => {
    const output = join(root, 'absent/out');
    await expect(packTree(join(root, 'tree'), output)).rejects.toMatchObject({ code: 'image-build' });
    const garbage = Readable.from([Buffer.alloc(2048, 7)]);
    await expect(packStream(garbage, join(root, 'out'), { newestSeconds: 0 })).rejects.toMatchObject({
      code: 'image-build',
    });
    const failing = Readable.from(
      (async function* () {
        yield Buffer.alloc(10);
        throw new Error('the source failed');
      })(),
    );
    await expect(packStream(failing, join(root, 'out'), { newestSeconds: 0 })).rejects.toThrow(
      'the source failed',
    );
    expect(existsSync(join(root, 'out'))).toBe(false);
  });
});

describe('runLong', () => {
  it('gives exit code and end of standard error, and feeds its input', async () => {
    const run = await runLong({ argv: ['sh', '-c', 'read word; echo "$word" >&2; exit 3'], input: 'text\n' });
    expect(run).toEqual({ code: 3, stderr: 'text\n' });
    expect((await runLong({ argv: ['sh', '-c', 'kill -9 $$'] })).code).toBe(137);
  });

  it('ends what it runs when it is told to, and knows a missing program', async () => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(new Error('interrupted')), 50);
    await expect(runLong({ argv: ['sleep', '60'], signal: stop.signal })).rejects.toThrow('interrupted');
    await expect(runLong({ argv: ['no-such-program-here'], input: 'x' })).rejects.toMatchObject({
      code: 'missing-program',
    });
  });
});

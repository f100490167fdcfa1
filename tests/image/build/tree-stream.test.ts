import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { type TreeEntry, treeStream } from '../../../src/image/build/tree-stream.ts';
import { temporaryDirectory } from '../samples.ts';

const root = temporaryDirectory();
const common = { uid: 0, gid: 0, mtimeSeconds: 1_000_000_000 };

async function bytesOf(stream: Readable): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of stream) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

/** What GNU tar lists of an archive. */
async function list(entries: TreeEntry[]): Promise<string[]> {
  const input = await bytesOf(treeStream(entries));
  const text = execFileSync('tar', ['-tv', '--numeric-owner', '--utc', '-f', '-'], {
    input,
    encoding: 'utf8',
  });
  return text
    .trimEnd()
    .split('\n')
    .map((line) => line.replace(/ +/g, ' '));
}

describe('treeStream', () => {
  it('writes what tar reads: kinds, modes, owners, times', async () => {
    const from = join(root, 'data');
    writeFileSync(from, 'x'.repeat(1000));
    expect(
      await list([
        { kind: 'directory', path: '/tmp', mode: 0o41777, ...common },
        { kind: 'file', path: '/tmp/a', mode: 0o100755, bytes: 1000, from, ...common, uid: 1000, gid: 100 },
        { kind: 'file', path: '/tmp/b', mode: 0o644, data: Buffer.from('text'), ...common },
        { kind: 'symlink', path: '/tmp/c', target: '/abs/olute', ...common },
      ]),
    ).toEqual([
      'drwxrwxrwt 0/0 0 2001-09-09 01:46 tmp/',
      '-rwxr-xr-x 1000/100 1000 2001-09-09 01:46 tmp/a',
      '-rw-r--r-- 0/0 4 2001-09-09 01:46 tmp/b',
      'lrwxrwxrwx 0/0 0 2001-09-09 01:46 tmp/c -> /abs/olute',
    ]);
  });

  it('holds names, targets and numbers of any length', async () => {
    const name = `/${'d/'.repeat(120)}${'n'.repeat(200)}`;
    const target = `/${'t'.repeat(300)}`;
    const lines = await list([
      { kind: 'symlink', path: name, target, ...common, uid: 3_000_000_000, gid: 2_097_152 },
      { kind: 'file', path: `/${'é'.repeat(50)}`, mode: 0o600, data: Buffer.alloc(0), ...common },
    ]);
    expect(lines[0]).toBe(`lrwxrwxrwx 3000000000/2097152 0 2001-09-09 01:46 ${name.slice(1)} -> ${target}`);
    expect(lines).toHaveLength(2);
  });

  it('counts the bytes of host files, and fails when one is shorter than it was', async () => {
    const from = join(root, 'short');
    writeFileSync(from, 'abc');
    let seen = 0;
    const entry = { kind: 'file', path: '/a', mode: 0o644, from, ...common } as const;
    await bytesOf(treeStream([{ ...entry, bytes: 3 }], (bytes) => (seen += bytes)));
    expect(seen).toBe(3);
    await expect(bytesOf(treeStream([{ ...entry, bytes: 9 }]))).rejects.toMatchObject({
      code: 'image-build',
    });
    await expect(bytesOf(treeStream([{ ...entry, bytes: 1, from: `${from}-gone` }]))).rejects.toMatchObject({
      code: 'image-build',
      where: `${from}-gone`,
    });
  });
});

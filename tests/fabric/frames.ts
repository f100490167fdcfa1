/** What tests of the fabric share. */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

/** A directory that is removed after the tests of the file. */
export function temporaryDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'lodge-fabric-'));
  afterAll(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Fields of each frame of a capture file, as tshark reads them; `-` where a frame has not got one. */
export function tshark(file: string, fields: readonly string[], display?: string): string[][] {
  const args = ['-r', file, '-T', 'fields', '-E', 'separator=|', ...fields.flatMap((field) => ['-e', field])];
  if (display !== undefined) args.push('-Y', display);
  // Of a file that ends in the middle of a block, tshark reads the rest and then fails.
  const { stdout } = spawnSync('tshark', args, { encoding: 'utf8' });
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split('|'));
}

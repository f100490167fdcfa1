/** What the keeper does with the console of a program whose owner watches it. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { builtFile } from '../../src/installation.ts';

let directory: string;
let keeper: ChildProcess;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'lk-'));
});

afterEach(async () => {
  if (keeper.exitCode === null) {
    keeper.kill('SIGINT');
    await once(keeper, 'exit');
  }
  rmSync(directory, { recursive: true, force: true });
});

async function start(script: string): Promise<void> {
  keeper = spawn(builtFile('keeper'), ['--watched', '--dir', directory, '--', 'sh', '-c', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(keeper.stdout!, 'data')) as [Buffer];
  expect(line.toString()).toContain('"pid"');
}

const logged = (): string => readFileSync(join(directory, 'console.log'), 'utf8');

it('shows who comes later all that was said before', async () => {
  await start(`echo first; touch ${directory}/said; read line; echo "second, $line"`);
  while (!existsSync(join(directory, 'said'))) await new Promise((resolve) => setTimeout(resolve, 10));
  const watcher = connect(join(directory, 'console.sock'));
  let seen = '';
  watcher.on('data', (bytes: Buffer) => {
    seen += bytes.toString();
    if (seen === 'first\n') watcher.write('typed\n');
  });
  await once(watcher, 'close');
  expect(seen).toBe('first\nsecond, typed\n');
  expect(logged()).toBe(seen);
});

it('keeps in its log what nobody came to see', async () => {
  await start('echo first; echo second');
  await once(keeper, 'exit');
  expect(logged()).toBe('first\nsecond\n');
});

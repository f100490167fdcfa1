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

async function start(script: string, limits = 'true'): Promise<void> {
  const argv = [builtFile('keeper'), '--watched', '--dir', directory, '--', 'sh', '-c', script];
  keeper = spawn('bash', ['-c', `${limits} && exec "$@"`, 'bash', ...argv], {
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

it('loses of it what is too much for the limit of file sizes, and the program goes on', async () => {
  await start(`seq 1000; touch ${directory}/done`, 'ulimit -f 1');
  await once(keeper, 'exit');
  expect(readFileSync(join(directory, 'console.log')).length).toBe(1024);
  expect(existsSync(join(directory, 'done'))).toBe(true);
  expect(readFileSync(join(directory, 'exit'), 'utf8')).toBe('code 0\n');
});

it('leaves that limit to the program as it is', async () => {
  await start(`seq 1000 >${directory}/large`, 'ulimit -f 1');
  await once(keeper, 'exit');
  expect(readFileSync(join(directory, 'exit'), 'utf8')).toBe('code 153\n');
});

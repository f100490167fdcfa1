// The programs of study-side/ as they really run, through the commands that a study runs.
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { accessSync, constants, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { BenchmarkCommand } from '../../../src/study/benchmarks/benchmark.ts';
import { micro } from '../../../src/study/benchmarks/micro.ts';
import { noise } from '../../../src/study/benchmarks/noise.ts';
import { pageEnvironment } from '../../../src/study/benchmarks/pages.ts';
import { stream } from '../../../src/study/benchmarks/stream.ts';
import { readYardstick, wrap } from '../../../src/study/benchmarks/yardstick.ts';
import { builtPrograms } from './built-programs.ts';
import { firstCpu, replaced, runInput } from './run-input.ts';

const programsDir = builtPrograms();
const free = { programsDir, placement: 'free' } as const;

function run({ argv, env, input }: BenchmarkCommand): SpawnSyncReturns<string> {
  return spawnSync(argv[0]!, argv.slice(1), {
    env: { ...process.env, ...env },
    input,
    encoding: 'utf8',
    timeout: 60_000,
    maxBuffer: 2 ** 26,
  });
}

/** A command under the yardstick, looked at every 20 ms. */
function measured(argv: string[], env: Record<string, string> = {}, options: string[] = []) {
  const command = { argv: [join(programsDir, 'yardstick'), ...options, '-i', '20', '--', ...argv], env };
  const result = run({ ...command, input: '' });
  return { status: result.status, ...readYardstick(result.stdout) };
}

describe('benchmarks of our own', () => {
  it('measures bandwidth', () => {
    const input = runInput(free);
    const result = run(stream.command(input));
    expect(result.stderr).toBe('');
    const rates = stream.parse(result.stdout, input);
    expect(Object.keys(rates)).toHaveLength(4);
    const told = JSON.parse(result.stdout) as { copy: { bestMBps: number; minSeconds: number } };
    // 16 bytes for each of two million elements.
    expect(told.copy.bestMBps / (32 / told.copy.minSeconds)).toBeCloseTo(1, 3);
  });

  it('runs the threads it is told to', () => {
    const input = runInput({ ...free, cores: 2 });
    const result = run(stream.command(input));
    expect(JSON.parse(result.stdout)).toMatchObject({ threads: 2, valid: true });
  });

  it('tells the step of its clock and what its kernels took, also of arrays too small to be timed', () => {
    const input = runInput({ ...free, sizes: { ...runInput().sizes, streamElements: 5 } });
    const result = run(stream.command(input));
    expect(result.status).toBe(0);
    // Whether this machine's clock is fine enough for five elements is not a matter of the program.
    const { minSeconds } = (JSON.parse(result.stdout) as { copy: { minSeconds: number } }).copy;
    const coarse = `"timerTickUs":${minSeconds * 1e6}`;
    const printed = replaced(result.stdout, /"timerTickUs":[^,]*/, coarse);
    expect(() => stream.parse(printed, input)).toThrow(/took .* steps of the clock/);
  });

  it.each([[], ['0'], ['many'], ['10', '9'], ['10', '201'], ['1', '10', '1']])(
    'refuses %j as arguments of stream',
    (...args) => {
      const result = spawnSync(join(programsDir, 'stream'), args, { encoding: 'utf8' });
      expect([result.status, result.stdout]).toEqual([2, '']);
      expect(result.stderr).toMatch(/^(usage|stream): /);
    },
  );

  it('says when there is no memory', () => {
    const result = spawnSync(join(programsDir, 'stream'), [`${2 ** 40}`], { encoding: 'utf8' });
    expect([result.status, result.stdout]).toEqual([2, '']);
    expect(result.stderr).toMatch(/no memory/);
  });

  it('measures system calls and page faults', () => {
    const input = runInput(free);
    const result = run(micro.command(input));
    const costs = micro.parse(result.stdout, input);
    // To enter the kernel takes some time, and to be given a page takes more than that.
    expect(costs['syscall-ns']).toBeGreaterThan(1);
    expect(costs['page-fault-ns']).toBeGreaterThan(costs['syscall-ns'] as number);
  });

  it('measures noise, and more of it where something else runs', () => {
    const quiet = run(noise.command(runInput(free)));
    expect(noise.parse(quiet.stdout, runInput(free))).toHaveProperty('noise-percent');
    // Two that share a CPU take about half of it from one another.
    const args = [join(programsDir, 'noise'), '2'];
    const pinned = ['taskset', '-c', `${firstCpu()}`, ...args].join(' ');
    const both = `${pinned} >/dev/null & ${pinned}; wait`;
    const shared = spawnSync('sh', ['-c', both], { encoding: 'utf8' });
    const told = JSON.parse(shared.stdout) as { lostPercent: number; longestUs: number; detours: number };
    expect(told.lostPercent).toBeGreaterThan(20);
    expect(told.longestUs).toBeGreaterThan(100);
    expect(told.detours).toBeGreaterThan(1);
  });
});

describe('the yardstick', () => {
  it('passes streams through as they are, and the exit code', () => {
    const bytes = Buffer.concat([randomBytes(3 << 20), Buffer.from([0, 10, 255, 13, 10, 10])]);
    const { argv, env } = wrap(
      { argv: ['sh', '-c', 'cat; echo complaint >&2; exit 7'], env: {}, input: '' },
      programsDir,
    );
    const result = spawnSync(argv[0]!, argv.slice(1), {
      env: { ...process.env, ...env },
      input: bytes,
      maxBuffer: 2 ** 26,
    });
    expect(result.status).toBe(7);
    expect(result.stderr.toString()).toBe('complaint\n');
    const begin = result.stdout.indexOf('\n') + 1;
    const end = result.stdout.lastIndexOf('\n{"yardstick":"end"');
    expect(result.stdout.subarray(begin, end).equals(bytes)).toBe(true);
    const told = readYardstick(result.stdout.toString('latin1'));
    expect(told.end.code).toBe(7);
    expect(told.end.monotonicNs).toBeGreaterThan(told.start.monotonicNs);
  });

  it.each([
    ['kill -9 $$', 137],
    ['kill -SEGV $$', 139],
    ['exit 255', 255],
  ])('tells how `%s` ended', (script, code) => {
    expect(measured(['sh', '-c', script])).toMatchObject({ status: code, end: { code } });
  });

  it('tells what could not be started', () => {
    expect(measured(['no-such-program'])).toMatchObject({ status: 127, end: { code: 127 } });
    expect(measured(['/etc/passwd'])).toMatchObject({ status: 126, end: { code: 126 } });
    const usage = spawnSync(join(programsDir, 'yardstick'), [], { encoding: 'utf8' });
    expect([usage.status, usage.stdout]).toEqual([125, '']);
  });

  it('ends all that runs under it, also what ignores the signal and what left its parent', () => {
    const script = `trap '' TERM; setsid sleep 600 & echo $!; (setsid sleep 600 & echo $!); sleep 600`;
    const argv = ['-s', 'TERM', '1', join(programsDir, 'yardstick'), '--', 'sh', '-c', script];
    const result = spawnSync('timeout', argv, { encoding: 'utf8' });
    const told = readYardstick(result.stdout);
    expect(told.end.code).toBe(137);
    const pids = told.stdout.trim().split('\n').map(Number);
    expect(pids).toHaveLength(2);
    for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow(/ESRCH/);
  });

  it('waits for no one who was left behind, and writes its end last', () => {
    const told = measured(['sh', '-c', '(sleep 600; echo late) & printf done']);
    expect(told).toMatchObject({ status: 0, stdout: 'done' });
  });

  it('dies with neither line lost when its reader is gone', () => {
    const pipe = `${join(programsDir, 'yardstick')} -- sh -c 'sleep 0.2; exit 3' | true; echo "\${PIPESTATUS[0]}"`;
    const result = spawnSync('bash', ['-c', pipe], { encoding: 'utf8' });
    expect(result.stdout).toBe('3\n');
  });

  it.skipIf(!readFileSync('/proc/self/status', 'utf8').includes('THP_enabled'))(
    'keeps a program off transparent huge pages',
    () => {
      const grep = ['grep', 'THP_enabled', '/proc/self/status'];
      expect(measured(grep, {}, ['-t']).stdout).toBe('THP_enabled:\t0\n');
      expect(measured(['sh', '-c', grep.join(' ')], {}, ['-t']).stdout).toBe('THP_enabled:\t0\n');
      expect(measured(grep).stdout).toBe('THP_enabled:\t1\n');
      const inPlace = spawnSync(join(programsDir, 'yardstick'), ['-x', '-t', '--', ...grep]);
      expect(inPlace.stdout.toString()).toBe('THP_enabled:\t0\n');
    },
  );
});

/** On a busy machine five runs of STREAM may take a minute. */
const hangLimitMs = 180_000;

/** STREAM on 48 MB, for long enough that its memory is looked at. */
const longStream = [join(programsDir, 'stream'), '2000000', '150'];

describe('pages found', () => {
  it('are small under the switch for 4K', () => {
    const { env } = pageEnvironment('4K', programsDir);
    const { end } = measured(longStream, { ...env, OMP_NUM_THREADS: '1' }, ['-t']);
    expect(end.pages?.smallBytes).toBeGreaterThan(48e6);
    expect(end.pages?.transparentBytes).toBeLessThan(4e6);
    expect(end.pages?.hugetlbBytes).toBe(0);
  });

  it.skipIf(!hasTransparentPages())(
    'are transparent huge pages each time, where these were asked for',
    () => {
      const { env } = pageEnvironment('thp', programsDir);
      for (let repeat = 0; repeat < 3; repeat++) {
        const { end } = measured(longStream, { ...env, OMP_NUM_THREADS: '1' });
        expect(end.pages?.transparentBytes).toBeGreaterThan(36e6);
      }
    },
    hangLimitMs,
  );

  it.skipIf(!isWritable(poolPath('2M')))('are of the pool, where that has some', (context) => {
    withPool(poolPath('2M'), 40, (got) => {
      if (!got) return context.skip('this machine could not reserve 40 pages of 2M');
      const { env } = pageEnvironment('2M', programsDir);
      const { end } = measured(longStream, { ...env, OMP_NUM_THREADS: '1' });
      expect(end.pages?.hugetlbBytes).toBeGreaterThan(48e6);
      expect(end.pages?.smallBytes).toBeLessThan(8e6);
      expect(spawnSync(join(programsDir, 'micro'), ['2M'], { encoding: 'utf8' }).status).toBe(0);
    });
  });
});

function hasTransparentPages(): boolean {
  try {
    const text = readFileSync('/sys/kernel/mm/transparent_hugepage/enabled', 'utf8');
    return !text.includes('[never]') && readFileSync('/proc/self/status', 'utf8').includes('THP_enabled:\t1');
  } catch {
    return false;
  }
}

function poolPath(size: '2M'): string {
  return `/sys/kernel/mm/hugepages/hugepages-${{ '2M': 2048 }[size]}kB/nr_hugepages`;
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return process.getuid!() === 0;
  } catch {
    return false;
  }
}

/** Adds pages to a pool, does something, and takes them out again. */
function withPool(path: string, pages: number, act: (got: boolean) => void): void {
  const before = Number(readFileSync(path, 'utf8'));
  writeFileSync(path, `${before + pages}`);
  try {
    act(Number(readFileSync(path, 'utf8')) >= before + pages);
  } finally {
    writeFileSync(path, `${before}`);
  }
}

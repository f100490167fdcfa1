/** Whole studies, small ones, natively and in user-mode guests: run, interrupted, killed, gone on with. */

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { keyOfCell } from '../../src/study/cells.ts';
import { readStudy } from '../../src/study/directory.ts';
import type { Sample } from '../../src/study/samples.ts';
import { processesOf, Runtime, until } from './lodge.ts';

let here: Runtime;
beforeAll(() => {
  here = new Runtime();
});
afterEach(async () => {
  expect(here.files()).toEqual([]);
  expect(here.processes()).toEqual([]);
  // Benchmarks have an environment of their own, and are known by what runs them.
  await until(
    'nothing is measured any more',
    () => processesOf('dist/programs/yardstick').length === 0 || undefined,
  );
});
afterAll(async () => {
  expect(await here.close()).toEqual([]);
});

const small = [
  ...['study', '--quick', '--benchmarks', 'micro,boot', '--environments', 'native,uml', '--pages', '4K/4K'],
  ...['--repeats', '2', '--seed', '1'],
];
/** Cells: micro natively and in a guest, and the boot; each once to warm up. */
const cells = 3;
const runs = cells * 3;

const samplesIn = (directory: string): Sample[] => readStudy(join(here.work, directory)).samples;
const keyOf = ({ cell, isWarmUp, repeat }: Sample): string => `${keyOfCell(cell)} ${isWarmUp} ${repeat}`;

describe('a study', () => {
  it('measures every cell, and makes a report', async () => {
    const { code, stdout, stderr } = await here.lodge([...small, '-o', 'whole']);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(stdout.toString()).toContain('System call (ns)');
    const samples = samplesIn('whole');
    expect(new Set(samples.map(keyOf)).size).toBe(runs);
    expect(samples.filter(({ outcome }) => outcome !== 'ok')).toEqual([]);
    const guest = samples.find(({ cell }) => cell.environment === 'uml' && cell.benchmark === 'micro')!;
    expect(guest.found.cpus).toHaveLength(1);
    expect(Math.abs(guest.found.clockDrift!.fraction)).toBeLessThan(0.01);
    expect(guest.found.hostPages!.smallBytes).toBeGreaterThan(2 ** 20);
    const page = readFileSync(join(here.work, 'whole/report.html'), 'utf8');
    expect(page).toContain('</html>');
    expect(page).not.toMatch(/(?:src|href)="https?:/);
    expect(readFileSync(join(here.work, 'whole/results.csv'), 'utf8').split('\n').length).toBeGreaterThan(
      runs,
    );
  });

  it('that is whole is not run again', async () => {
    const before = readFileSync(join(here.work, 'whole/results.jsonl'), 'utf8');
    expect((await here.lodge([...small, '-o', 'whole'])).code).toBe(0);
    expect(readFileSync(join(here.work, 'whole/results.jsonl'), 'utf8')).toBe(before);
    const { stdout } = await here.lodge(['--json', 'study', 'report', 'whole']);
    expect(JSON.parse(stdout.toString())).toMatchObject({ verdicts: expect.any(Array), notMeasured: [] });
  });

  it.each(['SIGINT', 'SIGKILL'] as const)('that is ended by %s goes on where it was', async (signal) => {
    const name = `ended-${signal}`;
    const started = here.startLodge([...small, '-o', name]);
    const results = join(here.work, name, 'results.jsonl');
    await until('some runs are kept', () => {
      return existsSync(results) && readFileSync(results, 'utf8').split('\n').length > 4 ? true : undefined;
    });
    started.child.kill(signal);
    const { code, stderr } = await started.end;
    expect(code).toBe(signal === 'SIGINT' ? 130 : 137);
    if (signal === 'SIGINT') expect(stderr).toContain('the same command goes on');
    const kept = readFileSync(results, 'utf8');
    expect((await here.lodge([...small, '-o', name])).code).toBe(0);
    expect(readFileSync(results, 'utf8').startsWith(kept)).toBe(true);
    const keys = samplesIn(name).map(keyOf);
    expect(keys).toHaveLength(runs);
    expect(new Set(keys).size).toBe(runs);
  });

  it('is run by one process at a time', async () => {
    const first = here.startLodge([...small, '-o', 'shared']);
    await until('it has begun', () => existsSync(join(here.work, 'shared/study.json')) || undefined);
    const second = await here.lodge([...small, '-o', 'shared']);
    expect([second.code, second.stderr]).toEqual([125, expect.stringContaining('[study-directory]')]);
    expect((await first.end).code).toBe(0);
    expect(samplesIn('shared')).toHaveLength(runs);
  });

  it('marks a benchmark that hangs, and keeps the other cells', async () => {
    writeFileSync(
      join(here.work, 'limits.yaml'),
      'size: quick\nbenchmarks: [micro, boot]\nenvironments: [native, uml]\npages: [4K/4K]\nrepeats: 1\nrun-timeout: 100ms\n',
    );
    const { code, stderr } = await here.lodge(['study', '--spec', 'limits.yaml', '-o', 'hung']);
    expect(code).toBe(1);
    expect(stderr).toContain('did not end within 100ms');
    const byBenchmark = (name: string) => samplesIn('hung').filter(({ cell }) => cell.benchmark === name);
    expect(byBenchmark('micro').map(({ outcome }) => outcome)).toEqual([
      'failed',
      'failed',
      'failed',
      'failed',
    ]);
    expect(byBenchmark('boot').map(({ outcome }) => outcome)).toEqual(['ok', 'ok']);
    expect(readFileSync(join(here.work, 'hung/report.html'), 'utf8')).toContain('did not end within');
  });

  it('that another spec was begun with is not mixed with it', async () => {
    const { code, stderr } = await here.lodge([...small, '--repeats', '4', '-o', 'whole']);
    expect([code, stderr]).toEqual([125, expect.stringContaining('another repeats')]);
  });

  it.each([
    { what: 'an unknown benchmark', flags: ['--benchmarks', 'hpc'], says: "did you mean 'hpcc'?" },
    { what: 'pages of no kind', flags: ['--pages', '3M/4K'], says: '--pages' },
    { what: 'a share that is none', flags: ['--precision', '2'], says: '--precision' },
    { what: 'no cores', flags: ['--cores', '0'], says: 'must be a whole number from 1 to 4096' },
    { what: 'fewer repeats at most than at least', flags: ['--max-repeats', '2'], says: '--max-repeats' },
    { what: 'cores that are none', flags: ['--cores', '1,x'], says: '--cores' },
    {
      what: 'cores beyond the machine',
      flags: ['--cores', '4096', '--benchmarks', 'stream'],
      says: 'this job has',
    },
  ])('refuses $what, and leaves nothing', async ({ flags, says }) => {
    const { code, stderr } = await here.lodge(['study', '--quick', '-o', 'refused', ...flags]);
    expect([code, stderr]).toEqual([125, expect.stringContaining(says)]);
    expect(existsSync(join(here.work, 'refused'))).toBe(false);
  });

  it.skipIf(process.getuid!() !== 0)('on a disk that is full keeps what there was, and goes on', async () => {
    const disk = join(here.work, 'disk');
    mkdirSync(disk);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk]);
    try {
      writeFileSync(join(disk, 'filling'), Buffer.alloc(48 * 1024));
      const full = await here.lodge([...small, '-o', 'disk/study']);
      expect([full.code, full.stderr]).toEqual([125, expect.stringContaining('[disk-full]')]);
      execFileSync('mount', ['-o', 'remount,size=16m', disk]);
      expect((await here.lodge([...small, '-o', 'disk/study'])).code).toBe(0);
      expect(new Set(samplesIn('disk/study').map(keyOf)).size).toBe(runs);
    } finally {
      execFileSync('umount', [disk]);
    }
  });

  it.skipIf(process.getuid!() !== 0)('gives pools of huge pages back, also after it was killed', async () => {
    const pool = '/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages';
    const pages = (): string => readFileSync(pool, 'utf8').trim();
    const before = pages();
    const flags = [
      'study',
      '--quick',
      '--benchmarks',
      'noise,stream',
      '--environments',
      'native',
      '--pages',
      '2M/2M',
    ];
    const args = [...flags, '--cores', '1', '--repeats', '1', '-o', 'pool'];
    const started = here.startLodge(args);
    await until('pages are reserved', () => pages() !== before || undefined);
    started.child.kill('SIGKILL');
    await started.end;
    expect((await here.lodge(args)).code).toBe(0);
    expect(pages()).toBe(before);
    const stream = samplesIn('pool').filter(({ cell }) => cell.benchmark === 'stream');
    expect(stream.flatMap(({ flags: told }) => told)).not.toContain('pages-not-met');
    const seen = stream.map(({ found }) => found.ownPages?.hugetlbBytes ?? 0);
    expect(Math.max(...seen)).toBeGreaterThan(100 * 2 ** 20);
  });
});

/** Whole studies, small ones, natively and in user-mode guests: run, interrupted, killed, gone on with. */

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
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

/** Cells: micro natively and in a guest, and the boot. */
const small = [
  ...['study', '--quick', '--benchmarks', 'micro,boot', '--environments', 'native,uml', '--pages', '4K/4K'],
  ...['--repeats', '1', '--seed', '1'],
];
/** Each cell once, and once before that to warm up. */
const runs = 3 * 2;
/** As many runs, by the benchmark that takes the least time here. */
const native = [
  ...['study', '--quick', '--benchmarks', 'stream', '--environments', 'native', '--pages', '4K/4K'],
  ...['--cores', '1', '--repeats', `${runs - 1}`, '--seed', '1'],
];

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
    const itself = await here.lodge(['study', 'compare', 'whole', './whole']);
    expect([itself.code, itself.stderr]).toEqual([125, expect.stringContaining('the same study')]);
  });

  it.each([
    ['SIGINT', native],
    ['SIGKILL', small],
  ] as const)('that is ended by %s goes on where it was', async (signal, flags) => {
    const name = `ended-${signal}`;
    const started = here.startLodge([...flags, '-o', name]);
    const results = join(here.work, name, 'results.jsonl');
    await until('some runs are kept', () => {
      return existsSync(results) && readFileSync(results, 'utf8').split('\n').length > 3 ? true : undefined;
    });
    started.child.kill(signal);
    const { code, stderr } = await started.end;
    expect(code).toBe(signal === 'SIGINT' ? 130 : 137);
    if (signal === 'SIGINT') expect(stderr).toContain('the same command goes on');
    const kept = readFileSync(results, 'utf8');
    expect((await here.lodge([...flags, '-o', name])).code).toBe(0);
    expect(readFileSync(results, 'utf8').startsWith(kept)).toBe(true);
    const keys = samplesIn(name).map(keyOf);
    expect(keys).toHaveLength(runs);
    expect(new Set(keys).size).toBe(runs);
  });

  it('is run by one process at a time', async () => {
    const first = here.startLodge([...native, '-o', 'shared']);
    await until('it has begun', () => existsSync(join(here.work, 'shared/study.json')) || undefined);
    const second = await here.lodge([...native, '-o', 'shared']);
    expect([second.code, second.stderr]).toEqual([125, expect.stringContaining('[study-directory]')]);
    expect((await first.end).code).toBe(0);
    expect(samplesIn('shared')).toHaveLength(runs);
    const figures = join(here.work, 'shared/figures');
    const drawn = readdirSync(figures).filter((name) => name.endsWith('.svg'));
    expect(drawn).not.toEqual([]);
    for (const name of drawn) {
      const picture = readFileSync(join(figures, name.replace(/svg$/, 'png')));
      expect(picture.subarray(0, 8)).toEqual(Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'));
    }
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

  it('that says nothing is refused, since all of one takes hours', async () => {
    writeFileSync(join(here.work, 'empty.yaml'), '# nothing yet\n');
    const { code, stderr } = await here.lodge(['study', '--spec', 'empty.yaml', '-o', 'refused']);
    expect([code, stderr]).toEqual([125, expect.stringContaining('size: full')]);
    expect(existsSync(join(here.work, 'refused'))).toBe(false);
  });

  it('takes its benchmarks from an image on both sides, and says what that lacks', async () => {
    const image = `study-test-${process.pid}`;
    const build = async (...programs: string[]): Promise<void> => {
      const { code, stderr } = await here.lodge([
        'image',
        'build',
        '--closure',
        ...programs,
        '--name',
        image,
      ]);
      expect({ code, stderr }).toMatchObject({ code: 0 });
    };
    const args = ['study', '--quick', '--image', image, '--benchmarks', 'micro,hpcc', '--cores', '1'];
    const more = ['--environments', 'native,uml', '--pages', '4K/4K', '--repeats', '1', '-o', 'from-image'];
    try {
      await build('taskset', 'env');
      const { code, stderr } = await here.lodge([...args, ...more]);
      expect({ code, stderr }).toMatchObject({ code: 0 });
      const { head, samples } = readStudy(join(here.work, 'from-image'));
      expect(head.image).toMatchObject({ name: image, id: expect.stringMatching(/^[0-9a-f]{64}$/) });
      expect(head.notMeasured.map(({ reason }) => reason)).toContain(
        `the image ${image} has no hpcc, openmpi-bin`,
      );
      expect(samples.map(({ outcome, cell }) => `${cell.environment} ${outcome}`).sort()).toEqual([
        ...['native ok', 'native ok', 'uml ok', 'uml ok'],
      ]);
      // What it was unpacked into is gone.
      const { argv } = samples.find(({ cell }) => cell.environment === 'native')!;
      expect(existsSync(argv[argv.indexOf('image') + 1]!)).toBe(false);
      // The name may come to mean another image: that is another study.
      await build('taskset', 'env', 'lscpu');
      const again = await here.lodge([...args, ...more]);
      expect([again.code, again.stderr]).toEqual([125, expect.stringContaining('begun with')]);
    } finally {
      await here.lodge(['image', 'rm', image]);
    }
  });

  it.skipIf(process.getuid!() !== 0)('on a disk that is full keeps what there was, and goes on', async () => {
    const disk = join(here.work, 'disk');
    mkdirSync(disk);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk]);
    try {
      writeFileSync(join(disk, 'filling'), Buffer.alloc(48 * 1024));
      const full = await here.lodge([...native, '-o', 'disk/study']);
      expect([full.code, full.stderr]).toEqual([125, expect.stringContaining('[disk-full]')]);
      execFileSync('mount', ['-o', 'remount,size=16m', disk]);
      expect((await here.lodge([...native, '-o', 'disk/study'])).code).toBe(0);
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

  it.skipIf(process.getuid!() !== 0)(
    'shares pools with another one, and the last gives all back',
    async () => {
      const pool = '/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages';
      const before = readFileSync(pool, 'utf8');
      const flags = [
        'study',
        '--quick',
        '--benchmarks',
        'micro',
        '--environments',
        'native',
        '--pages',
        '2M/2M',
      ];
      const both = ['one', 'other'].map((name) => here.lodge([...flags, '--repeats', '3', '-o', name]));
      for (const { code, stderr } of await Promise.all(both))
        expect({ code, stderr }).toMatchObject({ code: 0 });
      expect(readFileSync(pool, 'utf8')).toBe(before);
      for (const name of ['one', 'other']) {
        expect(samplesIn(name).map(({ outcome }) => outcome)).toEqual(['ok', 'ok', 'ok', 'ok']);
      }
    },
  );
});

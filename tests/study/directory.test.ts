import { spawnSync } from 'node:child_process';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { thisProcess } from '../../src/image/owner.ts';
import { readHead, readStudy, StudyDirectory } from '../../src/study/directory.ts';
import { leftOutNotes } from '../../src/study/report/warnings.ts';
import type { Sample } from '../../src/study/samples.ts';
import { study } from './studies.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'lodge-study-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const { head } = study([], []);
const sampleOf = (repeat: number): Sample => ({
  format: 1,
  cell: { benchmark: 'stream', cores: 1, environment: 'native', pages: { own: '4K' }, placement: 'mirror' },
  repeat,
  isWarmUp: false,
  startedAt: '2026-01-01T00:00:00Z',
  elapsedMs: 1,
  outcome: 'ok',
  measured: {},
  found: { cpus: [0] },
  argv: ['true'],
  flags: [],
});
const refusal = (where?: string) =>
  expect.objectContaining(
    where === undefined ? { code: 'study-directory' } : { code: 'study-directory', where },
  );

describe('the directory of a study', () => {
  it('gives back what was put in, after being closed and opened again', () => {
    const first = StudyDirectory.open(dir);
    first.begin(head);
    first.add(sampleOf(0));
    first.close();
    const second = StudyDirectory.open(dir);
    second.add(sampleOf(1));
    second.close();
    expect(readStudy(dir)).toEqual({
      head,
      samples: [sampleOf(0), sampleOf(1)],
      unreadableLines: [],
      repeatedLines: [],
    });
  });

  it('loses nothing but a line that was cut off', () => {
    const first = StudyDirectory.open(dir);
    first.begin(head);
    first.add(sampleOf(0));
    first.close();
    appendFileSync(join(dir, 'results.jsonl'), '{"format":1,"cell":{"bench');
    const second = StudyDirectory.open(dir);
    second.add(sampleOf(1));
    second.close();
    expect(readStudy(dir)).toMatchObject({ samples: [sampleOf(0), sampleOf(1)], unreadableLines: [2] });
  });

  it('on a full disk says what to do about this directory', () => {
    symlinkSync('/dev/full', join(dir, 'results.jsonl'));
    const full = StudyDirectory.open(dir);
    expect(() => full.add(sampleOf(0))).toThrow(
      expect.objectContaining({ code: 'disk-full', fix: expect.not.stringContaining('LODGE_') }),
    );
    full.close();
  });

  it.each([
    ['a cell of no kind', { cell: null }],
    ['pages that are none', { cell: { ...sampleOf(0).cell, pages: {} } }],
    ['a benchmark that is not known', { cell: { ...sampleOf(0).cell, benchmark: '__proto__' } }],
    ['a value that is a text', { measured: { 'stream-copy-mbps': '12' } }],
    ['a value below nothing', { measured: { 'stream-copy-mbps': -12 } }],
    ['points that are none', { measured: { pingpong: [null] } }],
    ['nothing that was found', { found: undefined }],
    ['pages found that are none', { found: { cpus: [0], ownPages: null } }],
    ['flags that are a text', { flags: 'clock-drift' }],
  ])('tells a line with %s, and keeps the others', (_, damage) => {
    writeFileSync(join(dir, 'study.json'), JSON.stringify(head));
    const lines = [sampleOf(0), { ...sampleOf(1), ...damage }, sampleOf(2)];
    writeFileSync(join(dir, 'results.jsonl'), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    expect(readStudy(dir)).toMatchObject({ samples: [sampleOf(0), sampleOf(2)], unreadableLines: [2] });
  });

  it('counts a run once, however often it is written down', () => {
    writeFileSync(join(dir, 'study.json'), JSON.stringify(head));
    const lines = [sampleOf(0), sampleOf(1), { ...sampleOf(0), elapsedMs: 2 }];
    writeFileSync(join(dir, 'results.jsonl'), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    const read = readStudy(dir);
    expect(read).toMatchObject({ samples: [sampleOf(0), sampleOf(1)], repeatedLines: [3] });
    expect(leftOutNotes(read)).toEqual([
      'line 3 of results.jsonl is of a run that is there already, and is left out',
    ]);
  });

  it.each([
    ['cells.0', { cells: [{ benchmark: 'stream' }] }],
    ['cells.0: there is no size', { cells: [sampleOf(0).cell] }],
    ['host', { host: undefined }],
    ['seed', { seed: 'x' }],
    ['sizes', { sizes: [] }],
  ])('whose head has no right %s is refused, and told where', (key, damage) => {
    writeFileSync(join(dir, 'study.json'), JSON.stringify({ ...head, ...damage }));
    expect(() => readHead(dir)).toThrow(
      expect.objectContaining({ code: 'study-directory', detail: expect.stringContaining(key) }),
    );
  });

  it('is taken by one process at a time, and by the next when that is gone', () => {
    const first = StudyDirectory.open(dir);
    expect(() => StudyDirectory.open(dir)).toThrow(refusal());
    first.close();
    // A process of this host that has ended since.
    const { pid } = spawnSync('true');
    writeFileSync(join(dir, 'owner.json'), JSON.stringify({ ...thisProcess(), pid, startTicks: 1 }));
    StudyDirectory.open(dir).close();
    expect(() => readFileSync(join(dir, 'owner.json'))).toThrow(/ENOENT/);
  });

  it('is not made where it cannot be, nor among other files', () => {
    expect(() => StudyDirectory.open('/proc/study')).toThrow(expect.objectContaining({ code: 'host-io' }));
    writeFileSync(join(dir, 'mine'), '');
    expect(() => StudyDirectory.open(dir)).toThrow(refusal(dir));
    StudyDirectory.open(join(dir, 'a/b')).close();
  });

  it('without a study, with something else, or that is a file is told for what it is', () => {
    expect(readHead(dir)).toBeUndefined();
    expect(() => readStudy(dir)).toThrow(refusal(dir));
    writeFileSync(join(dir, 'study.json'), '{"format": 2}');
    expect(() => readHead(dir)).toThrow(refusal(join(dir, 'study.json')));
    expect(() => readHead(join(dir, 'study.json'))).toThrow(refusal());
  });
});

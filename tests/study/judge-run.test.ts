import { describe, expect, it } from 'vitest';
import type { Cell, PageSize } from '../../src/study/cells.ts';
import { flagMeanings, flagsOf } from '../../src/study/judge-run.ts';
import type { Found } from '../../src/study/samples.ts';

const cellOf = (own: PageSize, host?: PageSize): Cell => ({
  benchmark: 'stream',
  cores: 1,
  environment: host === undefined ? 'native' : 'kvm',
  pages: host === undefined ? { own } : { host, own },
  placement: 'mirror',
});
const pages = (hugetlbBytes: number, transparentBytes: number, smallBytes: number) => ({
  hugetlbBytes,
  transparentBytes,
  smallBytes,
});
const flags = (cell: Cell, found: Partial<Found>, isAlone = true): string[] =>
  flagsOf(cell, { cpus: [], ownPages: pages(0, 0, 100), ...found }, 100, isAlone);

describe('a run', () => {
  it.each([
    ['4K', pages(0, 0, 100), []],
    ['4K', pages(0, 5, 95), []],
    ['4K', pages(0, 50, 50), ['pages-not-met']],
    ['4K', pages(90, 0, 10), ['pages-not-met']],
    ['2M', pages(90, 0, 10), []],
    ['2M', pages(0, 90, 10), ['pages-not-met']],
    ['1G', pages(10, 0, 90), ['pages-not-met']],
    ['thp', pages(0, 90, 10), []],
    ['thp', pages(0, 10, 90), ['pages-not-met']],
    ['2M', pages(0, 0, 1), ['pages-not-seen']],
    ['2M', undefined, ['pages-not-seen']],
  ] as const)('asked to be on %s with %j found has the flags %j', (own, ownPages, expected) => {
    const found = ownPages === undefined ? {} : { ownPages };
    expect(flagsOf(cellOf(own), { cpus: [], ...found }, 100, true)).toEqual(expected);
  });

  it('in a guest is told when the pages behind it are others', () => {
    expect(flags(cellOf('4K', '2M'), { hostPages: pages(90, 0, 10) })).toEqual([]);
    expect(flags(cellOf('4K', '2M'), { hostPages: pages(0, 0, 10) })).toEqual(['host-pages-not-met']);
  });

  it('is told of a clock that drifts for sure, and of company', () => {
    const drift = (fraction: number, uncertainty: number) =>
      flags(cellOf('4K'), { clockDrift: { fraction, uncertainty } });
    expect(drift(0.0009, 0)).toEqual([]);
    expect(drift(0.002, 0.0015)).toEqual([]);
    expect(drift(0.002, 0.0001)).toEqual(['clock-drift']);
    expect(drift(-0.002, 0.0001)).toEqual(['clock-drift']);
    expect(flags(cellOf('4K'), {}, false)).toEqual(['not-alone']);
  });

  it('has no flag that reports cannot explain', () => {
    const all = flagsOf(
      cellOf('4K', '2M'),
      {
        cpus: [],
        ownPages: pages(100, 0, 0),
        hostPages: pages(0, 0, 1),
        clockDrift: { fraction: 1, uncertainty: 0 },
      },
      100,
      false,
    );
    expect(all).toHaveLength(4);
    expect(all.filter((flag) => flagMeanings[flag] === undefined)).toEqual([]);
  });
});

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
const alone = { workBytes: 100, isAlone: true, earlier: [] };
const flags = (cell: Cell, found: Partial<Found>, isAlone = true): string[] =>
  flagsOf(cell, { cpus: [], ownPages: pages(0, 0, 100), ...found }, { ...alone, isAlone });

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
    expect(flagsOf(cellOf(own), { cpus: [], ...found }, alone)).toEqual(expected);
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

  it('in a guest with another kernel than the first of its kind is told', () => {
    const guest = cellOf('4K', '4K');
    const run = (cell: Cell, guestKernel?: string) => ({
      cell,
      found: { cpus: [], ownPages: pages(0, 0, 100), ...(guestKernel === undefined ? {} : { guestKernel }) },
    });
    const flagsLater = (cell: Cell, guestKernel: string) =>
      flagsOf(cell, run(cell, guestKernel).found, {
        ...alone,
        earlier: [run(cellOf('4K')), run(guest), run(guest, '6.1'), run(guest, '6.2')],
      });
    expect(flagsLater(guest, '6.1')).toEqual([]);
    expect(flagsLater(guest, '6.2')).toEqual(['other-guest-kernel']);
    expect(flagsLater({ ...guest, environment: 'uml' }, '6.2')).toEqual([]);
  });

  it('has no flag that reports cannot explain', () => {
    const all = flagsOf(
      cellOf('4K', '2M'),
      {
        cpus: [],
        guestKernel: '6.1',
        ownPages: pages(100, 0, 0),
        hostPages: pages(0, 0, 1),
        clockDrift: { fraction: 1, uncertainty: 0 },
      },
      {
        workBytes: 100,
        isAlone: false,
        earlier: [{ cell: cellOf('4K', '2M'), found: { cpus: [], guestKernel: '6.0' } }],
      },
    );
    expect(all).toHaveLength(5);
    expect(all.filter((flag) => flagMeanings[flag] === undefined)).toEqual([]);
  });
});

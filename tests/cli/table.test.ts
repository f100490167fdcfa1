import { describe, expect, it } from 'vitest';
import { table } from '../../src/cli/table.ts';

const links = [
  ['LINK', 'WAITING', 'SHAPE'],
  ['lan/compute01', '-', '10Gbit, 2ms ±100us, loss 0.1%'],
  ['lan/n2', '-', '-'],
];

describe('a table', () => {
  it('has each row on one line where no terminal shows it, or a wide one', () => {
    const lines = [
      'LINK           WAITING  SHAPE',
      'lan/compute01  -        10Gbit, 2ms ±100us, loss 0.1%',
      'lan/n2         -        -',
      '',
    ];
    for (const columns of [undefined, 53]) expect(table(links, columns).split('\n')).toEqual(lines);
  });

  it('leaves columns that say nothing out of a narrow one', () => {
    const lines = [
      'LINK           SHAPE',
      'lan/compute01  10Gbit, 2ms ±100us, loss 0.1%',
      'lan/n2         -',
      '',
    ];
    for (const columns of [52, 44]) expect(table(links, columns).split('\n')).toEqual(lines);
  });

  it('has its last column go on below itself in one that is narrower still', () => {
    expect(table(links, 35).split('\n')).toEqual([
      'LINK           SHAPE',
      'lan/compute01  10Gbit, 2ms ±100us,',
      '               loss 0.1%',
      'lan/n2         -',
      '',
    ]);
  });

  it('is left to the terminal where the last column has no room', () => {
    expect(table(links, 30).split('\n')[1]).toBe('lan/compute01  10Gbit, 2ms ±100us, loss 0.1%');
  });

  it('keeps rows of other lengths, words without a space, and nothing at all', () => {
    const path = '/a/path/that/is/too/long/for/it';
    expect(table([['n1', 'on n02'], ['', 'vCPU 0', path], ['n2']], 30)).toBe(
      `n1  on n02\n    vCPU 0  ${path}\nn2\n`,
    );
    expect([table([], 10), table([[]], 10), table([['']], 10)]).toEqual(['', '\n', '\n']);
  });
});

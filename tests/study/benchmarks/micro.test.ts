import { describe, expect, it } from 'vitest';
import { micro } from '../../../src/study/benchmarks/micro.ts';
import { recorded, replaced, runInput } from './run-input.ts';

const output = recorded('micro-4K.txt');

describe('what micro prints', () => {
  it('is read', () => {
    expect(micro.parse(output, runInput())).toEqual({ 'syscall-ns': 239.771, 'page-fault-ns': 1494.659 });
  });

  it.each<[string, string | RegExp, string, RegExp]>([
    ['other pages', '"pages":"4K"', '"pages":"2M"', /pages of 2M, not 4K/],
    ['a time of nothing', '"medianNs":239.771', '"medianNs":0', /syscall\.medianNs/],
    ['a time that is no number', '"medianNs":239.771', '"medianNs":-nan', /JSON/],
    ['its end cut off', /.{9}\n$/, '', /JSON/],
    ['a key more', '"pages"', '"more":1,"pages"', /understand/],
  ])('is refused with %s', (_, pattern, by, message) => {
    expect(() => micro.parse(replaced(output, pattern, by), runInput())).toThrow(
      expect.objectContaining({ code: 'benchmark-output', message: expect.stringMatching(message) }),
    );
  });
});

it('runs micro on the first CPU, with the pages of its cell', () => {
  expect(micro.command(runInput({ pages: { own: '2M' } }))).toEqual({
    argv: ['taskset', '-c', '4', '/opt/lodge/programs/micro', '2M'],
    env: {},
    input: '',
  });
  expect(micro.command(runInput({ placement: 'free' })).argv).toEqual([
    '/opt/lodge/programs/yardstick',
    '-x',
    '-t',
    '--',
    '/opt/lodge/programs/micro',
    '4K',
  ]);
});

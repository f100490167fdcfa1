import { describe, expect, it } from 'vitest';
import { noise } from '../../../src/study/benchmarks/noise.ts';
import { recorded, replaced, runInput } from './run-input.ts';

const output = recorded('noise.txt');

describe('what noise prints', () => {
  it('is read', () => {
    expect(noise.parse(output, runInput())).toEqual({ 'noise-percent': 0.818817, 'noise-max-us': 93.489 });
  });

  it.each<[string, string | RegExp, string, RegExp]>([
    ['too short a time', /"seconds":[^,]*/, '"seconds":1.0', /seconds/],
    ['other quanta', '"quantumUs":1000', '"quantumUs":500', /quantumUs/],
    ['more lost than there was', /"lostPercent":[^,]*/, '"lostPercent":100.5', /lostPercent/],
    ['too slow a clock', /"readNs":[^,]*/, '"readNs":4000000', /too long to see noise/],
    ['a time that is no number', /"longestUs":[^,]*/, '"longestUs":inf', /JSON/],
    ['its end cut off', /.{9}\n$/, '', /JSON/],
  ])('is refused with %s', (_, pattern, by, message) => {
    expect(() => noise.parse(replaced(output, pattern, by), runInput())).toThrow(
      expect.objectContaining({ code: 'benchmark-output', message: expect.stringMatching(message) }),
    );
  });
});

it('runs noise on the first CPU', () => {
  expect(noise.command(runInput({ pages: { own: 'thp' } })).argv).toEqual([
    'taskset',
    '-c',
    '4',
    '/opt/lodge/programs/noise',
    '5',
    '1000',
  ]);
});

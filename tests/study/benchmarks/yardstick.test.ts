import { describe, expect, it } from 'vitest';
import { readYardstick, wrap } from '../../../src/study/benchmarks/yardstick.ts';
import { replaced } from './run-input.ts';

const start = '{"yardstick":"start","monotonicNs":25762410787862,"realtimeNs":1795395528127753925}\n';
const pages = '{"hugetlbBytes":4194304,"transparentBytes":0,"smallBytes":1830912}';
const end = `\n{"yardstick":"end","monotonicNs":25762713971847,"realtimeNs":1795395528430938030,"code":3,"pages":${pages}}\n`;

describe('reading the yardstick', () => {
  it.each(['', 'one line\n', 'no line feed at its end', '\n\n', `${end}and more`])(
    'gives back just what the command wrote: %j',
    (text) => {
      const read = readYardstick(start + text + end);
      expect(read.stdout).toBe(text);
      expect(read.start).toEqual({ monotonicNs: 25762410787862, realtimeNs: Number('1795395528127753925') });
      expect(read.end).toMatchObject({
        code: 3,
        pages: { hugetlbBytes: 4194304, transparentBytes: 0, smallBytes: 1830912 },
      });
    },
  );

  it('has no pages where none were counted', () => {
    expect(readYardstick(start + replaced(end, pages, 'null')).end).not.toHaveProperty('pages');
  });

  it.each([
    ['nothing', ''],
    ['no start', `some text\n${end}`],
    ['no end', `${start}some text\n`],
    ['only the end', end],
    ['its end cut off', start + end.slice(0, -3)],
    ['something after its end', `${start}${end}more`],
    ['no line of its own for its end', start + end.slice(1)],
    ['another code', start + replaced(end, '"code":3', '"code":-1')],
    ['a clock that is no number', replaced(start, /"realtimeNs":\d+/, '"realtimeNs":nan') + end],
  ])('refuses %s', (_, text) => {
    expect(() => readYardstick(text)).toThrow(expect.objectContaining({ code: 'benchmark-output' }));
  });
});

it('puts a command under the yardstick and leaves the rest as it is', () => {
  const command = { argv: ['hpcc', '-x'], env: { A: '1' }, input: 'text' };
  expect(wrap(command, '/p')).toEqual({ ...command, argv: ['/p/yardstick', '-i', '50', '--', 'hpcc', '-x'] });
});

import { expect, it } from 'vitest';
import { isGroupInFront } from '../../src/cli/terminal-group.ts';

it.each([
  { what: 'the job in front', stat: '7 (node) S 5 7 5 34816 7 4194304 1', isFront: true },
  { what: 'a job in the background', stat: '7 (node) S 5 7 5 34816 5 4194304 1', isFront: false },
  { what: 'a process without a terminal', stat: '7 (node) S 5 7 5 0 -1 4194304 1', isFront: true },
  {
    what: 'a name with brackets and spaces',
    stat: '7 (a) S 1 (b) R 5 7 5 34816 5 4194304 1',
    isFront: false,
  },
  { what: 'no such text', stat: '', isFront: true },
])('tells $what', ({ stat, isFront }) => {
  expect(isGroupInFront(stat)).toBe(isFront);
});

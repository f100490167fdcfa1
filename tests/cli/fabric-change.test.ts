import { expect, it } from 'vitest';
import { captureSpec } from '../../src/cli/fabric-change.ts';
import { faultOf } from '../cluster/sample.ts';

it('the length of what is captured of a frame is told by its flag', () => {
  expect(captureSpec({ snapLength: '14' })).toMatchObject({ 'snap-length': 14 });
  for (const snapLength of ['3', '-1', '65550', 'x', '64K', '']) {
    expect(faultOf(() => captureSpec({ snapLength }))).toMatchObject({
      message: `must be a whole number from 14 to 65549, not '${snapLength}'`,
      where: '--snap-length',
    });
  }
});

it('the number of files of a capture is told by its flag', () => {
  expect(captureSpec({ files: '1000' })).toMatchObject({ files: 1000 });
  for (const files of ['0', '-1', '1001', 'x', '']) {
    expect(faultOf(() => captureSpec({ files }))).toMatchObject({
      message: `must be a whole number from 1 to 1000, not '${files}'`,
      where: '--files',
    });
  }
});

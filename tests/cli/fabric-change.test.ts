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

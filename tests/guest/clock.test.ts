import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { untilGone } from '../../src/guest/sweep.ts';
import { connectWhenThere } from '../../src/guest/unix-socket.ts';
import { temporaryDirectory } from '../image/samples.ts';

const root = temporaryDirectory();

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'] });
});

afterEach(() => {
  vi.useRealTimers();
});

/** Sets the host's clock back by an hour while something waits. */
function setBack<T>(waiting: Promise<T>): Promise<T> {
  vi.setSystemTime(Date.now() - 3_600_000);
  return waiting;
}

it('waiting ends in time when the clock of the host is set back meanwhile', async () => {
  expect(await setBack(untilGone(() => true, 50))).toBe(false);
  await expect(setBack(connectWhenThere(join(root, 'none'), { timeoutMs: 50 }))).rejects.toThrow();
});

import { expect, it } from 'vitest';
import { defaultQueueBytes, formatShape } from '../../src/fabric/shape.ts';

it('a queue has room for 100 ms, within bounds, where nothing is said', () => {
  expect([1e3, 10e6, 1e12].map(defaultQueueBytes)).toEqual([64 * 1024, 125_000, 4 * 2 ** 20]);
});

it.each([
  [{}, '-'],
  [{ delayMs: 0.1 }, '100us'],
  [{ bandwidthBitsPerSecond: 10e6, queueBytes: 125_000, delayMs: 20, jitterMs: 2 }, '10Mbit, 20ms ±2ms'],
  [{ bandwidthBitsPerSecond: 10e6, queueBytes: 65_536, loss: 0.001 }, '10Mbit, queue 64K, loss 0.1%'],
  [{ duplicate: 0.01, reorder: 0.5, delayMs: 1 }, '1ms, duplicate 1%, reorder 50%'],
])('%j is told as %s', (shape, text) => {
  expect(formatShape(shape)).toBe(text);
});

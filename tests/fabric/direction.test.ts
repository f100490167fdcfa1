import { describe, expect, it } from 'vitest';
import { Direction, lostToChance, lostToQueue } from '../../src/fabric/direction.ts';
import type { Shape } from '../../src/fabric/plan.ts';

function direction(shape: Shape, seed = 1, name = 'lan/a'): Direction {
  const made = new Direction(0, name, true, seed);
  made.setShape(shape);
  return made;
}

/** What becomes of so many frames of 1000 bytes, one each ms. */
function fates(made: Direction, frames: number): number[] {
  return Array.from({ length: frames }, (_, at) => made.plan(at * 1e6, 1000));
}

describe('a direction of a link', () => {
  it('sends frames one after the other at its rate, then delays them', () => {
    const made = direction({ bandwidthBitsPerSecond: 8e6, delayMs: 10 });
    // 1000 bytes at 1 MB/s: 1 ms.
    for (const expected of [1, 2, 3]) {
      expect(made.plan(0, 1000)).toBe(1);
      expect(made.firstNs).toBe(expected * 1e6 + 10e6);
    }
    expect(made.queuedBytes(0)).toBe(3000);
    expect(made.queuedBytes(2.5e6)).toBe(500);
    expect(made.plan(50e6, 500)).toBe(1);
    expect(made.firstNs).toBe(60.5e6);
  });

  it('drops what does not fit into its queue, and only that', () => {
    const made = direction({ bandwidthBitsPerSecond: 8e6, queueBytes: 2500 });
    expect([0, 0, 0, 0].map((at) => made.plan(at, 1000))).toEqual([1, 1, lostToQueue, lostToQueue]);
    expect(made.plan(0, 500)).toBe(1);
    expect(made.plan(1e6, 1000)).toBe(1);
    // An empty queue takes any frame: it does not wait.
    const none = direction({ bandwidthBitsPerSecond: 8e6, queueBytes: 0 });
    expect([0, 0].map((at) => none.plan(at, 1000))).toEqual([1, lostToQueue]);
  });

  it('has a queue that ends where none is given', () => {
    const made = direction({ bandwidthBitsPerSecond: 8e6 });
    let taken = 0;
    while (made.plan(0, 1000) === 1) taken++;
    expect(taken).toBe(100);
  });

  it('loses and doubles by chance, and the same again with the same seed and name', () => {
    const shape = { loss: 0.2, duplicate: 0.1 };
    const found = fates(direction(shape), 10_000);
    const lost = found.filter((fate) => fate === lostToChance).length;
    const doubled = found.filter((fate) => fate === 2).length;
    // Five standard deviations.
    expect(Math.abs(lost - 2000)).toBeLessThan(200);
    expect(Math.abs(doubled - 800)).toBeLessThan(140);
    expect(fates(direction(shape), 10_000)).toEqual(found);
    expect(fates(direction(shape, 2), 10_000)).not.toEqual(found);
    expect(fates(direction(shape, 1, 'lan/b'), 10_000)).not.toEqual(found);
  });

  it('spreads delays evenly within the jitter, and never before the frame came', () => {
    const made = direction({ delayMs: 5, jitterMs: 2 });
    const delays = Array.from({ length: 10_000 }, () => {
      made.plan(0, 100);
      return made.firstNs / 1e6;
    });
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(3);
    expect(Math.max(...delays)).toBeLessThanOrEqual(7);
    expect(delays.reduce((sum, one) => sum + one) / delays.length).toBeCloseTo(5, 1);
    expect(delays.filter((one) => one < 4).length / delays.length).toBeCloseTo(0.25, 1);
    const early = direction({ delayMs: 1, jitterMs: 50 });
    for (let i = 0; i < 100; i++) {
      early.plan(7, 100);
      expect(early.firstNs).toBeGreaterThanOrEqual(7);
    }
  });

  it('sends some ahead of their delay', () => {
    const made = direction({ delayMs: 5, reorder: 0.5 });
    const ahead = Array.from({ length: 1000 }, () => {
      made.plan(0, 100);
      expect(made.firstNs).toBe(made.isAhead ? 0 : 5e6);
      return made.isAhead;
    });
    expect(Math.abs(ahead.filter(Boolean).length - 500)).toBeLessThan(80);
  });
});

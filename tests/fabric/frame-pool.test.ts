import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FramePool, largestSlotBytes, slotSizes } from '../../src/fabric/frame-pool.ts';

const mebibyte = 2 ** 20;

function fill(pool: FramePool, length: number): number[] {
  const slots: number[] = [];
  for (let slot = pool.allocate(length); slot >= 0; slot = pool.allocate(length)) slots.push(slot);
  return slots;
}

describe('the frame pool', () => {
  it('gives the smallest slot that is large enough', () => {
    for (const [index, size] of slotSizes.entries()) {
      expect(FramePool.slotBytesFor(size)).toBe(size);
      expect(FramePool.slotBytesFor(size + 1)).toBe(slotSizes[index + 1] ?? -1);
    }
    const pool = new FramePool(mebibyte);
    expect(pool.allocate(largestSlotBytes + 1)).toBe(-1);
    const slot = pool.allocate(1514);
    expect([pool.length(slot), pool.slotBytes(slot), pool.usedBytes]).toEqual([1514, 2048, 2048]);
  });

  it('gives as much as its limit, and then nothing', () => {
    for (const size of slotSizes) {
      const pool = new FramePool(3 * mebibyte, 1000);
      const slots = fill(pool, size);
      expect(slots.length).toBe(3 * Math.floor(mebibyte / size));
      // What is reserved is before all slots.
      expect(Math.min(...slots.map((slot) => pool.offset(slot)))).toBe(mebibyte);
      for (const slot of slots) pool.release(slot);
      expect(pool.usedBytes).toBe(0);
    }
  });

  it('uses memory that is free again for slots of another size', () => {
    const pool = new FramePool(2 * mebibyte);
    for (const slot of fill(pool, 256)) pool.release(slot);
    const large = fill(pool, largestSlotBytes);
    expect(large.length).toBe(8);
    for (const slot of large) pool.release(slot);
    expect(fill(pool, 2048).length).toBe(1024);
  });

  it('keeps a slot until the last holder has released it, and not longer', () => {
    const pool = new FramePool(mebibyte);
    const slot = pool.allocate(100);
    pool.hold(slot);
    pool.release(slot);
    expect(pool.usedBytes).toBe(256);
    pool.release(slot);
    expect(pool.usedBytes).toBe(0);
    expect(() => pool.release(slot)).toThrow('free already');
  });

  it('never gives the same bytes twice', () => {
    const step = fc.record({ length: fc.integer({ min: 1, max: largestSlotBytes }), release: fc.nat() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const pool = new FramePool(4 * mebibyte);
        const held: number[] = [];
        for (const { length, release } of steps) {
          const slot = pool.allocate(length);
          if (slot >= 0) held.push(slot);
          if (release % 3 === 0 && held.length > 0) pool.release(held.splice(release % held.length, 1)[0]!);
          const sorted = held
            .map((one) => [pool.offset(one), pool.slotBytes(one)] as const)
            .sort((a, b) => a[0] - b[0]);
          for (const [i, [at, bytes]] of sorted.entries()) {
            expect(at + bytes).toBeLessThanOrEqual(sorted[i + 1]?.[0] ?? pool.bytes.length);
          }
          expect(pool.usedBytes).toBe(sorted.reduce((sum, [, bytes]) => sum + bytes, 0));
        }
      }),
      { numRuns: 50 },
    );
  });
});

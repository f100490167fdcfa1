import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LodgeError } from '../src/errors.ts';
import { fnv1a64, Random, seededRandom, shuffle, splitMix64 } from '../src/random.ts';

describe('the generators', () => {
  it('give what their authors published', () => {
    const random = new Random(1, 2, 3, 4);
    expect(Array.from({ length: 10 }, () => random.uint32())).toEqual([
      11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597, 4258142804,
    ]);
    expect(splitMix64(1234567n, 5)).toEqual([
      6457827717110365317n,
      3203168211198807973n,
      9817491932198370423n,
      4593380528125082431n,
      16408922859458223821n,
    ]);
    expect([fnv1a64(''), fnv1a64('a'), fnv1a64('foobar')]).toEqual([
      0xcbf29ce484222325n,
      0xaf63dc4c8601ec8cn,
      0x85944171f73967e8n,
    ]);
  });
});

describe('a stream', () => {
  it('goes on from its state', () => {
    const random = seededRandom(3, 'link');
    for (let i = 0; i < 5; i++) random.uint32();
    const again = new Random(...random.state());
    expect([again.uint32(), again.fraction()]).toEqual([random.uint32(), random.fraction()]);
  });
});

describe('a seeded stream', () => {
  const firstFour = (seed: number, stream?: string) => {
    const random = seededRandom(seed, stream);
    return Array.from({ length: 4 }, () => random.uint32());
  };
  it('depends on the seed and its name, and on nothing else', () => {
    expect(firstFour(7)).toEqual(firstFour(7));
    expect(firstFour(7, 'order')).toEqual(firstFour(7, 'order'));
    const all = [firstFour(7), firstFour(8), firstFour(7, 'order'), firstFour(8, 'order'), firstFour(7, 'b')];
    expect(new Set(all.flat()).size).toBe(20);
  });
  it('takes every bit of a large seed', () => {
    expect(firstFour(1)).not.toEqual(firstFour(1 + 2 ** 52));
  });
  it.each([-1, 1.5, Number.NaN, 2 ** 53])('refuses %d as seed', (seed) => {
    expect(() => seededRandom(seed)).toThrow(LodgeError);
  });
});

describe('whole numbers below a limit', () => {
  it('are all equally likely', () => {
    const random = seededRandom(1);
    const counts = new Array<number>(7).fill(0);
    for (let i = 0; i < 70_000; i++) counts[random.below(7)]!++;
    // Chi-squared with 6 degrees of freedom: 22.5 is its 99.9th percentile.
    const chiSquared = counts.reduce((sum, count) => sum + (count - 10_000) ** 2 / 10_000, 0);
    expect(chiSquared).toBeLessThan(22.5);
  });
  it('are not biased where 2^32 is far from a multiple of the limit', () => {
    // Taking the remainder would give the first third of the range twice as often as the rest.
    const random = seededRandom(2);
    const limit = 3 * 2 ** 30;
    let inFirstThird = 0;
    for (let i = 0; i < 30_000; i++) if (random.below(limit) < 2 ** 30) inFirstThird++;
    expect(Math.abs(inFirstThird / 30_000 - 1 / 3)).toBeLessThan(0.01);
  });
  it('stay in the range', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 2 ** 32 }), (seed, limit) => {
        const number = seededRandom(seed).below(limit);
        expect(Number.isInteger(number) && number >= 0 && number < limit).toBe(true);
      }),
    );
    expect(seededRandom(1).below(1)).toBe(0);
  });
  it.each([0, -3, 1.5, Number.NaN, 2 ** 32 + 1])('refuses the limit %d', (limit) => {
    expect(() => seededRandom(1).below(limit)).toThrow(LodgeError);
  });
});

describe('fractions', () => {
  it('lie from 0 up to 1, evenly', () => {
    const random = seededRandom(3);
    const fractions = Array.from({ length: 20_000 }, () => random.fraction());
    expect(Math.min(...fractions)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...fractions)).toBeLessThan(1);
    expect(fractions.reduce((sum, x) => sum + x, 0) / 20_000).toBeCloseTo(0.5, 2);
  });
});

describe('shuffling', () => {
  it('keeps every item and leaves the list alone', () => {
    fc.assert(
      fc.property(fc.nat(), fc.array(fc.integer()), (seed, items) => {
        const before = [...items];
        const shuffled = shuffle(items, seededRandom(seed));
        expect(items).toEqual(before);
        expect(shuffled.toSorted((a, b) => a - b)).toEqual(items.toSorted((a, b) => a - b));
      }),
    );
  });
  it('gives each order equally often', () => {
    const random = seededRandom(4);
    const counts = new Map<string, number>();
    for (let i = 0; i < 24_000; i++) {
      const order = shuffle(['a', 'b', 'c', 'd'], random).join('');
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(24);
    // 49.7 is the 99.9th percentile of chi-squared with 23 degrees of freedom.
    const chiSquared = [...counts.values()].reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
    expect(chiSquared).toBeLessThan(49.7);
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CompareOptions, compareSamples } from '../../src/study/statistics.ts';
import { blocks, inOrder } from './synthetic.ts';

const rate: CompareOptions = { isRate: true, tolerance: 0.01, seed: 1 };
const time: CompareOptions = { isRate: false, tolerance: 0.01, seed: 1 };

describe('comparisons of any values', () => {
  const value = fc.double({ min: 0.01, max: 1e6, noNaN: true });
  const bothSides = fc.array(fc.tuple(value, value), { minLength: 2, maxLength: 12 }).map((all) => ({
    native: all.map(([a]) => a),
    guest: all.map(([, b]) => b),
    pairs: inOrder(all.length),
  }));
  const few = { resamples: 200 };
  /** Equal but for rounding, on a scale of factors. */
  const expectSame = (a: number, b: number) => expect(Math.abs(Math.log(a / b))).toBeLessThan(1e-6);

  it('the unit does not matter', () => {
    fc.assert(
      fc.property(
        bothSides,
        fc.double({ min: 1e-3, max: 1e3, noNaN: true }),
        fc.boolean(),
        (data, scale, isPaired) => {
          const options = { ...rate, ...few, pairs: isPaired ? data.pairs : undefined };
          const plain = compareSamples(data.native, data.guest, options).ratio!;
          const scaled = compareSamples(
            data.native.map((x) => x * scale),
            data.guest.map((x) => x * scale),
            options,
          ).ratio!;
          expectSame(scaled.estimate, plain.estimate);
          expectSame(scaled.low, plain.low);
          expectSame(scaled.high, plain.high);
        },
      ),
    );
  });
  it('swapping native and guest inverts the ratio and its interval', () => {
    fc.assert(
      fc.property(bothSides, (data) => {
        const options = { ...rate, ...few, pairs: data.pairs };
        const one = compareSamples(data.native, data.guest, options).ratio!;
        const other = compareSamples(data.guest, data.native, options).ratio!;
        expectSame(other.estimate, 1 / one.estimate);
        expectSame(other.low, 1 / one.high);
        expectSame(other.high, 1 / one.low);
      }),
    );
  });
  it('the estimate lies in its interval, and the ratio among those of the pairs', () => {
    fc.assert(
      fc.property(bothSides, (data) => {
        const { ratio } = compareSamples(data.native, data.guest, { ...rate, ...few, pairs: data.pairs });
        expect(ratio!.low).toBeLessThanOrEqual(ratio!.estimate);
        expect(ratio!.high).toBeGreaterThanOrEqual(ratio!.estimate);
        const ratios = data.native.map((x, index) => data.guest[index]! / x);
        expect(ratio!.estimate).toBeGreaterThanOrEqual(Math.min(...ratios) * (1 - 1e-9));
        expect(ratio!.estimate).toBeLessThanOrEqual(Math.max(...ratios) * (1 + 1e-9));
      }),
    );
  });
  it('the same seed gives the same, and another nearly the same', () => {
    const { native, guest, pairs } = blocks(20, { ratio: 1.02 });
    const of = (seed: number, stream: string) =>
      compareSamples(native, guest, { ...time, pairs, seed, stream, resamples: 1000 });
    expect(of(5, 'a')).toEqual(of(5, 'a'));
    const seeds = [1, 2, 3, 4, 5, 6, 7, 8];
    const all = [...seeds.map((seed) => of(seed, 'a')), ...seeds.map((seed) => of(5, `stream ${seed}`))];
    const lows = all.map(({ overhead }) => overhead!.low);
    expect(new Set(lows.slice(0, 8)).size).toBeGreaterThan(1);
    expect(new Set(lows.slice(8)).size).toBeGreaterThan(1);
    expect(new Set(all.map(({ overhead }) => overhead!.estimate)).size).toBe(1);
    const { low, high } = all[0]!.overhead!;
    expect(Math.max(...lows) - Math.min(...lows)).toBeLessThan(0.2 * (high - low));
  });
  it('values are read and never changed or reordered', () => {
    const native = Object.freeze([3, 1, 2]) as number[];
    const guest = Object.freeze([2, 3, 1]) as number[];
    expect(() => compareSamples(native, guest, { ...rate, pairs: inOrder(3) })).not.toThrow();
  });
});

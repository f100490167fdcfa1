import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { median, quantile, spreadOf } from '../../src/study/spread.ts';

describe('the spread of values', () => {
  it('has the middle, the quartiles and a robust sigma', () => {
    expect(spreadOf([7, 1, 3, 5, 9])).toEqual({
      n: 5,
      median: 5,
      firstQuartile: 3,
      thirdQuartile: 7,
      min: 1,
      max: 9,
      // Distances from 5 are 0, 2, 2, 4, 4.
      madSigma: 1.4826 * 2,
      outliers: [],
    });
    expect(spreadOf([1, 2, 3, 10])).toMatchObject({ median: 2.5, firstQuartile: 1.75, thirdQuartile: 4.75 });
  });
  it('is nothing for no values, and a point for one', () => {
    expect(spreadOf([])).toBeUndefined();
    expect(spreadOf([4])).toMatchObject({ n: 1, median: 4, firstQuartile: 4, madSigma: 0, outliers: [] });
  });
  it('names outliers on both sides by their place, and keeps them in the median', () => {
    const spread = spreadOf([100, 101, 50, 99, 100.5, 99.5, 200]);
    expect(spread).toMatchObject({ outliers: [2, 6], median: 100, min: 50, max: 200 });
  });
  it('finds the one that differs where all others are the same', () => {
    expect(spreadOf([10, 10, 10, 10, 12, 10, 10, 10, 10, 10])!.outliers).toEqual([4]);
    expect(spreadOf([10, 10, 10, 10, 10])!.outliers).toEqual([]);
  });
  it('calls nothing an outlier among fewer than five', () => {
    expect(spreadOf([100, 100.1, 99.9, 1e6])!.outliers).toEqual([]);
  });
});

describe('quantiles', () => {
  it('stay between the least and the greatest, and never fall as the share grows', () => {
    const value = fc.double({ min: -1e6, max: 1e6, noNaN: true });
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(fc.array(value, { minLength: 1 }), share, share, (values, a, b) => {
        const sorted = values.toSorted((x, y) => x - y);
        const [low, high] = [quantile(sorted, Math.min(a, b)), quantile(sorted, Math.max(a, b))];
        const slack = 1e-9;
        expect(low).toBeGreaterThanOrEqual(sorted[0]! - slack);
        expect(high).toBeLessThanOrEqual(sorted.at(-1)! + slack);
        expect(high - low).toBeGreaterThanOrEqual(-slack);
      }),
    );
  });
  it('sort values as numbers', () => {
    expect(median([10, 9, 100])).toBe(10);
    expect(median([])).toBeNaN();
  });
});

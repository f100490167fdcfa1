import { describe, expect, it } from 'vitest';
import { LodgeError } from '../../src/errors.ts';
import { seededRandom } from '../../src/random.ts';
import { type Interval, intervalOfDifference, intervalOfMiddle } from '../../src/study/bootstrap.ts';
import { studentReach } from '../../src/study/student.ts';
import { type Noise, noisy, normal } from './synthetic.ts';

const options = (resamples = 4000) => ({ confidence: 0.95, resamples, random: seededRandom(1) });

/** How many of a hundred intervals hold the true difference, which is 0. All chance is seeded. */
function coverage(trials: number, interval: (trial: number) => Interval): number {
  let held = 0;
  for (let trial = 0; trial < trials; trial++) {
    const { low, high } = interval(trial);
    if (low <= 0 && high >= 0) held++;
  }
  return (100 * held) / trials;
}

// 2000 trials know the coverage to within 0.5 of its true value, two times of three.
const trials = 2000;
/** How many pairs and values: what is hardest for an interval, and by `LODGE_TEST_FULL=1` all between. */
const sizes = process.env.LODGE_TEST_FULL === '1' ? [3, 4, 5, 6, 8, 10, 20] : [3, 5, 10];

describe('the interval of the middle of paired log ratios', () => {
  // Noise that is skewed or has long tails makes Student's interval hold the truth a little more often, and so ours.
  const cases = sizes.flatMap((n): [number, Noise, number][] => [
    [n, 'normal', 97],
    [n, 'lognormal', 97],
    [n, 'interruptions', 98],
  ]);
  it.each(cases)(
    'of %d pairs with noise of the kind %s holds the truth 93 to %d times of 100',
    (n, noise, most) => {
      const noises = seededRandom(n, noise);
      const random = seededRandom(n, 'resampling');
      const held = coverage(trials, () => {
        const logRatios = Array.from({ length: n }, () =>
          Math.log(noisy(noise, noises) / noisy(noise, noises)),
        );
        return intervalOfMiddle(logRatios, { confidence: 0.95, resamples: 300, random });
      });
      expect(held).toBeGreaterThan(93);
      expect(held).toBeLessThan(most);
    },
  );

  it.each([3, 5, 10])('of %d pairs never holds it too seldom where one run in ten is wild', (n) => {
    const noises = seededRandom(n, 'outliers');
    const random = seededRandom(n, 'resampling');
    const held = coverage(trials, () => {
      const one = () => noisy('outliers', noises);
      const logRatios = Array.from({ length: n }, () => Math.log(one() / one()));
      return intervalOfMiddle(logRatios, { confidence: 0.95, resamples: 300, random });
    });
    expect(held).toBeGreaterThan(94);
  });

  it('holds the truth as often as another confidence asks for', () => {
    const noises = seededRandom(3, 'noise');
    const random = seededRandom(3, 'resampling');
    const held = coverage(trials, () => {
      const values = Array.from({ length: 8 }, () => normal(noises));
      return intervalOfMiddle(values, { confidence: 0.8, resamples: 300, random });
    });
    expect(held).toBeGreaterThan(78);
    expect(held).toBeLessThan(84);
  });

  it("is hardly wider than Student's, which is the exact one for normal noise", () => {
    const noises = seededRandom(9, 'noise');
    for (const n of [5, 10, 20]) {
      let ours = 0;
      let students = 0;
      for (let trial = 0; trial < 300; trial++) {
        const values = Array.from({ length: n }, () => normal(noises));
        const { low, high } = intervalOfMiddle(values, options(300));
        const mean = values.reduce((sum, value) => sum + value, 0) / n;
        const sigma = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1));
        ours += high - low;
        students += (2 * studentReach(n - 1, 0.95) * sigma) / Math.sqrt(n);
      }
      expect(ours / students).toBeLessThan(1.15);
      expect(ours / students).toBeGreaterThan(0.95);
    }
  });

  it('is moved little by one wild value among ten', () => {
    const values = [-0.01, 0.004, 0.002, -0.003, 0.008, -0.006, 0.001, 0.005, -0.002];
    const calm = intervalOfMiddle([...values, 0], options());
    const wild = intervalOfMiddle([...values, 5], options());
    expect(Math.abs(wild.estimate - calm.estimate)).toBeLessThan(0.002);
    // Their mean would be 0.5.
    expect(wild.high).toBeLessThan(0.05);
  });

  it('gives the median of the means of all pairs', () => {
    // The means of pairs are 1, 1.5, 2, 2.5, 3, 4, 5.5, 6, 7 and 10.
    expect(intervalOfMiddle([1, 2, 4, 10], options()).estimate).toBe((3 + 4) / 2);
    expect(intervalOfMiddle([10, 1, 4, 2], options()).estimate).toBe(3.5);
    expect(intervalOfMiddle([1, 2, 6], options()).estimate).toBe((2 + 3.5) / 2);
  });

  it('is a point where all values are the same', () => {
    expect(intervalOfMiddle([0.1, 0.1, 0.1], options())).toEqual({ estimate: 0.1, low: 0.1, high: 0.1 });
  });

  it('takes hundreds of values', () => {
    const noises = seededRandom(5, 'noise');
    const { low, high } = intervalOfMiddle(
      Array.from({ length: 600 }, () => normal(noises)),
      options(),
    );
    expect(low).toBeLessThan(0);
    expect(high).toBeGreaterThan(0);
    // 2 * 1.96 / sqrt(600), and 2 % for what the middle is less exact than the mean.
    expect(high - low).toBeCloseTo(0.164, 1);
  });

  it('refuses a single value', () => {
    expect(() => intervalOfMiddle([1], options())).toThrow(LodgeError);
  });
});

describe('the interval of the difference of two lists', () => {
  it.each([
    [3, 3],
    [3, 8],
    [5, 5],
    [10, 4],
    [15, 15],
  ])('of %d and %d values holds the truth 93 to 98.5 times of 100', (ofNative, ofGuest) => {
    const noises = seededRandom(ofNative, `noise ${ofGuest}`);
    const random = seededRandom(ofNative, 'resampling');
    const held = coverage(trials, () =>
      intervalOfDifference(
        Array.from({ length: ofNative }, () => normal(noises)),
        Array.from({ length: ofGuest }, () => normal(noises)),
        { confidence: 0.95, resamples: 300, random },
      ),
    );
    expect(held).toBeGreaterThan(93);
    expect(held).toBeLessThan(98.5);
  });
  it('gives the median of all differences', () => {
    // Differences 9, 8, 6, 19, 18, 16: the middle lies between 9 and 16.
    expect(intervalOfDifference([1, 2, 4], [10, 20], options()).estimate).toBe(12.5);
  });
  it('is a point where neither list scatters', () => {
    expect(intervalOfDifference([1, 1], [3, 3, 3], options())).toEqual({ estimate: 2, low: 2, high: 2 });
  });
});

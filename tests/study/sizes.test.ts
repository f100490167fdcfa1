import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type BenchmarkName, benchmarkNames } from '../../src/study/cells.ts';
import { planSizes, processGrid } from '../../src/study/sizes.ts';

const gib = 2 ** 30;
const paper = {
  size: 'full' as const,
  benchmarks: benchmarkNames,
  cores: [1, 2, 4, 8],
  lastLevelCachesBytes: 16 * 2 ** 20,
};

describe('the sizes of a study', () => {
  it("are the paper's where there is memory as there", () => {
    const { hpl, streamElements } = planSizes({ ...paper, budgetBytes: 20 * gib });
    expect(Object.values(hpl).map(({ n, p, q }) => [n, p, q])).toEqual([
      [10_000, 1, 1],
      [15_000, 1, 2],
      [20_000, 2, 2],
      [30_000, 2, 4],
    ]);
    expect(streamElements).toBe(80_000_000);
  });

  it('fit in the memory there is, and say by what rule', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 600 * 2 ** 20, max: 2 ** 42 }),
        fc.integer({ min: 2 ** 20, max: 2 ** 30 }),
        fc.constantFrom('quick' as const, 'full' as const),
        (budgetBytes, lastLevelCachesBytes, size) => {
          const cores = [1, 2, 3, 8, 96];
          const { hpl, guestMemoryBytes, rule, streamElements } = planSizes({
            size,
            benchmarks: benchmarkNames,
            cores,
            budgetBytes,
            lastLevelCachesBytes,
          });
          for (const count of cores) {
            expect(hpl[count]!.n * hpl[count]!.n * 8).toBeLessThan(budgetBytes);
            // Rounded up to a quarter of a gibibyte.
            expect(guestMemoryBytes[count]!).toBeLessThanOrEqual(budgetBytes + 2 ** 28);
            expect(guestMemoryBytes[count]!).toBeGreaterThan(hpl[count]!.n ** 2 * 8);
          }
          expect(streamElements).toBeGreaterThan(0);
          expect(rule).toContain(`${streamElements} elements`);
        },
      ),
    );
  });

  it('that cannot fit at all are refused', () => {
    expect(() => planSizes({ ...paper, budgetBytes: 2 ** 28 })).toThrow(
      expect.objectContaining({ code: 'not-enough-memory' }),
    );
  });

  it('speak only of what is asked for, and guests are no larger than that takes', () => {
    const of = (...benchmarks: BenchmarkName[]) =>
      planSizes({ ...paper, size: 'quick', benchmarks, budgetBytes: 20 * gib });
    expect(of('stream').rule).not.toMatch(/HPL|PingPong/);
    expect(of('hpcc', 'pingpong').rule).toMatch(/^HPL.*PingPong/);
    expect(of('hpcc', 'pingpong').rule).not.toMatch(/STREAM/);
    expect(of('micro', 'boot')).toMatchObject({ rule: 'what is measured has one size.', hpl: {} });
    expect(of('micro').guestMemoryBytes[1]).toBe(gib / 2);
    expect(of('hpcc').guestMemoryBytes[8]).toBeGreaterThan(of('hpcc').guestMemoryBytes[1]!);
    expect(() => planSizes({ ...paper, benchmarks: ['micro'], budgetBytes: 2 ** 29 })).not.toThrow();
  });

  it("give STREAM four times the caches (McCalpin's rule)", () => {
    const { streamElements } = planSizes({
      size: 'full',
      benchmarks: ['stream'],
      cores: [1],
      budgetBytes: 20 * gib,
      lastLevelCachesBytes: 256 * 2 ** 20,
    });
    expect(streamElements * 8).toBe(gib);
  });

  it('keep a quick study quick whatever caches a hypervisor tells of, and say so', () => {
    const { streamElements, rule } = planSizes({
      ...{ size: 'quick', cores: [1], budgetBytes: 40 * gib, lastLevelCachesBytes: gib },
      benchmarks: ['stream'],
    });
    expect(streamElements).toBe(8_000_000);
    expect(rule).toContain(`less than the ${gib / 2} that four times the last-level caches take`);
  });
});

describe('the grid of processes', () => {
  it('is as square as can be, and has all of them', () => {
    expect([1, 2, 4, 6, 7, 8, 12, 64, 96].map((cores) => Object.values(processGrid(cores)))).toEqual([
      [1, 1],
      [1, 2],
      [2, 2],
      [2, 3],
      [1, 7],
      [2, 4],
      [3, 4],
      [8, 8],
      [8, 12],
    ]);
  });
});

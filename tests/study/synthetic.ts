/** Measured values with a truth that the test knows. */

import { type Random, seededRandom } from '../../src/random.ts';

/** Normal noise by the method of Box and Muller. */
export function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random.fraction())) * Math.cos(2 * Math.PI * random.fraction());
}

export type Noise = 'normal' | 'lognormal' | 'interruptions' | 'outliers';

/** One run around 1 with noise of about 1 %; `interruptions` only ever add, `outliers` are wild in one run of ten. */
export function noisy(noise: Noise, random: Random): number {
  switch (noise) {
    case 'normal':
      return 1 + 0.01 * normal(random);
    case 'lognormal':
      return Math.exp(0.01 * normal(random));
    case 'interruptions':
      return 1 - 0.01 * Math.log(1 - random.fraction());
    case 'outliers':
      return 1 + 0.01 * normal(random) + (random.fraction() < 0.1 ? 0.5 * random.fraction() : 0);
  }
}

/** `n` blocks of a native and a guest run; what the machine does to a block is the same for both of its runs. */
export function blocks(
  n: number,
  { ratio = 1, noise = 'normal', drift = 0, seed = 1 }: SyntheticBlocks,
): { native: number[]; guest: number[]; pairs: [number, number][] } {
  const random = seededRandom(seed, 'synthetic');
  const native: number[] = [];
  const guest: number[] = [];
  for (let block = 0; block < n; block++) {
    const state = 100 * Math.exp(drift * normal(random));
    native.push(state * noisy(noise, random));
    guest.push(state * ratio * noisy(noise, random));
  }
  return { native, guest, pairs: inOrder(n) };
}

interface SyntheticBlocks {
  ratio?: number;
  noise?: Noise;
  drift?: number;
  seed?: number;
}

/** Pairs of the first with the first, the second with the second, and so on. */
export function inOrder(n: number): [number, number][] {
  return Array.from({ length: n }, (_, index) => [index, index]);
}

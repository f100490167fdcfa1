/**
 * Random numbers from a seed: for the order of runs and for resampling in studies, and for what links of a fabric do by
 * chance. The same seed gives the same numbers on every machine, and results name it, so that what came of chance can
 * be repeated.
 *
 * The generator is xoshiro128** 1.1, its state filled by SplitMix64 as its authors advise. Sources: D. Blackman and
 * S. Vigna, "Scrambled linear pseudorandom number generators", ACM TOMS 47(4), 2021; G. Steele, D. Lea and C. Flood,
 * "Fast splittable pseudorandom number generators", OOPSLA 2014. Not for secrets.
 */

import { LodgeError } from './errors.ts';

const twoTo32 = 2 ** 32;
const low64 = (1n << 64n) - 1n;

/** The first `count` numbers, 64 bits each, that SplitMix64 gives from a 64-bit seed. */
export function splitMix64(seed: bigint, count: number): bigint[] {
  const numbers: bigint[] = [];
  let state = seed & low64;
  for (let i = 0; i < count; i++) {
    state = (state + 0x9e3779b97f4a7c15n) & low64;
    let z = state;
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & low64;
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & low64;
    numbers.push(z ^ (z >> 31n));
  }
  return numbers;
}

/** FNV-1a of 64 bits over the text's UTF-8 bytes. Source: G. Fowler and others, "The FNV
 * Non-Cryptographic Hash Algorithm", draft-eastlake-fnv of the IETF. */
export function fnv1a64(text: string): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(text, 'utf8')) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & low64;
  return hash;
}

/** A stream of random numbers; each call of a method moves it on. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  /** Begins at a state of four 32-bit words, not all zero. Most callers want {@link seededRandom}. */
  constructor(a: number, b: number, c: number, d: number) {
    this.#a = a | 0;
    this.#b = b | 0;
    this.#c = c | 0;
    this.#d = d | 0;
  }

  /** A whole number from 0 to 2^32 - 1. */
  uint32(): number {
    const times5 = Math.imul(this.#b, 5);
    const result = Math.imul((times5 << 7) | (times5 >>> 25), 9);
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result >>> 0;
  }

  /** The state, from which the constructor makes a stream that goes on as this one would. */
  state(): [number, number, number, number] {
    return [this.#a, this.#b, this.#c, this.#d];
  }

  /**
   * A whole number from 0 to `limit` - 1, each equally likely: numbers beyond the largest multiple of `limit` are
   * drawn again.
   * @param limit 1 to 2^32
   * @throws LodgeError `internal` for any other limit
   */
  below(limit: number): number {
    if (!Number.isInteger(limit) || limit < 1 || limit > twoTo32) {
      throw new LodgeError('internal', `no random whole number can be below ${limit}`);
    }
    const width = Math.floor(twoTo32 / limit);
    const end = width * limit;
    let number = this.uint32();
    while (number >= end) number = this.uint32();
    return Math.floor(number / width);
  }

  /** A number of 53 bits from 0 up to, but never, 1. */
  fraction(): number {
    return ((this.uint32() >>> 5) * 2 ** 26 + (this.uint32() >>> 6)) / 2 ** 53;
  }
}

/**
 * A stream of random numbers for a purpose. Streams of different names are independent, so that one part of a study
 * drawing more numbers changes nothing in another.
 *
 * @param seed a whole number from 0 to 2^53 - 1
 * @param stream what the numbers are for, as in `order` or the key of a cell
 * @throws LodgeError `spec-value` for a seed that is no such number
 */
export function seededRandom(seed: number, stream = ''): Random {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new LodgeError('spec-value', `${seed} is not a seed`, {
      fix: `give a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`,
    });
  }
  const [mixed] = splitMix64(BigInt(seed), 1);
  const start = stream === '' ? BigInt(seed) : mixed! ^ fnv1a64(stream);
  const [first, second] = splitMix64(start, 2);
  const word = (bits: bigint) => Number(bits & 0xffffffffn);
  return new Random(word(first!), word(first! >> 32n), word(second!), word(second! >> 32n));
}

/**
 * The items in random order, each order equally likely; the given list is left as it is.
 * Method: Fisher and Yates, in Durstenfeld's form (CACM 7(7), 1964).
 */
export function shuffle<T>(items: readonly T[], random: Random): T[] {
  const shuffled = [...items];
  for (let last = shuffled.length - 1; last > 0; last--) {
    const other = random.below(last + 1);
    const kept = shuffled[last]!;
    shuffled[last] = shuffled[other]!;
    shuffled[other] = kept;
  }
  return shuffled;
}

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type GuestNeed, spreadGuests } from '../../../src/cluster/engine/spread.ts';
import { LodgeError } from '../../../src/errors.ts';

const gibi = 2 ** 30;
const hosts = [
  { name: 'n01', cpus: 4, memoryBytes: 4 * gibi },
  { name: 'n02', cpus: 4, memoryBytes: 4 * gibi },
];

function guest(name: string, cpus = 1, bytes = gibi, at?: string): GuestNeed {
  return { name, cpus, neededBytes: () => bytes, ...(at === undefined ? {} : { at }) };
}

describe('guests are spread over hosts', () => {
  test('by the share of the CPUs that is taken', () => {
    const placed = spreadGuests([guest('a', 3), guest('b'), guest('c'), guest('d', 2)], hosts);
    expect([...placed.values()]).toEqual(['n01', 'n02', 'n02', 'n02']);
  });

  test('where there is memory for them', () => {
    const placed = spreadGuests(
      [guest('a', 1, 3 * gibi), guest('b', 1, 3 * gibi), guest('c', 1, gibi)],
      hosts,
    );
    expect([...placed.values()]).toEqual(['n01', 'n02', 'n01']);
  });

  test('and stay where they are', () => {
    const placed = spreadGuests([guest('a', 1, gibi, 'n02'), guest('b', 1, gibi, 'n02'), guest('c')], hosts);
    expect(placed.get('a')).toBe('n02');
    expect(placed.get('b')).toBe('n02');
    expect(placed.get('c')).toBe('n01');
  });

  test('anew where their host is gone', () => {
    expect(spreadGuests([guest('a', 1, gibi, 'n09')], hosts).get('a')).toBe('n01');
  });

  test('or refused, with the sums', () => {
    const guests = ['a', 'b', 'c'].map((name) => guest(name, 1, 3 * gibi));
    const fault = (): unknown => {
      try {
        return spreadGuests(guests, hosts);
      } catch (error) {
        return error;
      }
    };
    const error = fault() as LodgeError;
    expect(error).toBeInstanceOf(LodgeError);
    expect(error.code).toBe('allocation-too-small');
    expect(error.message).toContain("'c'");
    expect(error.detail).toBe('guests: 3 of 3G = 9G\nhosts: n[01-02], 4G + 4G = 8G');
  });

  test('never beyond the memory of a host', () => {
    const needs = fc.array(
      fc.record({ cpus: fc.integer({ min: 1, max: 8 }), bytes: fc.integer({ min: 1, max: 50 }) }),
      {
        maxLength: 30,
      },
    );
    const rooms = fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(needs, rooms, (wanted, sizes) => {
        const guests = wanted.map(({ cpus, bytes }, i) => guest(`g${i}`, cpus, bytes));
        const there = sizes.map((memoryBytes, i) => ({ name: `h${i}`, cpus: 4, memoryBytes }));
        let placed: Map<string, string>;
        try {
          placed = spreadGuests(guests, there);
        } catch (error) {
          expect(error).toBeInstanceOf(LodgeError);
          return;
        }
        for (const { name, memoryBytes } of there) {
          const used = wanted.reduce(
            (sum, { bytes }, i) => sum + (placed.get(`g${i}`) === name ? bytes : 0),
            0,
          );
          expect(used).toBeLessThanOrEqual(memoryBytes);
        }
        expect(placed.size).toBe(wanted.length);
      }),
    );
  });
});

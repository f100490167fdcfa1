import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nameOfSeries, type PageSize, type Series } from '../../src/study/cells.ts';
import {
  departures,
  levelsOf,
  type MeasuredSeries,
  predictedOrder,
  referencesPerWalk,
} from '../../src/study/walk-cost.ts';

const native = (own: PageSize): Series => ({ environment: 'native', pages: { own }, placement: 'mirror' });
const guest = (host: PageSize, own: PageSize): Series => ({
  environment: 'kvm',
  pages: { host, own },
  placement: 'mirror',
});

/** In the order in which the paper's legend could name them, which is not the predicted one. */
const paperSeries = [
  guest('4K', '4K'),
  native('4K'),
  guest('2M', '4K'),
  native('2M'),
  guest('4K', '2M'),
  guest('2M', '2M'),
];

describe('references per walk', () => {
  // The published figures.
  it.each<[PageSize, PageSize, number]>([
    ['4K', '4K', 24],
    ['2M', '4K', 19],
    ['4K', '2M', 19],
    ['2M', '2M', 15],
    ['1G', '4K', 14],
    ['1G', '1G', 8],
    ['1G', '2M', 11],
  ])('of a guest %s/%s are %d', (host, own, references) => {
    expect(referencesPerWalk({ host, own }, 'kvm')).toEqual({ references, isNested: true });
  });
  it.each<[PageSize, number]>([
    ['4K', 4],
    ['2M', 3],
    ['1G', 2],
  ])('natively with %s are %d', (own, references) => {
    expect(referencesPerWalk({ own }, 'native')).toEqual({ references, isNested: false });
  });
  it('counts transparent huge pages as 2M and says so', () => {
    expect(referencesPerWalk({ own: 'thp' }, 'native')).toMatchObject({ references: 3, note: /2M/ });
    expect(referencesPerWalk({ host: 'thp', own: '4K' }, 'kvm')).toMatchObject({
      references: 19,
      note: /2M/,
    });
    expect(referencesPerWalk({ host: '2M', own: 'thp' }, 'kvm')).toMatchObject({
      references: 15,
      note: /2M/,
    });
  });
  it('are those of the host under user-mode Linux, where paging is not nested', () => {
    expect(referencesPerWalk({ own: '4K' }, 'uml')).toMatchObject({
      references: 4,
      isNested: false,
      note: /not nested/,
    });
    expect(referencesPerWalk({ host: 'thp', own: '4K' }, 'uml')).toMatchObject({ references: 4 });
  });
  it('are not known for emulation, nor where the host chose the pages', () => {
    for (const cost of [
      referencesPerWalk({ host: '4K', own: '4K' }, 'tcg'),
      referencesPerWalk({ own: '4K' }, 'kvm'),
    ]) {
      expect(cost).not.toHaveProperty('references');
      expect(cost.note).toMatch(/./);
    }
  });
  it('count as the walk does, step by step', () => {
    const page = fc.constantFrom<PageSize>('4K', '2M', '1G', 'thp');
    fc.assert(
      fc.property(page, page, (host, own) => {
        let references = 0;
        // Each table of the guest is found through the host's tables and then read; so is the page at the end.
        for (let level = 0; level < levelsOf[own]; level++) references += levelsOf[host] + 1;
        references += levelsOf[host];
        expect(referencesPerWalk({ host, own }, 'kvm').references).toBe(references);
      }),
    );
  });
});

describe('the predicted order', () => {
  it('of the six series of the paper', () => {
    expect(
      predictedOrder(paperSeries).map(({ series, references, rank }) => [
        nameOfSeries(series),
        references,
        rank,
      ]),
    ).toEqual([
      ['Native 2M', 3, 1],
      ['Native 4K', 4, 2],
      ['Guest 2M/2M', 15, 3],
      ['Guest 2M/4K', 19, 4],
      ['Guest 4K/2M', 19, 4],
      ['Guest 4K/4K', 24, 6],
    ]);
  });
  it('leaves out what it knows nothing of', () => {
    const emulated: Series = { ...guest('4K', '4K'), environment: 'tcg' };
    expect(predictedOrder([emulated, native('4K')]).map(({ series }) => series)).toEqual([native('4K')]);
    expect(predictedOrder([])).toEqual([]);
  });
});

describe('departures of the measured order', () => {
  const at = (series: Series, estimate: number, half = 0.001): MeasuredSeries => ({
    series,
    rate: { estimate, low: estimate - half, high: estimate + half },
  });
  it('are none where all is as predicted; equal walks predict nothing', () => {
    const check = departures([
      at(native('2M'), 0.1),
      at(native('4K'), 0.09),
      at(guest('2M', '2M'), 0.08),
      at(guest('2M', '4K'), 0.07),
      at(guest('4K', '2M'), 0.06),
      at(guest('4K', '4K'), 0.05),
    ]);
    expect(check).toEqual({ pairs: 14, confirmed: 14, overlapping: 0, departures: [] });
  });
  it('name the pair that the paper found swapped: Guest 2M/2M ahead of Native 4K', () => {
    const check = departures([
      at(native('2M'), 0.1),
      at(guest('2M', '2M'), 0.0975),
      at(native('4K'), 0.08),
      at(guest('4K', '4K'), 0.05),
    ]);
    expect(check).toMatchObject({ pairs: 6, confirmed: 5, overlapping: 0 });
    expect(check.departures).toHaveLength(1);
    const [departure] = check.departures;
    expect(nameOfSeries(departure!.faster.series)).toBe('Guest 2M/2M');
    expect(nameOfSeries(departure!.slower.series)).toBe('Native 4K');
    expect(departure).toMatchObject({ fasterReferences: 15, slowerReferences: 4 });
    expect(departure!.lead).toBeCloseTo(0.0975 / 0.08 - 1, 10);
  });
  it('are not claimed where intervals overlap', () => {
    const check = departures([at(native('2M'), 0.1, 0.02), at(native('4K'), 0.11, 0.001)]);
    expect(check).toEqual({ pairs: 1, confirmed: 0, overlapping: 1, departures: [] });
  });
  it('come with the largest lead first', () => {
    const check = departures([at(native('2M'), 0.05), at(native('4K'), 0.06), at(guest('4K', '4K'), 0.1)]);
    expect(check.departures.map(({ lead }) => Number(lead.toFixed(3)))).toEqual([1, 0.667, 0.2]);
  });
});

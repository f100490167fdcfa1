/**
 * What a miss of the translation buffer (TLB) costs in references to memory, by the pages involved, and what order of
 * the series follows from that for MPIRandomAccess. Pure.
 *
 * With nested paging each of the n page tables of the guest lies at a guest address, which must itself be translated
 * through the m levels of the host before it can be read; so must the address that comes out at the end. That makes
 * (n + 1)(m + 1) - 1 references, against n natively. Source: R. Bhargava and others, "Accelerating two-dimensional
 * page walks for virtualized systems", ASPLOS 2008. Levels are those of x86-64 with 48-bit addresses; a machine that
 * uses five levels has one more each.
 *
 * The model counts references for one miss. It knows neither how many misses there are (one entry reaches 512 times
 * farther with 2 MiB pages) nor which references the caches answer. Where the measured order departs from the
 * predicted one, that is why: the paper itself found Guest 2M/2M next to Native 2M, so ahead of Native 4K.
 */

import type { Interval } from './bootstrap.ts';
import type { Environment, PageSize, Pages, Series } from './cells.ts';

/** Levels of page tables down to an entry that maps a page of this size. */
export const levelsOf: Readonly<Record<PageSize, number>> = { '4K': 4, '2M': 3, '1G': 2, thp: 3 };

export interface WalkCost {
  /** References to memory for one translation that misses everything; none where the model has nothing to say. */
  references?: number;
  /** Whether the walk has two dimensions. */
  isNested: boolean;
  /** What to know about the number, as a sentence. */
  note?: string;
}

const transparentNote =
  'Transparent huge pages are counted as 2M; where the kernel gave small pages it is more.';

/** The cost of one walk over these pages. */
export function referencesPerWalk(pages: Pages, environment: Environment): WalkCost {
  const { host, own } = pages;
  const isTransparent = own === 'thp' || host === 'thp';
  const noted = (cost: WalkCost): WalkCost => (isTransparent ? { ...cost, note: transparentNote } : cost);
  switch (environment) {
    case 'native':
      return noted({ references: levelsOf[own], isNested: false });
    case 'kvm':
      if (host === undefined) {
        return {
          isNested: true,
          note: 'Which pages back the guest was left to the host, so there is no number.',
        };
      }
      return noted({ references: (levelsOf[own] + 1) * (levelsOf[host] + 1) - 1, isNested: true });
    case 'uml':
      return {
        // Whatever a process of the guest maps, user-mode Linux maps for it on the host in small pages, one by one.
        references: levelsOf['4K'],
        isNested: false,
        note: 'Paging is not nested: processes of the guest are processes of the host, with one page table.',
      };
    case 'tcg':
      return {
        isNested: false,
        note: 'Translation is emulated in software, so the model of the hardware walk does not apply.',
      };
  }
}

export interface RankedSeries {
  series: Series;
  references: number;
  /** From 1; series with the same number of references share a rank. */
  rank: number;
}

/**
 * The series in the order in which the model expects their RandomAccess rates, highest first: fewest references
 * first, equal ones in the order given. Series of which the model says nothing are left out.
 */
export function predictedOrder(series: readonly Series[]): RankedSeries[] {
  const known = series.flatMap((one) => {
    const { references } = referencesPerWalk(one.pages, one.environment);
    return references === undefined ? [] : [{ series: one, references }];
  });
  return known
    .toSorted((a, b) => a.references - b.references)
    .map((one) => ({
      ...one,
      rank: 1 + known.filter(({ references }) => references < one.references).length,
    }));
}

/** A series with its RandomAccess rate, in any unit, and the interval of that. */
export interface MeasuredSeries {
  series: Series;
  rate: Interval;
}

/** Two series that were measured in the other order than predicted, beyond their intervals. */
export interface Departure {
  /** Predicted slower, measured faster. */
  faster: MeasuredSeries;
  slower: MeasuredSeries;
  fasterReferences: number;
  slowerReferences: number;
  /** By how much its rate is higher, as a fraction of the slower one's. */
  lead: number;
}

export interface OrderCheck {
  /** How many pairs of series the model puts in an order. */
  pairs: number;
  /** How many of these were measured in that order, beyond their intervals. */
  confirmed: number;
  /** How many cannot be told apart, because their intervals overlap. */
  overlapping: number;
  /** The rest, the largest lead first. */
  departures: Departure[];
}

/**
 * Compares the measured order with the predicted one, pair by pair. All must be measured with the same number of
 * cores and the same placement. Intervals that do not overlap are a stricter proof than the confidence of each.
 */
export function departures(measured: readonly MeasuredSeries[]): OrderCheck {
  const ranked = measured.flatMap((one) => {
    const { references } = referencesPerWalk(one.series.pages, one.series.environment);
    return references === undefined ? [] : [{ one, references }];
  });
  const check: OrderCheck = { pairs: 0, confirmed: 0, overlapping: 0, departures: [] };
  for (const expectedFaster of ranked) {
    for (const expectedSlower of ranked) {
      if (expectedFaster.references >= expectedSlower.references) continue;
      check.pairs++;
      const [a, b] = [expectedFaster.one.rate, expectedSlower.one.rate];
      if (a.low > b.high) check.confirmed++;
      else if (b.low > a.high) {
        check.departures.push({
          faster: expectedSlower.one,
          slower: expectedFaster.one,
          fasterReferences: expectedSlower.references,
          slowerReferences: expectedFaster.references,
          lead: b.estimate / a.estimate - 1,
        });
      } else check.overlapping++;
    }
  }
  check.departures.sort((a, b) => b.lead - a.lead);
  return check;
}

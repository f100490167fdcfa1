/** MPIRandomAccess of a study beside the order that the page-walk model predicts. Pure. */

import { Runs } from './cell-comparison.ts';
import { type Cell, keyOfCell, type Placement, type Series } from './cells.ts';
import type { Study } from './samples.ts';
import { intervalOfSamples } from './statistics.ts';
import {
  departures,
  type MeasuredSeries,
  type OrderCheck,
  predictedOrder,
  type RankedSeries,
} from './walk-cost.ts';

/** All series of a study with one number of cores and one placement. */
export interface WalkOrder {
  cores: number;
  placement: Placement;
  /** Series that the model knows, most references last; also those that gave no value. */
  predicted: RankedSeries[];
  /** Series with their rates in GUP/s, the fastest first. */
  measured: MeasuredSeries[];
  check: OrderCheck;
}

export interface WalkOrderOptions {
  /** 0.95 when not given. */
  confidence?: number;
  resamples?: number;
}

/** Compares the orders for each placement and number of cores, ascending. Guests under TCG have no place in it. */
export function walkOrdersOf(study: Study, options: WalkOrderOptions = {}): WalkOrder[] {
  const runs = new Runs(study);
  const groups = new Map<string, Cell[]>();
  for (const cell of study.head.cells) {
    if (cell.benchmark !== 'hpcc' || cell.environment === 'tcg') continue;
    const key = `${cell.placement} ${cell.cores}`;
    groups.set(key, [...(groups.get(key) ?? []), cell]);
  }
  return [...groups.values()]
    .map((cells) => {
      const measured = cells.flatMap((cell) => measuredSeries(runs, cell, options));
      return {
        cores: cells[0]!.cores,
        placement: cells[0]!.placement,
        predicted: predictedOrder(cells.map(seriesOf)),
        measured: measured.sort((a, b) => b.rate.estimate - a.rate.estimate),
        check: departures(measured),
      };
    })
    .sort((a, b) => b.placement.localeCompare(a.placement) || a.cores - b.cores);
}

function measuredSeries(runs: Runs, cell: Cell, options: WalkOrderOptions): MeasuredSeries[] {
  const values = runs.counted(cell).flatMap(({ measured }) => {
    const value = measured['randomaccess-gups'];
    return typeof value === 'number' ? [value] : [];
  });
  // One run has no interval, so it can prove no order.
  if (values.length < 2) return [];
  const stream = `walk order ${keyOfCell(cell)}`;
  const rate = intervalOfSamples(values, { ...options, seed: runs.seed, stream });
  return rate === undefined ? [] : [{ series: seriesOf(cell), rate }];
}

function seriesOf({ environment, pages, placement }: Cell): Series {
  return { environment, pages, placement };
}

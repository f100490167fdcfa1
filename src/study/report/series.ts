/** The series of a study in the order of the paper, and what each is drawn with. Pure. */

import { type Cell, environments, nameOfSeries, type PageSize, placements, type Series } from '../cells.ts';
import type { Study } from '../samples.ts';
import { type SeriesStyle, stylesOfSeries } from './look.ts';

export interface NamedSeries {
  name: string;
  series: Series;
  style: SeriesStyle;
}

const pageOrder: readonly PageSize[] = ['1G', '2M', 'thp', '4K'];

/** Native before guests, pinned before unpinned, large pages before small ones. */
export function compareSeries(a: Series, b: Series): number {
  return (
    environments.indexOf(a.environment) - environments.indexOf(b.environment) ||
    placements.indexOf(a.placement) - placements.indexOf(b.placement) ||
    (a.pages.host === undefined ? -1 : pageOrder.indexOf(a.pages.host)) -
      (b.pages.host === undefined ? -1 : pageOrder.indexOf(b.pages.host)) ||
    pageOrder.indexOf(a.pages.own) - pageOrder.indexOf(b.pages.own)
  );
}

/** Every series that the study has cells of, with a style that is the same in all its figures. */
export function seriesOfStudy(study: Study): NamedSeries[] {
  const byName = new Map<string, Series>();
  for (const cell of allCells(study)) {
    const { environment, pages, placement } = cell;
    byName.set(nameOfSeries(cell), { environment, pages, placement });
  }
  const sorted = [...byName].sort(([, a], [, b]) => compareSeries(a, b));
  const styles = stylesOfSeries(sorted.map(([, series]) => series));
  return sorted.map(([name, series], i) => ({ name, series, style: styles[i]! }));
}

/** The cells of the design, and those of samples that are of no cell in it. */
export function allCells(study: Study): Cell[] {
  return [...study.head.cells, ...study.samples.map(({ cell }) => cell)];
}

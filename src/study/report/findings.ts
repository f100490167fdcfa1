/** All that a report says of a study, worked out once. Pure. */

import { nameOfSeries } from '../cells.ts';
import { type MetricName, metrics, type Study } from '../samples.ts';
import type { CellVerdict } from '../verdicts.ts';
import { coresText, guestEnvironments, isComparable } from './answer.ts';
import { formatTolerance } from './numbers.ts';
import type { OverheadChart, OverheadGroup } from './overhead-chart.ts';
import { type NamedSeries, seriesOfStudy } from './series.ts';
import { figuresOfStudy, type StudyFigures } from './study-figures.ts';
import { notesFor } from './warnings.ts';

export interface Findings {
  study: Study;
  verdicts: readonly CellVerdict[];
  series: readonly NamedSeries[];
  figures: StudyFigures;
  /** All judged overheads in one chart; none when the study has no guest whose timings may be compared. */
  overhead?: OverheadChart;
  /** The same by metric, each with an axis of its own, and what is told and not judged of PingPong. */
  overheads: Partial<Record<MetricName, OverheadChart>>;
}

export function findingsOf(study: Study, verdicts: readonly CellVerdict[]): Findings {
  const series = seriesOfStudy(study);
  const comparable = verdicts.filter(isComparable);
  return {
    study,
    verdicts,
    series,
    figures: figuresOfStudy(study),
    ...overheadsOf(study, comparable, series),
  };
}

/** Metrics with a row in the table of verdicts: what is judged, and the latency that goes with PingPong. */
export function isMainMetric(metric: MetricName): boolean {
  return 'tolerance' in metrics[metric] || metric === 'pingpong-latency-us';
}

/** Verdicts by metric, in the order of {@link metrics}; within one by series and cores. */
export function byMetric(
  verdicts: readonly CellVerdict[],
  series: readonly NamedSeries[],
): { metric: MetricName; verdicts: CellVerdict[] }[] {
  const place = new Map(series.map(({ name }, i) => [name, i]));
  return (Object.keys(metrics) as MetricName[]).flatMap((metric) => {
    const own = verdicts
      .filter((one) => one.metric === metric)
      .sort(
        (a, b) =>
          (place.get(nameOfSeries(a.cell)) ?? 0) - (place.get(nameOfSeries(b.cell)) ?? 0) ||
          a.cell.cores - b.cell.cores,
      );
    return own.length === 0 ? [] : [{ metric, verdicts: own }];
  });
}

function overheadsOf(
  study: Study,
  verdicts: readonly CellVerdict[],
  series: readonly NamedSeries[],
): Pick<Findings, 'overhead' | 'overheads'> {
  const main = verdicts.filter(({ metric }) => isMainMetric(metric));
  const notes = [
    ...notesFor(main.map(({ cell }) => cell.environment)),
    ...(guestEnvironments(study).includes('tcg')
      ? ['Emulated guests (tcg) are left out: their timings say nothing about overhead.']
      : []),
  ];
  const judged = main.filter(({ comparison }) => comparison.tolerance !== undefined);
  const overheads: Findings['overheads'] = {};
  for (const { metric, verdicts: own } of byMetric(main, series)) {
    const groups = groupsOf(own, series).map(({ title: _, ...group }) => group);
    const tolerance = groups[0]?.tolerance;
    const band = tolerance === undefined ? '' : ` Shaded: the tolerance of ${formatTolerance(tolerance)}.`;
    overheads[metric] = {
      id: `overhead-${metric}`,
      title: `Overhead: ${metrics[metric].title}`,
      subtitle: `${explanation}${band}`,
      warnings: [],
      notes,
      groups,
    };
  }
  if (judged.length === 0) return { overheads };
  const subtitle = `${explanation} Shaded: the tolerance. An arrow goes on beyond the axis.`;
  const groups = groupsOf(judged, series);
  return {
    overhead: { id: 'overhead', title: 'Overhead of guests', subtitle, warnings: [], notes, groups },
    overheads,
  };
}

const explanation = 'Against native on the same pages, with 95 % intervals.';

function groupsOf(judged: readonly CellVerdict[], series: readonly NamedSeries[]): OverheadGroup[] {
  const styles = new Map(series.map(({ name, style }) => [name, style]));
  return byMetric(judged, series).map(({ metric, verdicts }) => {
    const tolerance = verdicts[0]?.comparison.tolerance;
    return {
      title: metrics[metric].title,
      ...(tolerance === undefined ? {} : { tolerance }),
      rows: verdicts.flatMap(({ cell, comparison: { overhead, n } }) => {
        const style = styles.get(nameOfSeries(cell));
        // One pair has no interval: a bare point would look surer than any other.
        if (overhead === undefined || style === undefined || n < 2) return [];
        return [{ label: nameOfSeries(cell), detail: coresText(cell.cores), style, ...overhead }];
      }),
    };
  });
}

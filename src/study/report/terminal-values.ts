/** What was measured, as plain tables for a terminal: of all that has no verdict, and of everything without guests. */

import { nameOfSeries } from '../cells.ts';
import { type MetricName, metrics, type Study } from '../samples.ts';
import { metricsOf, valuesOf } from '../verdicts.ts';
import { coresText } from './answer.ts';
import { summariseCell, summaryTexts } from './point-summary.ts';
import { paint, type TerminalLook, tableLines } from './terminal-text.ts';

/** The middle of the runs with its 95 % interval, a table for each metric; empty where there is nothing to tell. */
export function renderValues(study: Study, look: TerminalLook): string {
  const hasGuests = study.head.cells.some(({ environment }) => environment !== 'native');
  const rowsByMetric = new Map<MetricName, string[][]>();
  for (const cell of study.head.cells) {
    for (const metric of metricsOf(cell)) {
      if (hasGuests && 'tolerance' in metrics[metric]) continue;
      const values = valuesOf(study, cell, metric).filter(Number.isFinite);
      if (values.length === 0) continue;
      const { middle, interval = '' } = summaryTexts(summariseCell(study, cell, metric, values));
      const rows = rowsByMetric.get(metric) ?? [];
      rowsByMetric.set(metric, rows);
      rows.push([
        nameOfSeries(cell),
        coresText(cell.cores),
        middle,
        interval,
        `${values.length} ${values.length === 1 ? 'run' : 'runs'}`,
      ]);
    }
  }
  // One table for the widths, cut up again under its titles.
  const lines = tableLines(
    [...rowsByMetric.values()].flat(),
    ['start', 'end', 'end', 'start', 'end'],
    [],
    look,
  );
  let text = lines.some((line) => line.includes('['))
    ? 'The middle of the runs, and its 95 % interval.\n\n'
    : '';
  for (const [metric, rows] of rowsByMetric) {
    text += `${paint(`${metrics[metric].title} (${metrics[metric].unit})`, 'bold', look)}\n`;
    text += `${lines.splice(0, rows.length).join('\n')}\n\n`;
  }
  return text;
}

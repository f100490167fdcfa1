/** Two studies side by side, for a terminal. Pure. */

import { type Cell, nameOfSeries } from '../cells.ts';
import type { ComparedMetric, StudyComparison } from '../compare.ts';
import { metrics } from '../samples.ts';
import { coresText } from './answer.ts';
import { formatSignificant } from './numbers.ts';
import {
  type Columns,
  oneLineOf,
  paint,
  plain,
  type TerminalLook,
  tableLines,
  wrapped,
} from './terminal-text.ts';

/** Machines, what differs, the ratios, and what only one of them has; each line ends with a line end. */
export function renderComparison(comparison: StudyComparison, look: TerminalLook): string {
  const { a, b, differences, compared, onlyInA, onlyInB } = comparison;
  const lines = [
    ...wrapped(`A: ${a.hostname}, ${a.createdAt.slice(0, 10)}, ${a.id}`, look),
    ...wrapped(`B: ${b.hostname}, ${b.createdAt.slice(0, 10)}, ${b.id}`, look),
    '',
  ];
  if (differences.length > 0) {
    lines.push(paint('What differs', 'bold', look));
    for (const { what, a: one = '–', b: other = '–' } of differences) {
      lines.push(...wrapped(`${what}: ${one} → ${other}`, look, '  '));
    }
    lines.push('');
  }
  const columns: Columns = ['start', 'end', 'end', 'end', 'end', 'start'];
  for (const metric of [...new Set(compared.map((one) => one.metric))]) {
    const own = compared.filter((one) => one.metric === metric);
    const { title, unit } = metrics[metric];
    lines.push(paint(`${title} (${unit})`, 'bold', look));
    const rows = own.map((one) => [
      nameOfSeries(one.cell),
      coresText(one.cell.cores),
      medianText(one.a.median),
      medianText(one.b.median),
      ratioText(one),
      outcomeText(one),
    ]);
    const moods = own.map(({ outcome }) =>
      outcome === 'better' ? 'good' : outcome === 'worse' ? 'bad' : 'open',
    );
    lines.push(
      ...tableLines([['', '', 'A', 'B', 'B / A', ''], ...rows], columns, [undefined, ...moods], look),
      '',
    );
  }
  for (const caution of new Set(compared.flatMap(({ cautions }) => cautions))) {
    lines.push(...wrapped(`Caution: ${caution}.`, look));
  }
  if (onlyInA.length > 0) lines.push(...wrapped(`Only in A: ${cellsText(onlyInA)}.`, look));
  if (onlyInB.length > 0) lines.push(...wrapped(`Only in B: ${cellsText(onlyInB)}.`, look));
  lines.push(...wrapped(`${comparisonLine(comparison)}.`, look));
  return lines.map((line) => `${plain(line).trimEnd()}\n`).join('');
}

/** All in one line: `12 compared: B better in 3, worse in 1, unclear in 8`. */
export function comparisonLine({ compared }: StudyComparison): string {
  const count = (outcome: ComparedMetric['outcome']) =>
    compared.filter((one) => one.outcome === outcome).length;
  if (compared.length === 0) return 'these studies have no cell in common';
  return `${compared.length} compared: B better in ${count('better')}, worse in ${count('worse')}, unclear in ${count('unclear')}`;
}

/** `1.042 [1.031, 1.053]`, or why there is none. */
export function ratioText({ ratio, a, b, reason }: ComparedMetric): string {
  if (ratio === undefined) return oneLineOf(reason ?? '–');
  const text = (value: number) => formatSignificant(value, 4);
  if (a.runs < 2 || b.runs < 2) return text(ratio.estimate);
  return `${text(ratio.estimate)} [${text(ratio.low)}, ${text(ratio.high)}]`;
}

export function outcomeText({ outcome, cautions }: ComparedMetric): string {
  const word = { better: '✓ better', worse: '▲ worse', unclear: '○ unclear' }[outcome];
  return cautions.length === 0 ? word : `${word} (caution)`;
}

function medianText(value: number | undefined): string {
  return value === undefined ? '–' : formatSignificant(value, 4);
}

/** Cells by series: `Guest 2M/2M: hpcc on 1, 2 cores`. */
export function cellsText(cells: readonly Cell[]): string {
  const bySeries = new Map<string, Map<string, number[]>>();
  for (const cell of cells) {
    const name = nameOfSeries(cell);
    const benchmarks = bySeries.get(name) ?? new Map<string, number[]>();
    benchmarks.set(cell.benchmark, [...(benchmarks.get(cell.benchmark) ?? []), cell.cores]);
    bySeries.set(name, benchmarks);
  }
  return [...bySeries]
    .map(([name, benchmarks]) => {
      const parts = [...benchmarks].map(
        ([benchmark, cores]) =>
          `${benchmark} on ${cores.join(', ')} ${cores.length === 1 && cores[0] === 1 ? 'core' : 'cores'}`,
      );
      return `${name}: ${parts.join(', ')}`;
    })
    .join('; ');
}

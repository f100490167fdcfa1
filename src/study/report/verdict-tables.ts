/** The tables of verdicts: overhead by series and cores, and every comparison with what it rests on. Pure. */

import { nameOfSeries } from '../cells.ts';
import { metrics } from '../samples.ts';
import { type CellVerdict, summaryOf } from '../verdicts.ts';
import { coresText, isComparable, repeatsText, type Statement } from './answer.ts';
import { byMetric, type Findings, isMainMetric } from './findings.ts';
import { type Content, type Html, html, table } from './html-elements.ts';
import { formatPercent, formatPercentInterval, formatSignificant, formatTolerance } from './numbers.ts';
import { marks } from './verdict-sections.ts';
import { emulationWarning } from './warnings.ts';

type MetricGroup = ReturnType<typeof byMetric>[number];

/** @param figure stands beside the table; none when there are too many overheads for one */
export function verdictSection({ verdicts, series }: Findings, figure: Html | undefined): Content {
  const main = verdicts.filter(({ metric }) => isMainMetric(metric));
  if (main.length === 0)
    return html`<p>There is nothing to compare: no guest ran any of these benchmarks.</p>`;
  // One sentence says it for all emulated guests.
  if (!main.some(isComparable)) return html`<p class="warning">${emulationWarning}</p>`;
  const groups = byMetric(main, series);
  const { withInterval, expectedMisses } = summaryOf(main.filter(isComparable));
  return [
    figure === undefined
      ? overheadTable(groups)
      : html`<div class="figures">${overheadTable(groups)}${figure}</div>`,
    html`<p class="note"><span class="good">${marks.good.sign}</span> no overhead seen: the whole interval is within the tolerance, or the guest is faster; <span class="bad">${marks.bad.sign}</span> overhead: the interval is above 0 and goes beyond the tolerance; <span class="open">${marks.open.sign}</span> not decided.${
      withInterval < 2
        ? undefined
        : html` Of ${withInterval} intervals about ${formatSignificant(expectedMisses, 2)} miss the truth by chance alone.`
    }</p>`,
    html`<details><summary>Every comparison, with rates and runs</summary>${comparisonTable(groups)}</details>`,
  ];
}

/** Series down, cores across: what can be seen at a glance. */
function overheadTable(groups: readonly MetricGroup[]): Html {
  const all = groups.flatMap(({ verdicts }) => verdicts.map(({ cell }) => cell.cores));
  const cores = [...new Set(all)].sort((a, b) => a - b);
  return table(
    'Overhead of guests against native on the same pages, with its 95 % interval, by number of cores.',
    [
      { title: 'Series', isSticky: true },
      ...cores.map((count) => ({ title: coresText(count), isNumber: true })),
    ],
    groups.map((group) => ({
      title: groupTitle(group),
      rows: bySeries(group.verdicts).map(([name, own]) =>
        own.some(isComparable)
          ? [
              name,
              ...cores.map((count): Content => {
                const one = own.find(({ cell }) => cell.cores === count);
                return one === undefined ? html`<span class="note">–</span>` : overheadCell(one);
              }),
            ]
          : [name, html`<span class="reason">${emulationWarning}</span>`],
      ),
    })),
  );
}

function overheadCell(one: CellVerdict): Html {
  const { verdict } = one.comparison;
  if (verdict.kind === 'no-ratio') {
    return html`<span class="open" title="${verdict.reason}">${marks.open.sign} not compared</span>`;
  }
  const mood = moodOf(one);
  const more =
    verdict.kind === 'not-decided'
      ? html`<br><span class="note">needs ${repeatsText(verdict)}</span>`
      : undefined;
  if (mood === undefined) return html`${overheadNumbers(one)}`;
  const { sign, word } = marks[mood];
  return html`<span class="${mood}"><span role="img" aria-label="${word}">${sign}</span> ${overheadNumbers(one)}</span>${more}`;
}

function comparisonTable(groups: readonly MetricGroup[]): Html {
  return table(
    'Native and guest are medians; runs are those that the comparison rests on.',
    [
      { title: 'Series' },
      { title: 'Cores', isNumber: true },
      { title: 'Native', isNumber: true },
      { title: 'Guest', isNumber: true },
      { title: 'Overhead [95 %]', isNumber: true },
      { title: 'Runs', isNumber: true },
      { title: 'Verdict' },
    ],
    groups.map((group) => ({ title: groupTitle(group), rows: group.verdicts.map(comparisonRow) })),
  );
}

function comparisonRow(one: CellVerdict): Content[] {
  const { cell, comparison } = one;
  const name = nameOfSeries(cell);
  if (!isComparable(one)) return [name, cell.cores, html`<span class="reason">${emulationWarning}</span>`];
  const { native, guest, n } = comparison;
  const median = (side: { median: number } | undefined) =>
    side === undefined ? '–' : formatSignificant(side.median, 4);
  return [name, cell.cores, median(native), median(guest), overheadNumbers(one), n, verdictCell(one)];
}

function verdictCell(one: CellVerdict): Html {
  const { verdict } = one.comparison;
  const flagged = one.flags.reduce((sum, { runs }) => sum + runs, 0);
  const note =
    flagged === 0
      ? undefined
      : html` <span class="note">(${flagged} flagged ${flagged === 1 ? 'run' : 'runs'})</span>`;
  const mood = moodOf(one);
  const text = {
    'none-seen': 'no overhead seen',
    faster: 'faster than native',
    overhead: 'overhead',
    told: 'told, not judged',
    'not-decided': verdict.kind === 'not-decided' ? `not decided: needs ${repeatsText(verdict)}` : '',
    'no-ratio': verdict.kind === 'no-ratio' ? `not compared: ${verdict.reason}` : '',
  }[verdict.kind];
  if (mood === undefined) return html`${text}${note}`;
  const width = verdict.kind === 'no-ratio' ? 'reason' : 'verdict';
  return html`<span class="${width} ${mood}">${marks[mood].sign} ${text}</span>${note}`;
}

/** Nothing for what is told and not judged. */
function moodOf({ comparison: { verdict } }: CellVerdict): Statement['mood'] | undefined {
  if (verdict.kind === 'told') return undefined;
  if (verdict.kind === 'overhead') return 'bad';
  return verdict.kind === 'none-seen' || verdict.kind === 'faster' ? 'good' : 'open';
}

function overheadNumbers({ comparison: { overhead, n } }: CellVerdict): string {
  if (overhead === undefined) return '–';
  if (n < 2) return formatPercent(overhead.estimate);
  return formatPercentInterval(overhead.estimate, overhead.low, overhead.high);
}

function groupTitle({ metric, verdicts }: MetricGroup): Html {
  const { title, unit } = metrics[metric];
  const tolerance = verdicts[0]?.comparison.tolerance;
  const limit = tolerance === undefined ? 'told, not judged' : `tolerance ${formatTolerance(tolerance)}`;
  return html`${title} (${unit}) <span class="note">${limit}</span>`;
}

function bySeries(verdicts: readonly CellVerdict[]): [string, CellVerdict[]][] {
  const rows = new Map<string, CellVerdict[]>();
  for (const one of verdicts) {
    const name = nameOfSeries(one.cell);
    rows.set(name, [...(rows.get(name) ?? []), one]);
  }
  return [...rows];
}

/** Two studies side by side as one file that needs nothing else. Pure. */

import { type Cell, nameOfSeries } from '../cells.ts';
import { type ComparedMetric, compareStudies, type StudyComparison, type StudyName } from '../compare.ts';
import { metrics, type Study } from '../samples.ts';
import { coresText } from './answer.ts';
import type { Chart, ChartSeries } from './chart.ts';
import { comparisonLine, outcomeText, ratioText } from './compare-terminal.ts';
import { type Content, type Html, html, table } from './html-elements.ts';
import { lineChart } from './line-chart.ts';
import type { SeriesStyle } from './look.ts';
import { formatSignificant } from './numbers.ts';
import { figure, renderPage } from './page.ts';
import { allCells, compareSeries, seriesOfStudy } from './series.ts';
import { figuresOfStudy, listFigures } from './study-figures.ts';
import { capitalised } from './text.ts';
import { emulationWarning, leftOutNotes, umlNote } from './warnings.ts';

/** @param comparison of these two studies; worked out when it is not given */
export function renderComparisonHtml(
  a: Study,
  b: Study,
  comparison: StudyComparison = compareStudies(a, b),
): string {
  const environments = new Set([...allCells(a), ...allCells(b)].map(({ environment }) => environment));
  const charts = chartsOfBoth(a, b);
  const sections: { id: string; title: string; content: Content }[] = [
    { id: 'ratios', title: 'Ratios', content: ratioSection(comparison) },
    { id: 'differences', title: 'What differs', content: differenceSection(comparison) },
    {
      id: 'figures',
      title: 'Figures',
      content:
        charts.length === 0
          ? undefined
          : html`<p class="about">One colour and shape for each series: A with whole lines and filled markers, B with dashed lines and hollow ones.</p>
<div class="figures">${charts.map((chart) => figure((drawing) => lineChart(chart, drawing)))}</div>`,
    },
    { id: 'one-only', title: 'In one study only', content: onlySection(comparison) },
  ];
  const isEmulated = environments.has('tcg');
  return renderPage({
    title: `${comparison.a.hostname} and ${comparison.b.hostname}, two studies side by side${isEmulated ? '. Some timings are emulated' : ''}`,
    kind: 'lodge study compare',
    lead: [
      isEmulated ? html`<p class="warning">${emulationWarning}</p>` : undefined,
      html`<ul class="answer">${sideItem('A', comparison.a, a)}${sideItem('B', comparison.b, b)}</ul>`,
      html`<p>${capitalised(comparisonLine(comparison))}.</p>`,
      leftOutNotes(a).map((note) => html`<p class="warning">A: ${note}.</p>`),
      leftOutNotes(b).map((note) => html`<p class="warning">B: ${note}.</p>`),
      environments.has('uml') ? html`<p class="note">${umlNote}</p>` : undefined,
    ],
    sections: sections.filter(({ content }) => content !== undefined),
  });
}

function sideItem(letter: string, { id, hostname, createdAt }: StudyName, { head }: Study): Html {
  return html`<li><span class="mark">${letter}</span><b>${hostname}</b>, ${head.host.cpuModel}, ${head.host.kernel}, ${createdAt.slice(0, 10)} <span class="note">${id}</span></li>`;
}

function ratioSection({ compared }: StudyComparison): Content {
  if (compared.length === 0) return html`<p>These studies have no cell in common.</p>`;
  const groups = [...new Set(compared.map(({ metric }) => metric))].map((metric) => ({
    title: html`${metrics[metric].title} (${metrics[metric].unit}) <span class="note">${metrics[metric].isRate ? 'more' : 'less'} is better</span>`,
    own: compared.filter((one) => one.metric === metric).sort((x, y) => compareSeries(x.cell, y.cell)),
  }));
  const cautions = [...new Set(compared.flatMap((one) => one.cautions))];
  const cores = [...new Set(compared.map(({ cell }) => cell.cores))].sort((x, y) => x - y);
  return [
    cautions.map((caution) => html`<p class="warning">${capitalised(caution)}.</p>`),
    table(
      'B divided by A, with its 95 % interval, by number of cores. The two sides are not paired.',
      [
        { title: 'Series', isSticky: true },
        ...cores.map((count) => ({ title: coresText(count), isNumber: true })),
      ],
      groups.map(({ title, own }) => ({
        title,
        rows: [...new Set(own.map(({ cell }) => nameOfSeries(cell)))].map((name) => [
          name,
          ...cores.map((count): Content => {
            const one = own.find(({ cell }) => nameOfSeries(cell) === name && cell.cores === count);
            return one === undefined ? html`<span class="note">–</span>` : ratioCell(one);
          }),
        ]),
      })),
    ),
    html`<p class="note"><span class="good">✓</span> B is better, <span class="bad">▲</span> B is worse: the interval is wholly on one side of 1. With many comparisons some are so by chance: of 100 about 5.</p>`,
    html`<details><summary>Every comparison, with medians and runs</summary>${table(
      'A and B are medians; runs are those of A and of B.',
      [
        { title: 'Series' },
        { title: 'Cores', isNumber: true },
        { title: 'A', isNumber: true },
        { title: 'B', isNumber: true },
        { title: 'B / A [95 %]', isNumber: true },
        { title: 'Runs', isNumber: true },
        { title: 'B is' },
      ],
      groups.map(({ title, own }) => ({ title, rows: own.map(ratioRow) })),
    )}</details>`,
  ];
}

const moods = { better: 'good', worse: 'bad', unclear: 'open' } as const;

function ratioCell(one: ComparedMetric): Html {
  const sign = { better: '✓', worse: '▲', unclear: '○' }[one.outcome];
  return html`<span class="${moods[one.outcome]}"><span role="img" aria-label="${one.outcome}">${sign}</span> ${ratioText(one)}</span>`;
}

function ratioRow(one: ComparedMetric): Content[] {
  const median = (value: number | undefined) => (value === undefined ? '–' : formatSignificant(value, 4));
  const mood = moods[one.outcome];
  const cautions = one.cautions.map((caution) => html`<br><span class="reason note">${caution}</span>`);
  return [
    nameOfSeries(one.cell),
    one.cell.cores,
    median(one.a.median),
    median(one.b.median),
    ratioText(one),
    `${one.a.runs}, ${one.b.runs}`,
    html`<span class="verdict ${mood}">${outcomeText({ ...one, cautions: [] })}</span>${cautions}`,
  ];
}

function differenceSection({ differences }: StudyComparison): Content {
  if (differences.length === 0) {
    return html`<p>Machines, versions, sizes and specs are the same in both.</p>`;
  }
  const value = (text: string | undefined) => html`<span class="reason">${text ?? '–'}</span>`;
  return table(
    'In machines, versions, sizes and specs.',
    [{ title: 'What' }, { title: 'A' }, { title: 'B' }],
    [
      {
        rows: differences.map(({ what, a, b }) => [
          html`<span class="reason">${what}</span>`,
          value(a),
          value(b),
        ]),
      },
    ],
  );
}

function onlySection({ onlyInA, onlyInB }: StudyComparison): Content {
  if (onlyInA.length + onlyInB.length === 0) return undefined;
  const rows = (letter: string, cells: readonly Cell[]) =>
    cells.map((cell) => [nameOfSeries(cell), cell.benchmark, coresText(cell.cores), letter]);
  return table(
    'Cells that only one of the studies has runs of.',
    [{ title: 'Series' }, { title: 'Benchmark' }, { title: 'Cores', isNumber: true }, { title: 'In' }],
    [{ rows: [...rows('A', onlyInA), ...rows('B', onlyInB)] }],
  );
}

/** The figures that either study has, with the series of both. */
function chartsOfBoth(a: Study, b: Study): Chart[] {
  const places = new Map<string, SeriesStyle>();
  // One style for each series of either; stylesOfSeries gives each place another colour and shape.
  const both: Study = { head: { ...a.head, cells: [...allCells(a), ...allCells(b)] }, samples: [] };
  for (const { name, style } of seriesOfStudy(both)) places.set(name, style);
  const order = [...places.keys()];
  const [ofA, ofB] = [listFigures(figuresOfStudy(a)), listFigures(figuresOfStudy(b))];
  const ids = [...new Set([...ofA, ...ofB].map(({ id }) => id))];
  return ids.map((id) => {
    const [one, other] = [ofA, ofB].map((charts) => charts.find((chart) => chart.id === id));
    const base = (one ?? other)!;
    return {
      ...base,
      warnings: distinct(one?.warnings, other?.warnings),
      notes: distinct(one?.notes, other?.notes),
      x: { ...base.x, ...mergedTicks(one, other) },
      series: [...lettered('A', one, places), ...lettered('B', other, places)].sort(
        (x, y) => order.indexOf(x.name.slice(2)) - order.indexOf(y.name.slice(2)),
      ),
    };
  });
}

function lettered(
  letter: 'A' | 'B',
  chart: Chart | undefined,
  styles: Map<string, SeriesStyle>,
): ChartSeries[] {
  return (chart?.series ?? []).map(({ name, style, points }) => {
    const { colour, shape } = styles.get(name) ?? style;
    const dashed = letter === 'A' ? {} : { dash: '6 3' };
    return {
      name: `${letter} ${name}`,
      points,
      style: { colour, shape, isFilled: letter === 'A', ...dashed },
    };
  });
}

function mergedTicks(one: Chart | undefined, other: Chart | undefined): { ticks?: readonly number[] } {
  const ticks = [...(one?.x.ticks ?? []), ...(other?.x.ticks ?? [])];
  return ticks.length === 0 ? {} : { ticks: [...new Set(ticks)].sort((x, y) => x - y) };
}

function distinct(one: readonly string[] = [], other: readonly string[] = []): string[] {
  return [...new Set([...one, ...other])];
}

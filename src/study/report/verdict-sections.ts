/** What a report says of overhead: the answer, the table of verdicts, small costs, others' figures. Pure. */

import { type Cell, keyOfCell, nameOfPages, nameOfSeries } from '../cells.ts';
import { type MetricName, metrics, type Study } from '../samples.ts';
import { type CellVerdict, metricsOf, valuesOf } from '../verdicts.ts';
import { answersOf, guestEnvironments, isComparable, reasonsForNoGuest, type Statement } from './answer.ts';
import { type Findings, isMainMetric } from './findings.ts';
import { type Content, html, table } from './html-elements.ts';
import { formatPercent, formatSignificant } from './numbers.ts';
import { summariseCell, summaryTexts } from './point-summary.ts';
import { published } from './published.ts';
import { allCells } from './series.ts';
import { emulationWarning, hostNote, umlNote } from './warnings.ts';

export const marks: Record<Statement['mood'], { sign: string; word: string }> = {
  good: { sign: '✓', word: 'Good' },
  bad: { sign: '▲', word: 'Overhead' },
  open: { sign: '○', word: 'Open' },
};

/** First of all: what was found, in sentences. */
export function answerSection({ study, verdicts }: Findings): Content {
  const environments = guestEnvironments(study);
  const answers = answersOf(verdicts);
  const ofHost = hostNote(study.head.host);
  const reasons = reasonsForNoGuest(study);
  return [
    environments.includes('tcg') ? html`<p class="warning">${emulationWarning}</p>` : undefined,
    environments.length > 0
      ? undefined
      : html`<p class="warning">This study has no guest: it says how fast this machine is, and nothing about what a guest costs.</p>
${reasons.length === 0 ? undefined : html`<p class="note">Why there is none: ${reasons.join('; ')}.</p>`}`,
    answers.length === 0
      ? undefined
      : html`<p class="about">On this machine:</p><ul class="answer">${answers.map(
          ({ subject, text, mood }) =>
            html`<li><span class="mark ${mood}" role="img" aria-label="${marks[mood].word}">${marks[mood].sign}</span><b>${subject}:</b> ${text}.</li>\n`,
        )}</ul>`,
    environments.includes('uml') ? html`<p class="note">${umlNote}</p>` : undefined,
    ofHost === undefined ? undefined : html`<p class="note">${ofHost}</p>`,
    answers.length === 0
      ? undefined
      : html`<p class="note">Overhead is how much more time the same work takes in the guest than natively on the same pages; the interval in brackets holds the truth with 95 % confidence.</p>`,
  ];
}

/** System calls, page faults, noise and boot: one row for each cell that has any of them, native ones too. */
export function costSection(findings: Findings): Content {
  const { study, verdicts, series } = findings;
  const small = (Object.keys(metrics) as MetricName[]).filter((metric) => !isMainMetric(metric));
  const cells = new Map<string, { name: string; cores: number; cells: Cell[] }>();
  for (const cell of allCells(study)) {
    if (!metricsOf(cell).some((metric) => small.includes(metric))) continue;
    const name = nameOfSeries(cell);
    const row = cells.get(`${name} ${cell.cores}`) ?? { name, cores: cell.cores, cells: [] };
    if (!row.cells.some((other) => keyOfCell(other) === keyOfCell(cell))) row.cells.push(cell);
    cells.set(`${name} ${cell.cores}`, row);
  }
  if (cells.size === 0) return undefined;
  const place = new Map(series.map(({ name }, i) => [name, i]));
  const rows = [...cells.values()].sort(
    (a, b) => (place.get(a.name) ?? 0) - (place.get(b.name) ?? 0) || a.cores - b.cores,
  );
  const shown = small.filter((metric) =>
    rows.some((row) => row.cells.some(({ benchmark }) => benchmark === metrics[metric].benchmark)),
  );
  const valueCell = (row: (typeof rows)[number], metric: MetricName): Content => {
    const cell = row.cells.find(({ benchmark }) => benchmark === metrics[metric].benchmark);
    const values = cell === undefined ? [] : valuesOf(study, cell, metric).filter(Number.isFinite);
    if (cell === undefined || values.length === 0) return '–';
    const verdict = verdicts.find((one) => one.metric === metric && keyOfCell(one.cell) === keyOfCell(cell));
    const ratio = verdict !== undefined && isComparable(verdict) ? verdict.comparison.ratio : undefined;
    const { middle, interval } = summaryTexts(summariseCell(study, cell, metric, values));
    const under = [
      interval,
      ratio === undefined ? undefined : `×\u202F${formatSignificant(ratio.estimate, 3)}`,
    ];
    return html`${middle}${under.map((text) => text && html`<br><span class="note">${text}</span>`)}`;
  };
  return [
    guestEnvironments(study).includes('tcg') ? html`<p class="warning">${emulationWarning}</p>` : undefined,
    guestEnvironments(study).includes('uml') ? html`<p class="note">${umlNote}</p>` : undefined,
    table(
      'Middle of the runs, under it its 95 % interval, and how many times as much as native. Told, not judged.',
      [
        { title: 'Series' },
        { title: 'Cores', isNumber: true },
        ...shown.map((metric) => ({
          title: `${metrics[metric].title} (${metrics[metric].unit})`,
          isNumber: true,
        })),
      ],
      [{ rows: rows.map((row) => [row.name, row.cores, ...shown.map((metric) => valueCell(row, metric))]) }],
    ),
  ];
}

/** Others' figures, with those of this study beside them. */
export function publishedSection({ study, verdicts }: Findings): Content {
  return [
    html`<p class="about">Other machines, other years and often other hypervisors: these figures say what to expect, not what must come out.</p>`,
    table(
      'Published figures, and the range over all cells of this study that can be laid beside them.',
      [{ title: 'Source' }, { title: 'What was measured' }, { title: 'Published' }, { title: 'Here' }],
      [
        {
          rows: published.map(({ source, read, subject, figure, here }) => [
            html`<span class="reason">${source}${read === 'abstract' ? html` <span class="note">(abstract)</span>` : undefined}</span>`,
            html`<span class="reason">${subject}</span>`,
            html`<span class="reason">${figure}</span>`,
            here === undefined ? '–' : html`<span class="brief">${hereText(study, verdicts, here)}</span>`,
          ]),
        },
      ],
    ),
  ];
}

function hereText(
  study: Study,
  verdicts: readonly CellVerdict[],
  here: { metrics: readonly MetricName[]; pages?: string },
): string {
  const texts = (['kvm', 'uml'] as const).flatMap((environment) => {
    const isOfThese = (cell: Cell): boolean =>
      cell.environment === environment &&
      (here.pages === undefined || nameOfPages(cell.pages) === here.pages);
    const overheads = verdicts
      .filter(({ metric, cell }) => here.metrics.includes(metric) && isOfThese(cell))
      .flatMap(({ comparison: { overhead } }) => (overhead === undefined ? [] : [overhead.estimate]));
    if (overheads.length > 0) {
      const [low, high] = [Math.min(...overheads), Math.max(...overheads)].map((value) =>
        formatPercent(value),
      );
      return [`${environment}: ${low === high ? low : `${low} to ${high}`} of time`];
    }
    const values = allCells(study)
      .filter((cell) => isOfThese(cell) && here.metrics.length === 1)
      .flatMap((cell) => valuesOf(study, cell, here.metrics[0]!));
    if (values.length === 0) return [];
    const { unit } = metrics[here.metrics[0]!];
    return [
      `${environment}: ${formatSignificant(Math.min(...values))} to ${formatSignificant(Math.max(...values))} ${unit}`,
    ];
  });
  return texts.length === 0 ? 'not measured' : texts.join('; ');
}

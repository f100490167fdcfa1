/** The page-walk model beside what RandomAccess measured. Pure. */

import { keyOfCell, nameOfSeries } from '../cells.ts';
import { valuesOf } from '../verdicts.ts';
import {
  levelsOf,
  type MeasuredSeries,
  type OrderCheck,
  predictedOrder,
  referencesPerWalk,
} from '../walk-cost.ts';
import { walkOrdersOf } from '../walk-order.ts';
import { coresText } from './answer.ts';
import type { Findings } from './findings.ts';
import { type Content, type Html, html, table } from './html-elements.ts';
import { formatPercent, formatSignificant } from './numbers.ts';
import { summarise } from './point-summary.ts';

export interface WalkSection {
  explanation: Html;
  measured: Content;
}

/** Nothing when RandomAccess was not part of the study. */
export function walkSection({ study, series }: Findings): WalkSection | undefined {
  const cells = study.head.cells.filter(({ benchmark }) => benchmark === 'hpcc');
  if (cells.length === 0) return undefined;
  const rates = new Map<string, MeasuredSeries>();
  for (const cell of cells) {
    const values = valuesOf(study, cell, 'randomaccess-gups').filter(
      (value) => Number.isFinite(value) && value > 0,
    );
    if (values.length === 0) continue;
    const {
      middle,
      low = middle,
      high = middle,
    } = summarise(values, study.head.seed, `walk ${keyOfCell(cell)}`);
    rates.set(`${nameOfSeries(cell)} ${cell.cores}`, { series: cell, rate: { estimate: middle, low, high } });
  }
  const own = series.filter(({ name }) => cells.some((cell) => nameOfSeries(cell) === name));
  const cores = [...new Set(cells.map((cell) => cell.cores))].sort((a, b) => a - b);
  const predicted = predictedOrder(own.map((one) => one.series));
  const rankOf = new Map(predicted.map(({ series: one, rank }) => [nameOfSeries(one), rank]));
  const order = [...own].sort((a, b) => (rankOf.get(a.name) ?? 99) - (rankOf.get(b.name) ?? 99));
  const measuredAt = (count: number) =>
    order.flatMap(({ name }) => (rankOf.has(name) ? (rates.get(`${name} ${count}`) ?? []) : []));
  // Pinned and unpinned runs differ in more than their page walks: those of one placement are compared.
  const orders = walkOrdersOf(study);
  const rows = order.map(({ name, series: one }) => {
    const { references } = referencesPerWalk(one.pages, one.environment);
    return [
      name,
      references ?? '–',
      rankOf.get(name) ?? '–',
      ...cores.map((count): Content => {
        const rate = rates.get(`${name} ${count}`);
        if (rate === undefined) return '–';
        const place =
          measuredAt(count).filter((other) => other.rate.estimate > rate.rate.estimate).length + 1;
        return html`${formatSignificant(rate.rate.estimate, 3)}${rankOf.has(name) ? html` <span class="rank">${place}</span>` : undefined}`;
      }),
    ];
  });
  const notes = new Set(
    own.flatMap(({ series: one }) => referencesPerWalk(one.pages, one.environment).note ?? []),
  );
  const explanation = html`<p>A miss of the translation buffer costs as many references to memory as the page tables have levels: ${levelsOf['4K']} for 4K pages, ${levelsOf['2M']} for 2M. With nested paging every reference of the guest’s <i>n</i> levels must itself go through the host’s <i>m</i>, which makes (n + 1)(m + 1) − 1. MPIRandomAccess misses nearly every time, so the model expects its rates in the order of these counts. It knows neither how many misses there are nor which references the caches answer.</p>`;
  const measured = [
    table(
      'References for one translation, the order predicted from them, and MPIRandomAccess as measured in GUP/s, with its place in the measured order.',
      [
        { title: 'Series' },
        { title: 'References', isNumber: true },
        { title: 'Predicted place', isNumber: true },
        ...cores.map((count) => ({ title: coresText(count), isNumber: true })),
      ],
      [{ rows }],
    ),
    orderText(orders.filter(({ placement }) => placement === orders[0]?.placement)),
    [...notes].map((note) => html`<p class="note">${note}</p>`),
  ];
  return { explanation, measured };
}

/** How far the measured order is the predicted one, and each departure with its lead by number of cores. */
function orderText(checks: readonly { cores: number; check: OrderCheck }[]): Content {
  const told = checks.filter(({ check }) => check.pairs > 0);
  if (told.length === 0) return undefined;
  const leads = new Map<string, string[]>();
  for (const { cores, check } of told) {
    for (const { faster, slower, lead, fasterReferences, slowerReferences } of check.departures) {
      const pair = `${nameOfSeries(faster.series)} (${fasterReferences} references) was faster than ${nameOfSeries(slower.series)} (${slowerReferences})`;
      const by = `${formatPercent(lead).replace('+', '')} on ${coresText(cores)}`;
      leads.set(pair, [...(leads.get(pair) ?? []), by]);
    }
  }
  return [
    table(
      'Pairs of series: how many came in the predicted order, beyond their intervals.',
      [{ title: 'Pairs' }, ...told.map(({ cores }) => ({ title: coresText(cores), isNumber: true }))],
      [
        {
          rows: [
            ['In the predicted order', ...told.map(({ check }) => check.confirmed)],
            ['Cannot be told apart', ...told.map(({ check }) => check.overlapping)],
            ['The other way round', ...told.map(({ check }) => check.departures.length)],
          ],
        },
      ],
    ),
    leads.size === 0
      ? undefined
      : html`<p>Where the measurement departs from the model:</p><ul class="plain">${[...leads].map(
          ([pair, by]) => html`<li>${pair}: by ${by.join(', ')}.</li>\n`,
        )}</ul>`,
  ];
}

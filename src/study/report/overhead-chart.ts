/** What guests cost, one row for each comparison: a point with its interval around 0, the tolerance behind it. Pure. */

import type { Drawing } from './chart.ts';
import { footnotes, heading, labelSizePx, paddingPx, paintOf, svgRoot } from './frame.ts';
import { marker, type Paint, type SeriesStyle } from './look.ts';
import { formatPercent, formatPercentInterval, formatTolerance } from './numbers.ts';
import { makeScale, type Scale } from './scales.ts';
import { element, textElement } from './svg.ts';
import { fitText, textWidthPx } from './text.ts';

export interface OverheadChart {
  id: string;
  title: string;
  subtitle?: string;
  warnings: readonly string[];
  notes: readonly string[];
  groups: readonly OverheadGroup[];
}

/** The comparisons of one metric. */
export interface OverheadGroup {
  /** None where the chart's own title says it all. */
  title?: string;
  /** The largest overhead that counts as none, as a fraction. */
  tolerance?: number;
  rows: readonly OverheadRow[];
}

export interface OverheadRow {
  /** Written once for rows that follow each other with the same one. */
  label: string;
  /** What tells such rows apart: `8 cores`. */
  detail: string;
  style: SeriesStyle;
  /** Fractions; positive when the guest is slower. */
  estimate: number;
  low: number;
  high: number;
}

const rowPx = 16;
const groupPx = 30;
const detailSizePx = 11;
/** Between rows of different labels. */
const gapPx = 5;
/** Beyond this the axis ends, and what lies farther out is an arrow with its number: 1 % must stay visible. */
const widestFraction = 0.25;

/** The chart as SVG, as high as it has rows. Rows that are not numbers are left out. */
export function overheadChart(chart: OverheadChart, drawing: Drawing): string {
  const paint = paintOf(drawing);
  const groups = chart.groups
    .map((group) => ({ ...group, rows: group.rows.filter(isDrawable) }))
    .filter(({ rows }) => rows.length > 0);
  const head = heading(chart, drawing, paddingPx - 6);
  const topPx = paddingPx - 6 + head.heightPx + 12;
  const label = [chart.title, ...chart.warnings].join('. ');
  if (groups.length === 0) {
    const nothing = textElement('Too little was measured to draw an interval', {
      x: paddingPx,
      y: topPx + 24,
      fill: paint('muted'),
      sizePx: 13,
    });
    const notes = footnotes(chart.notes, drawing, topPx + 40);
    return svgRoot(head.svg + nothing + notes.svg, topPx + 50 + notes.heightPx, label, drawing);
  }

  const rows = groups.flatMap((group) => group.rows);
  const widest = (texts: readonly string[], sizePx: number) =>
    Math.max(...texts.map((text) => textWidthPx(text, sizePx)));
  const labelsPx =
    Math.min(
      drawing.widthPx * 0.32,
      widest(
        rows.map(({ label: text }) => text),
        labelSizePx,
      ),
    ) + 8;
  const detailsPx =
    widest(
      rows.map(({ detail }) => detail),
      detailSizePx,
    ) + 8;
  const numbersPx = drawing.widthPx >= 560 ? widest(rows.map(numbersOf), detailSizePx) + 8 : 0;
  const leftPx = paddingPx + labelsPx + detailsPx;
  const rightPx = drawing.widthPx - paddingPx - numbersPx;
  const x = overheadScale(groups, leftPx, rightPx);
  const place = {
    x,
    labelsPx,
    detailRightPx: leftPx,
    ...(numbersPx > 0 ? { numbersRightPx: drawing.widthPx - paddingPx } : {}),
    paint,
  };

  let y = topPx;
  let behind = '';
  let content = '';
  for (const group of groups) {
    if (group.title !== undefined) {
      const tolerance =
        group.tolerance === undefined ? '' : `, tolerance ${formatTolerance(group.tolerance)}`;
      const titlePlace = { x: paddingPx, y: y + 20, fill: paint('ink'), sizePx: 12.5, bold: true };
      const title = fitText(`${group.title}${tolerance}`, 14.5, drawing.widthPx - 2 * paddingPx);
      content += textElement(title, titlePlace);
      y += groupPx;
    }
    const firstPx = y;
    let before: string | undefined;
    for (const row of group.rows) {
      if (before !== undefined && before !== row.label) y += gapPx;
      content += drawRow(row, row.label !== before, y + rowPx / 2, place);
      before = row.label;
      y += rowPx;
    }
    if (group.tolerance !== undefined) {
      const [from, to] = [-group.tolerance, group.tolerance].map((value) => clamped(x, value));
      const size = { width: to! - from!, height: y - firstPx };
      behind += element('rect', { x: from!, y: firstPx, ...size, fill: paint('band') });
    }
    behind += gridLines(x, firstPx, y, paint);
  }
  const bottomPx = y + 4;
  const notes = footnotes(chart.notes, drawing, bottomPx + 42);
  const svg = head.svg + behind + axis(x, bottomPx, paint) + content + notes.svg;
  return svgRoot(svg, bottomPx + 42 + notes.heightPx + 10, label, drawing);
}

function isDrawable({ estimate, low, high }: OverheadRow): boolean {
  return [estimate, low, high].every(Number.isFinite);
}

function numbersOf({ estimate, low, high }: OverheadRow): string {
  return formatPercentInterval(estimate, low, high);
}

/** All intervals and tolerances, as far as {@link widestFraction}; farther only when nothing is nearer. */
function overheadScale(groups: readonly OverheadGroup[], leftPx: number, rightPx: number): Scale {
  const rows = groups.flatMap((group) => group.rows);
  const nearest = Math.min(...rows.map(({ estimate }) => Math.abs(estimate)));
  const most = Math.max(widestFraction, nearest * 1.2);
  const tolerances = groups.flatMap(({ tolerance }) =>
    tolerance === undefined ? [] : [-tolerance, tolerance],
  );
  const values = [...rows.flatMap(({ low, high }) => [low, high]), ...tolerances.map((value) => value * 1.5)];
  return makeScale({
    kind: 'linear',
    values: values.map((value) => Math.max(-most, Math.min(most, value))),
    rangePx: [leftPx + 10, rightPx - 14],
    tickCount: Math.max(3, Math.round((rightPx - leftPx) / 75)),
    format: (value) => formatPercent(value).replace(/\.0(?=\D)/, ''),
  });
}

function clamped({ at, domain }: Scale, value: number): number {
  return at(Math.max(domain[0], Math.min(domain[1], value)));
}

interface RowPlace {
  x: Scale;
  labelsPx: number;
  detailRightPx: number;
  numbersRightPx?: number;
  paint: Paint;
}

function drawRow(row: OverheadRow, isFirst: boolean, y: number, place: RowPlace): string {
  const { x, labelsPx, detailRightPx, numbersRightPx, paint } = place;
  const stroke = paint(row.style.colour);
  const small = { y: y + 4, sizePx: detailSizePx, fill: paint('muted'), anchor: 'end' as const };
  const [from, to] = [clamped(x, row.low), clamped(x, row.high)];
  const isBeyond = row.estimate < x.domain[0] || row.estimate > x.domain[1];
  const label = { x: paddingPx, y: y + 4, fill: paint('ink'), sizePx: labelSizePx };
  return [
    isFirst ? textElement(fitText(row.label, labelSizePx, labelsPx - 4), label) : '',
    textElement(row.detail, { x: detailRightPx, ...small }),
    element('path', { d: `M${r(from)} ${r(y)}H${r(to)}`, stroke, 'stroke-width': 1.7, fill: 'none' }),
    row.low < x.domain[0] ? arrow(x.at(x.domain[0]), y, -1, stroke) : cap(from, y, stroke),
    row.high > x.domain[1] ? arrow(x.at(x.domain[1]), y, 1, stroke) : cap(to, y, stroke),
    isBeyond ? '' : marker(x.at(row.estimate), y, row.style, 3.6, paint),
    numbersRightPx === undefined ? '' : textElement(numbersOf(row), { x: numbersRightPx, ...small }),
  ].join('');
}

function cap(x: number, y: number, stroke: string): string {
  return element('path', {
    d: `M${r(x)} ${r(y - 3.5)}V${r(y + 3.5)}`,
    stroke,
    'stroke-width': 1.4,
    fill: 'none',
  });
}

/** The interval goes on where the axis has ended. */
function arrow(x: number, y: number, direction: 1 | -1, fill: string): string {
  const tip = r(x + 8 * direction);
  return element('path', { d: `M${tip} ${r(y)}L${r(x)} ${r(y - 4.5)}V${r(y + 4.5)}Z`, fill });
}

/** Lines behind the rows of one group; titles between groups stay clear of them. */
function gridLines(x: Scale, topPx: number, bottomPx: number, paint: Paint): string {
  return x.ticks
    .map(({ value }) =>
      element('path', {
        d: `M${r(x.at(value))} ${topPx}V${bottomPx}`,
        stroke: paint(value === 0 ? 'axis' : 'grid'),
        'stroke-width': value === 0 ? 1.5 : 1,
      }),
    )
    .join('');
}

function axis(x: Scale, bottomPx: number, paint: Paint): string {
  const ticks = x.ticks.map(({ value, label }) =>
    textElement(label, {
      x: x.at(value),
      y: bottomPx + 16,
      fill: paint('muted'),
      sizePx: labelSizePx,
      anchor: 'middle',
    }),
  );
  const [from, to] = [x.at(x.domain[0]), x.at(x.domain[1])];
  const title = 'Overhead: how much more time the same work takes in the guest';
  const fitted = textWidthPx(title, labelSizePx) <= to - from ? title : 'Overhead (more time in the guest)';
  const place = { y: bottomPx + 35, fill: paint('ink'), sizePx: labelSizePx };
  return ticks.join('') + textElement(fitted, { ...place, x: to + 8, anchor: 'end' });
}

function r(value: number): number {
  return Math.round(value * 100) / 100;
}

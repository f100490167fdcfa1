/** One series in a chart: every run as a dot, the line, and its points with their intervals. Pure. */

import type { ChartSeries } from './chart.ts';
import { marker, type Paint } from './look.ts';
import type { Scale } from './scales.ts';
import { element, pathThrough } from './svg.ts';

export interface SeriesPlace {
  x: Scale;
  y: Scale;
  /** How far the series stands from the true x. */
  offsetPx: number;
  paint: Paint;
  /** Which of `count` series this is. */
  place: number;
  count: number;
}

/** What lies under and over other series: all runs under all lines, all lines under all points. */
export interface SeriesLayers {
  runs: string;
  line: string;
  marks: string;
}

/** With more points than this, marks are small. */
const denseFrom = 10;

export function drawSeries({ style, points }: ChartSeries, where: SeriesPlace): SeriesLayers {
  const { x, y, offsetPx, paint, place, count } = where;
  const stroke = paint(style.colour);
  const isDense = points.length > denseFrom;
  const placed = points.map((point) => ({ point, x: x.at(point.x) + offsetPx, y: y.at(point.y) }));
  const runs = placed.flatMap((at) =>
    at.point.raw.map((value) =>
      element('circle', {
        // Beside the point, which would hide them.
        cx: at.x - (isDense ? 0 : 4.5),
        cy: y.at(value),
        r: isDense ? 1.2 : 1.4,
      }),
    ),
  );
  const line = element('path', {
    d: pathThrough(placed),
    fill: 'none',
    stroke,
    // Set side by side, steep lines drift apart though their points do not: then the points are to be looked at.
    'stroke-width': isDense ? 1.5 : 1.2,
    'stroke-dasharray': style.dash,
    'stroke-opacity': isDense ? '0.9' : '0.55',
  });
  // Many series with many points, one on the other: each has a marker at its own points only, so all are seen.
  const every = isDense ? Math.min(count, Math.floor(points.length / 3)) : 1;
  const marks = placed.map(({ point: { low, high }, ...at }, i) => {
    const interval =
      low === undefined || high === undefined ? '' : whisker(at.x, low, high, y, isDense, stroke);
    return (
      interval + (i % every === place % every ? marker(at.x, at.y, style, isDense ? 3 : 3.8, paint) : '')
    );
  });
  return {
    runs: element('g', { fill: stroke, 'fill-opacity': '0.4' }, ...runs),
    line: points.length > 1 ? line : '',
    marks: element('g', { stroke, 'stroke-width': isDense ? 1 : 1.4 }, ...marks),
  };
}

/**
 * A bar from the low to the high end of an interval, with a cap on both, or an arrow where it goes on beyond the axis;
 * nothing when an end has no place.
 */
function whisker(x: number, low: number, high: number, y: Scale, isDense: boolean, fill: string): string {
  const [, most] = y.domain;
  const isCut = high > most;
  const [fromPx, toPx] = [y.at(Math.min(low, most)), y.at(Math.min(high, most))];
  if (![x, fromPx, toPx].every(Number.isFinite)) return '';
  const round = (value: number) => Math.round(value * 100) / 100;
  const capPx = isDense ? 2 : 3.5;
  const [left, middle, right, from, to] = [x - capPx, x, x + capPx, fromPx, toPx].map(round);
  const end = isCut ? '' : `M${left} ${to}H${right}`;
  const bar = element('path', { d: `M${left} ${from}H${right}${end}M${middle} ${from}V${to}`, fill: 'none' });
  const tip = element('path', {
    d: `M${middle} ${round(toPx - 6)}L${left} ${to}H${right}Z`,
    fill,
    stroke: 'none',
  });
  return isCut ? bar + tip : bar;
}

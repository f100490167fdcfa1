/** A chart with lines, points, intervals and every single run. Pure. */

import { axisValues, type Chart, type ChartSeries, type Drawing } from './chart.ts';
import { footnotes, heading, labelSizePx, paddingPx, paintOf, svgRoot } from './frame.ts';
import { endLabelsWidthPx, legend, placeEndLabels } from './legend.ts';
import { marker, type Paint } from './look.ts';
import { makeScale, type Scale, type Tick } from './scales.ts';
import { drawSeries } from './series-marks.ts';
import { element, textElement } from './svg.ts';
import { fitText, textWidthPx } from './text.ts';

/** The chart as SVG. Points and runs that are not numbers (or not positive on a logarithmic axis) are left out. */
export function lineChart(chart: Chart, drawing: Drawing): string {
  const paint = paintOf(drawing);
  const series = chart.series.map((one) => usable(one, chart)).filter(({ points }) => points.length > 0);
  const head = heading(chart, drawing, paddingPx - 6);
  const withLegend = drawing.legend !== false && series.length > 0;
  let topPx = paddingPx - 6 + head.heightPx + 10;

  // The names stand beside the lines when there is room for them; else a legend is put over the plot.
  let area = plotArea(chart, series, drawing, withLegend ? endLabelsWidthPx(series) : 0);
  let scales = scalesOf(chart, series, area, 0, drawing.plotHeightPx);
  const endsPx = series.map(({ points }) => scales.y.at(points.at(-1)!.y));
  const isRoomy = withLegend && area.widthPx >= 340 && series.every((one) => endsAtTheRight(one, series));
  const places = isRoomy ? placeEndLabels(endsPx, 0, drawing.plotHeightPx) : undefined;
  let legendSvg = '';
  if (places === undefined) {
    area = plotArea(chart, series, drawing, 0);
    if (withLegend) {
      const block = legend(series, drawing.widthPx, topPx, paint);
      legendSvg = block.svg;
      topPx += block.heightPx + 6;
    }
  }
  const plotTopPx = topPx + 28;
  const plotBottomPx = plotTopPx + drawing.plotHeightPx;
  scales = scalesOf(chart, series, area, plotTopPx, plotBottomPx);

  const offsets = offsetsPx(series, chart, scales.x, area);
  const layers = series.map((one, i) =>
    drawSeries(one, { ...scales, offsetPx: offsets[i]!, paint, place: i, count: series.length }),
  );
  const noRuns =
    series.length > 0
      ? ''
      : textElement('No usable runs', {
          x: area.leftPx + area.widthPx / 2,
          y: (plotTopPx + plotBottomPx) / 2,
          fill: paint('muted'),
          sizePx: 13,
          anchor: 'middle',
        });
  const names = (places ?? []).map((place, i) => {
    const { name, style } = series[i]!;
    const at = { x: area.leftPx + area.widthPx + 12, y: plotTopPx + place };
    const text = { x: at.x + 9, y: at.y + 4, fill: paint('ink'), sizePx: labelSizePx };
    return marker(at.x, at.y, style, 3.4, paint) + textElement(name, text);
  });
  const isCut = series.some(({ points }) =>
    points.some(({ high }) => high !== undefined && high > scales.y.domain[1]),
  );
  const aboutArrows = isCut ? ['An arrow: the interval goes on beyond the axis.'] : [];
  const notes = footnotes([...chart.notes, ...aboutArrows], drawing, plotBottomPx + 44);
  return svgRoot(
    [
      head.svg,
      legendSvg,
      axes(chart, scales, area, plotTopPx, plotBottomPx, paint),
      ...layers.map(({ runs }) => runs),
      ...layers.map(({ line }) => line),
      ...layers.map(({ marks }) => marks),
      noRuns,
      ...names,
      notes.svg,
    ].join(''),
    plotBottomPx + 44 + notes.heightPx + 10,
    [chart.title, ...chart.warnings].join('. '),
    drawing,
  );
}

interface Area {
  leftPx: number;
  widthPx: number;
}

interface Scales {
  x: Scale;
  y: Scale;
}

function usable(series: ChartSeries, { x, y }: Chart): ChartSeries {
  const fits = (value: number, kind: 'linear' | 'log') =>
    Number.isFinite(value) && (kind === 'linear' || value > 0);
  const points = series.points
    .filter((point) => fits(point.x, x.kind) && fits(point.y, y.kind))
    .map((point) => ({ ...point, raw: point.raw.filter((value) => fits(value, y.kind)) }))
    .sort((a, b) => a.x - b.x);
  return { ...series, points };
}

function plotArea(chart: Chart, series: readonly ChartSeries[], drawing: Drawing, rightPx: number): Area {
  // The labels' width is needed before the scale that makes them can be; its place does not change them.
  const { y } = scalesOf(chart, series, { leftPx: 0, widthPx: 100 }, 0, drawing.plotHeightPx);
  const leftPx = paddingPx + Math.max(20, ...y.ticks.map(({ label }) => textWidthPx(label, labelSizePx))) + 8;
  return { leftPx, widthPx: drawing.widthPx - leftPx - paddingPx - rightPx };
}

function scalesOf(
  chart: Chart,
  series: readonly ChartSeries[],
  area: Area,
  topPx: number,
  bottomPx: number,
): Scales {
  const points = series.flatMap((one) => one.points);
  // Side by side, the outer points need half a step of room on both sides.
  const xs = [...new Set([...points.map(({ x }) => x), ...(chart.x.ticks ?? [])])].sort((a, b) => a - b);
  const insetPx = chart.isSideBySide ? area.widthPx / (2 * Math.max(1, xs.length)) : 8;
  return {
    x: makeScale({
      kind: chart.x.kind,
      values: xs,
      rangePx: [area.leftPx + insetPx, area.leftPx + area.widthPx - insetPx],
      tickCount: Math.max(2, Math.round(area.widthPx / 80)),
      fromZero: false,
      ...optional(chart.x),
    }),
    y: makeScale({
      kind: chart.y.kind,
      values: [...axisValues(series, chart.y), ...(chart.y.reach ?? [])],
      rangePx: [bottomPx, topPx],
      tickCount: Math.max(3, Math.round((bottomPx - topPx) / 55)),
      ...optional(chart.y),
    }),
  };
}

function optional({ ticks, format }: Chart['x']): {
  ticks?: readonly number[];
  format?: (value: number) => string;
} {
  return { ...(ticks === undefined ? {} : { ticks }), ...(format === undefined ? {} : { format }) };
}

function endsAtTheRight({ points }: ChartSeries, series: readonly ChartSeries[]): boolean {
  return points.at(-1)!.x === Math.max(...series.map((one) => one.points.at(-1)!.x));
}

/** How far each series stands from the true x, so that equal results do not hide one another. */
function offsetsPx(series: readonly ChartSeries[], chart: Chart, x: Scale, { widthPx }: Area): number[] {
  if (!chart.isSideBySide) return series.map(() => 0);
  const places = [...new Set(series.flatMap(({ points }) => points.map((point) => x.at(point.x))))].sort(
    (a, b) => a - b,
  );
  const gaps = places.slice(1).map((place, i) => place - places[i]!);
  // Where lines join the points they must stay near the true place, or equal lines would look like unequal ones.
  const mostPx = places.length > 1 ? 9 : 40;
  const stepPx = Math.min(mostPx, (0.7 * Math.min(widthPx, ...gaps)) / series.length);
  return series.map((_, i) => (i - (series.length - 1) / 2) * stepPx);
}

function axes(
  { x, y }: Chart,
  scales: Scales,
  { leftPx, widthPx }: Area,
  topPx: number,
  bottomPx: number,
  paint: Paint,
): string {
  const muted = { fill: paint('muted'), sizePx: labelSizePx };
  const rightPx = leftPx + widthPx;
  const rows = scales.y.ticks.map(({ value, label }) => {
    const at = scales.y.at(value);
    return (
      element('path', {
        d: `M${leftPx} ${Math.round(at) + 0.5}H${rightPx}`,
        stroke: paint('grid'),
        'stroke-width': 1,
      }) + textElement(label, { x: leftPx - 8, y: at + 4, anchor: 'end', ...muted })
    );
  });
  const columns = spaced(scales.x).map(({ value, label }) => {
    const at = scales.x.at(value);
    return (
      element('path', { d: `M${at} ${bottomPx}v5`, stroke: paint('axis'), 'stroke-width': 1 }) +
      textElement(label, { x: at, y: bottomPx + 19, anchor: 'middle', ...muted })
    );
  });
  return [
    textElement(fitText(y.title, labelSizePx, rightPx - paddingPx), {
      x: paddingPx,
      y: topPx - 15,
      ...muted,
      fill: paint('ink'),
    }),
    ...rows,
    element('path', {
      d: `M${leftPx} ${bottomPx + 0.5}H${rightPx}`,
      stroke: paint('axis'),
      'stroke-width': 1,
    }),
    ...columns,
    textElement(fitText(x.title, labelSizePx, widthPx), {
      x: leftPx + widthPx / 2,
      y: bottomPx + 38,
      anchor: 'middle',
      ...muted,
      fill: paint('ink'),
    }),
  ].join('');
}

/** Every tick, or every second, third, … so that no label touches the next. */
function spaced(scale: Scale): Tick[] {
  for (let stride = 1; ; stride++) {
    const kept = scale.ticks.filter((_, i) => i % stride === 0);
    const isApart = kept.every(({ value, label }, i) => {
      const before = kept[i - 1];
      if (before === undefined) return true;
      const needPx = (textWidthPx(before.label, labelSizePx) + textWidthPx(label, labelSizePx)) / 2 + 8;
      return scale.at(value) - scale.at(before.value) >= needPx;
    });
    if (isApart || kept.length <= 1) return kept;
  }
}

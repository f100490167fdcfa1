/** Telling which line is which: a legend over the plot, or names at the ends of the lines. Pure. */

import type { ChartSeries } from './chart.ts';
import { type Block, labelSizePx, paddingPx } from './frame.ts';
import { marker, type Paint } from './look.ts';
import { element, textElement } from './svg.ts';
import { fitText, textWidthPx } from './text.ts';

const sampleWidthPx = 30;
const rowHeightPx = 20;

/** A sample of each line with its name, in as many rows as it takes. */
export function legend(series: readonly ChartSeries[], widthPx: number, yPx: number, paint: Paint): Block {
  const rightPx = widthPx - paddingPx;
  const widestPx = rightPx - paddingPx - sampleWidthPx - 7;
  const names = series.map(({ name }) => fitText(name, labelSizePx, widestPx));
  // Columns of one width read better than ragged rows, unless one long name would spoil them.
  const widths = names.map((name) => sampleWidthPx + 7 + textWidthPx(name, labelSizePx) + 16);
  const columnPx = Math.max(...widths);
  const columns = Math.max(1, Math.floor((rightPx - paddingPx + 16) / columnPx));
  let svg = '';
  series.forEach(({ style }, i) => {
    const x = paddingPx + (i % columns) * columnPx;
    const y = yPx + Math.floor(i / columns) * rowHeightPx + 10;
    svg += element('path', {
      d: `M${x} ${y}H${x + sampleWidthPx}`,
      stroke: paint(style.colour),
      'stroke-width': 1.8,
      'stroke-dasharray': style.dash,
      fill: 'none',
    });
    svg += marker(x + sampleWidthPx / 2, y, style, 4, paint);
    svg += textElement(names[i]!, {
      x: x + sampleWidthPx + 7,
      y: y + 4,
      fill: paint('ink'),
      sizePx: labelSizePx,
    });
  });
  return { svg, heightPx: Math.ceil(series.length / columns) * rowHeightPx };
}

/** The room that names at the ends of lines want beside the plot. */
export function endLabelsWidthPx(series: readonly ChartSeries[]): number {
  return Math.max(0, ...series.map(({ name }) => textWidthPx(name, labelSizePx))) + 14;
}

const endLabelStepPx = 15;

/**
 * Places for names beside the ends of their lines, in the order of `endsPx`.
 * @param endsPx the height of each line's last point
 * @returns nothing when names would have to stand so far from their ends that nobody could tell whose they are
 */
export function placeEndLabels(
  endsPx: readonly number[],
  topPx: number,
  bottomPx: number,
): readonly number[] | undefined {
  const order = endsPx.map((_, i) => i).sort((a, b) => endsPx[a]! - endsPx[b]!);
  const places = [...endsPx];
  for (let k = 1; k < order.length; k++) {
    const [above, here] = [order[k - 1]!, order[k]!];
    places[here] = Math.max(places[here]!, places[above]! + endLabelStepPx);
  }
  // Pushed down as one column, the names are moved back up by half of what that made.
  const shift = Math.max(0, ...places.map((place, i) => place - endsPx[i]!)) / 2;
  const placed = places.map((place) => place - shift);
  const isNear = placed.every((place, i) => Math.abs(place - endsPx[i]!) <= endLabelStepPx * 0.6);
  const isInside = placed.every((place) => place >= topPx - 4 && place <= bottomPx + 4);
  return isNear && isInside ? placed : undefined;
}

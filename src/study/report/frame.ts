/** What all figures have around what they show: title, warnings, notes, paper. Pure. */

import type { Drawing } from './chart.ts';
import { lightPaint, type Paint, pagePaint } from './look.ts';
import { element, textElement } from './svg.ts';
import { wrapText } from './text.ts';

export const paddingPx = 14;
export const labelSizePx = 12;
const titleSizePx = 15;
/** How much wider bold letters are. */
const boldWidth = 1.15;

/** A block of a figure: what to draw, and how much height it took. */
export interface Block {
  svg: string;
  heightPx: number;
}

export interface Heading {
  title: string;
  subtitle?: string;
  warnings: readonly string[];
}

export function paintOf(drawing: Drawing): Paint {
  return drawing.colours === 'light' ? lightPaint : pagePaint;
}

/** Title, subtitle and warnings, from `yPx` down. */
export function heading({ title, subtitle, warnings }: Heading, drawing: Drawing, yPx: number): Block {
  const paint = paintOf(drawing);
  const insideWidthPx = drawing.widthPx - 2 * paddingPx;
  let y = yPx;
  let svg = '';
  for (const line of wrapText(title, titleSizePx * boldWidth, insideWidthPx)) {
    y += 19;
    svg += textElement(line, { x: paddingPx, y, fill: paint('ink'), sizePx: titleSizePx, bold: true });
  }
  for (const line of wrapText(subtitle ?? '', labelSizePx, insideWidthPx)) {
    y += 16;
    svg += textElement(line, { x: paddingPx, y, fill: paint('muted'), sizePx: labelSizePx });
  }
  for (const warning of warnings) {
    const lines = wrapText(warning, labelSizePx * boldWidth, insideWidthPx - 22);
    const heightPx = lines.length * 16 + 10;
    y += 8;
    svg += element('rect', {
      x: paddingPx,
      y,
      width: insideWidthPx,
      height: heightPx,
      rx: 4,
      fill: paint('warningPaper'),
    });
    svg += element('rect', { x: paddingPx, y, width: 4, height: heightPx, rx: 2, fill: paint('warning') });
    lines.forEach((line, i) => {
      const place = { x: paddingPx + 13, y: y + 17 + i * 16 };
      svg += textElement(line, { ...place, fill: paint('warning'), sizePx: labelSizePx, bold: true });
    });
    y += heightPx;
  }
  return { svg, heightPx: y - yPx };
}

/** Small print, from `yPx` down. */
export function footnotes(notes: readonly string[], drawing: Drawing, yPx: number): Block {
  const fill = paintOf(drawing)('muted');
  let y = yPx;
  let svg = '';
  for (const note of notes) {
    y += 4;
    for (const line of wrapText(note, 11.5, drawing.widthPx - 2 * paddingPx)) {
      y += 15;
      svg += textElement(line, { x: paddingPx, y, fill, sizePx: 11.5 });
    }
  }
  return { svg, heightPx: y - yPx };
}

/** The whole figure. A file by itself brings its own paper and face; in a page it takes the page's. */
export function svgRoot(content: string, heightPx: number, label: string, drawing: Drawing): string {
  const isFile = drawing.colours === 'light';
  const { widthPx } = drawing;
  const height = Math.ceil(heightPx);
  return element(
    'svg',
    {
      xmlns: isFile ? 'http://www.w3.org/2000/svg' : undefined,
      viewBox: `0 0 ${widthPx} ${height}`,
      width: isFile ? widthPx : undefined,
      height: isFile ? height : undefined,
      role: 'img',
      'aria-label': label,
      'font-family': isFile
        ? 'system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", Arial, sans-serif'
        : undefined,
    },
    isFile ? element('rect', { width: widthPx, height, fill: paintOf(drawing)('paper') }) : '',
    content,
  );
}

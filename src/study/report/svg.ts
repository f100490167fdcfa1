/** The few elements of SVG that figures are made of, as text. Format: SVG 1.1 (W3C). Pure. */

import { escapeText } from '../../markup.ts';

export type Attributes = Record<string, string | number | undefined>;

/**
 * One element. Text values are escaped, numbers cut to hundredths of a pixel.
 * An element with a number that is not finite is left out whole: a fault in the data must not spoil the figure.
 */
export function element(name: string, attributes: Attributes, ...children: readonly string[]): string {
  let head = `<${name}`;
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined) continue;
    if (typeof value === 'number' && !Number.isFinite(value)) return '';
    head += ` ${key}="${typeof value === 'number' ? Math.round(value * 100) / 100 : escapeText(value)}"`;
  }
  const inside = children.join('');
  return inside === '' && name !== 'text' ? `${head}/>` : `${head}>${inside}</${name}>`;
}

export interface TextAttributes {
  x: number;
  y: number;
  fill: string;
  sizePx: number;
  anchor?: 'start' | 'middle' | 'end';
  bold?: boolean;
  /** Painted around the letters, so that they can be read over lines. */
  halo?: string;
}

/** A line of text, escaped. */
export function textElement(content: string, attributes: TextAttributes): string {
  const { x, y, fill, sizePx, anchor, bold, halo } = attributes;
  return element(
    'text',
    {
      x,
      y,
      fill,
      'font-size': sizePx,
      'text-anchor': anchor === 'start' ? undefined : anchor,
      'font-weight': bold === true ? 600 : undefined,
      ...(halo === undefined
        ? {}
        : { stroke: halo, 'stroke-width': 3, 'stroke-linejoin': 'round', 'paint-order': 'stroke' }),
    },
    escapeText(content),
  );
}

/** The data of a path through points; parts are broken where a point is not finite. */
export function pathThrough(points: readonly { x: number; y: number }[]): string {
  let data = '';
  let isPenDown = false;
  for (const { x, y } of points) {
    if (!Number.isFinite(x) || !Number.isFinite(y)) {
      isPenDown = false;
      continue;
    }
    data += `${isPenDown ? 'L' : 'M'}${Math.round(x * 100) / 100} ${Math.round(y * 100) / 100}`;
    isPenDown = true;
  }
  return data;
}

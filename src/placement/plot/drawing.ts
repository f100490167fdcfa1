/** The little of SVG that plots of placements are made of. Pure. */

import { escapeText } from '../../markup.ts';

const short = (value: number): number => Math.round(value * 100) / 100;

export function box(
  x: number,
  y: number,
  width: number,
  height: number,
  fill: string,
  title?: string,
): string {
  const inside = title === undefined ? '/>' : `><title>${escapeText(title)}</title></rect>`;
  return `<rect x="${short(x)}" y="${short(y)}" width="${short(width)}" height="${short(height)}" fill="${fill}"${inside}`;
}

export function label(
  x: number,
  y: number,
  text: string,
  options: { anchor?: 'middle' | 'end'; size?: number } = {},
): string {
  const anchor = options.anchor === undefined ? '' : ` text-anchor="${options.anchor}"`;
  return `<text x="${short(x)}" y="${short(y)}" font-size="${options.size ?? 12}" fill="#1b2127"${anchor}>${escapeText(text)}</text>`;
}

/** A picture of its own, on white. */
export function picture(width: number, height: number, content: string, title: string): string {
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${Math.ceil(height)}" viewBox="0 0 ${width} ${Math.ceil(height)}" ` +
    `role="img" aria-label="${escapeText(title)}" font-family="system-ui, sans-serif">` +
    `${box(0, 0, width, Math.ceil(height), '#ffffff')}${content}</svg>`
  );
}

/** Light for little, dark for much; differs in lightness all the way, so that it is told without seeing colours. */
export function heat(share: number): string {
  const at = Math.min(1, Math.max(0, share));
  const stops = [
    [245, 243, 230],
    [244, 190, 92],
    [205, 82, 44],
    [80, 12, 60],
  ] as const;
  const position = at * (stops.length - 1);
  const low = Math.min(stops.length - 2, Math.floor(position));
  const mix = position - low;
  const channels = [0, 1, 2].map((i) => Math.round(stops[low]![i]! * (1 - mix) + stops[low + 1]![i]! * mix));
  return `#${channels.map((channel) => channel.toString(16).padStart(2, '0')).join('')}`;
}

/** Colours, markers and dashes: how series are told apart, on paper and on screens, with and without colour. Pure. */

import type { Series } from '../cells.ts';
import { element } from './svg.ts';

/** What a colour is for; `s0`, `s1`, … are those of series. */
export type ColourRole =
  | 'paper'
  | 'ink'
  | 'muted'
  | 'grid'
  | 'axis'
  | 'band'
  | 'warning'
  | 'warningPaper'
  | `s${number}`;

/** Gives the colour for a role as SVG wants it: `#1f2933` or `var(--s0)`. */
export type Paint = (role: ColourRole) => string;

interface Scheme {
  fixed: Record<Exclude<ColourRole, `s${number}`>, string>;
  /**
   * Ink for what is compared with, then colours that differ in lightness as well as in hue, so that they stay apart
   * for all kinds of colour blindness (tested with the model of G. Machado and others, 2009).
   */
  series: readonly string[];
}

/** On white: lines and markers have a contrast of at least 3 to 1 (WCAG 2.1, 1.4.11); text is never in these colours. */
export const lightScheme: Scheme = {
  fixed: {
    paper: '#ffffff',
    ink: '#1b2127',
    muted: '#5b6670',
    grid: '#e6e9ec',
    axis: '#8a949d',
    band: '#dcebe2',
    warning: '#8a3a00',
    warningPaper: '#fff1e0',
  },
  series: ['#1b2127', '#4432b9', '#8b3112', '#20a39c', '#a875ff', '#e57301', '#236c92', '#d22e52'],
};

/** On near black. */
export const darkScheme: Scheme = {
  fixed: {
    paper: '#171b1f',
    ink: '#e8ebee',
    muted: '#a2acb5',
    grid: '#2b3238',
    axis: '#68737d',
    band: '#21382e',
    warning: '#ffb877',
    warningPaper: '#3a2713',
  },
  series: ['#f0f2f4', '#2972ca', '#bb5413', '#05d6aa', '#b89cff', '#f2a82a', '#17a5b9', '#93628e'],
};

/** Colours written out, for files that stand alone. */
export const lightPaint: Paint = (role) => colourOf(lightScheme, role);

/** Colours by name, for figures in a page that defines them; see {@link schemeAsCss}. */
export const pagePaint: Paint = (role) => `var(--${role})`;

/** The custom properties that {@link pagePaint} names. */
export function schemeAsCss(scheme: Scheme): string {
  const fixed = Object.entries(scheme.fixed).map(([role, colour]) => `--${role}:${colour}`);
  return [...fixed, ...scheme.series.map((colour, i) => `--s${i}:${colour}`)].join(';');
}

function colourOf(scheme: Scheme, role: ColourRole): string {
  const fixed: Record<string, string> = scheme.fixed;
  return fixed[role] ?? scheme.series[Number(role.slice(1)) % scheme.series.length]!;
}

const shapes = ['circle', 'square', 'diamond', 'up', 'down', 'hexagon', 'cross'] as const;
export type Shape = (typeof shapes)[number];

export interface SeriesStyle {
  colour: ColourRole;
  shape: Shape;
  /** Filled for native, hollow for guests. */
  isFilled: boolean;
  /** SVG's `stroke-dasharray`; none for a whole line. */
  dash?: string;
}

const guestDashes = ['7 3', '2.5 2.5', '10 3 2.5 3', '5 5', '1.5 4'];

/**
 * One style for each series, the same in all figures of a report: colour and shape by the place in the list;
 * native whole and filled, guests dashed and hollow, so that the two are told apart in grey as well.
 */
export function stylesOfSeries(series: readonly Pick<Series, 'environment'>[]): SeriesStyle[] {
  let guests = 0;
  return series.map(({ environment }, i) => {
    const base = {
      colour: `s${i % lightScheme.series.length}` as const,
      shape: shapes[i % shapes.length]!,
    };
    if (environment === 'native') return { ...base, isFilled: true };
    return { ...base, isFilled: false, dash: guestDashes[guests++ % guestDashes.length]! };
  });
}

/** A marker around a point. */
export function marker(x: number, y: number, style: SeriesStyle, radiusPx: number, paint: Paint): string {
  const colour = paint(style.colour);
  const common = {
    fill: style.isFilled ? colour : paint('paper'),
    stroke: colour,
    'stroke-width': style.isFilled ? 1 : 1.7,
  };
  if (!Number.isFinite(x) || !Number.isFinite(y)) return '';
  if (style.shape === 'circle') return element('circle', { cx: x, cy: y, r: radiusPx, ...common });
  const places = cornersOf(style.shape).map(
    ([dx, dy]) => `${round(x + dx * radiusPx)} ${round(y + dy * radiusPx)}`,
  );
  return element('path', { d: `M${places.join('L')}Z`, 'stroke-linejoin': 'round', ...common });
}

/** Corners around 0, 0 of markers that look as large as a circle of radius 1: pairs of x and y. */
const corners: Record<Exclude<Shape, 'circle'>, string> = {
  square: '-0.9 -0.9, 0.9 -0.9, 0.9 0.9, -0.9 0.9',
  diamond: '0 -1.3, 1.3 0, 0 1.3, -1.3 0',
  up: '0 -1.2, 1.15 0.9, -1.15 0.9',
  down: '0 1.2, 1.15 -0.9, -1.15 -0.9',
  hexagon: '0 -1.15, 1 -0.57, 1 0.57, 0 1.15, -1 0.57, -1 -0.57',
  cross:
    '-0.4 -1.2, 0.4 -1.2, 0.4 -0.4, 1.2 -0.4, 1.2 0.4, 0.4 0.4, 0.4 1.2, -0.4 1.2, -0.4 0.4, -1.2 0.4, -1.2 -0.4, -0.4 -0.4',
};

function cornersOf(shape: Exclude<Shape, 'circle'>): [number, number][] {
  return corners[shape].split(', ').map((pair) => pair.split(' ').map(Number) as [number, number]);
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

/** From values to places on paper: linear and logarithmic scales, and ticks that people like. Pure. */

import { formatNumber } from './numbers.ts';

export interface Scale {
  /** Lowest and highest value, both finite; positive for a logarithmic scale. */
  domain: readonly [number, number];
  /** The place of a value, in pixels; not finite for a value that the scale cannot show. */
  at: (value: number) => number;
  ticks: readonly Tick[];
}

export interface Tick {
  value: number;
  label: string;
}

/** What an axis is asked to be. */
export interface ScaleRequest {
  kind: 'linear' | 'log';
  /** Values that must be seen; those that are not finite, or not positive on a logarithmic scale, are passed over. */
  values: readonly number[];
  /** Places of the ends of the axis: the low end and the high end. */
  rangePx: readonly [number, number];
  /** About how many ticks to make. */
  tickCount: number;
  /** A linear axis begins at zero unless values are below it. */
  fromZero?: boolean;
  /** Ticks to be made whatever the values; a logarithmic axis then ends at these values. */
  ticks?: readonly number[];
  format?: (value: number) => string;
}

/** Makes a scale; one of [0, 1] or [1, 10] when there is nothing to show. */
export function makeScale(request: ScaleRequest): Scale {
  return request.kind === 'log' ? logScale(request) : linearScale(request);
}

function linearScale({
  values,
  rangePx,
  tickCount,
  fromZero = true,
  ticks,
  format = formatNumber,
}: ScaleRequest): Scale {
  const finite = values.filter(Number.isFinite);
  let low = Math.min(...(fromZero ? [0] : []), ...finite);
  let high = Math.max(...(fromZero ? [0] : []), ...finite);
  if (finite.length === 0) [low, high] = [0, 1];
  const size = Math.max(Math.abs(low), Math.abs(high));
  // Differences that are nothing but rounding, and numbers too small to be divided, are no span.
  if (high - low <= size * 1e-9 || size < 1e-90) {
    const room = size < 1e-90 ? 1 : size / 2;
    [low, high] = fromZero ? [Math.min(low, 0), Math.max(low, 0) + room] : [low - room, low + room];
  }
  const step = niceStep((high - low) / Math.max(1, tickCount));
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  // Multiples of the step, rounded to its own digits: 3 * 0.1 must not be told as 0.30000000000000004.
  const made = Array.from({ length: last - first + 1 }, (_, i) => roundTo((first + i) * step, step));
  const domain = [made[0]!, made.at(-1)!] as const;
  return {
    domain,
    at: interpolate(domain, rangePx, (value) => value),
    ticks: (ticks ?? made).map((value) => ({ value, label: format(value) })),
  };
}

function logScale({ values, rangePx, tickCount, ticks, format = formatNumber }: ScaleRequest): Scale {
  const positive = [...values, ...(ticks ?? [])].filter((value) => Number.isFinite(value) && value > 0);
  const [low, high] = positive.length === 0 ? [1, 10] : [Math.min(...positive), Math.max(...positive)];
  const made = ticks ?? logTicks(low, high, tickCount);
  // Given ticks say where the axis ends; made ones reach beyond the values on both sides.
  let domain: readonly [number, number] =
    ticks === undefined
      ? [Math.min(low, made[0]!), Math.max(powerAbove(high, made), made.at(-1)!)]
      : [low, high];
  if (domain[0] === domain[1]) domain = [domain[0] / 2, domain[1] * 2];
  return {
    domain,
    at: interpolate(domain, rangePx, Math.log10),
    ticks: made.map((value) => ({ value, label: format(value) })),
  };
}

/** Steps of 1, 2 or 5 times a power of ten, the least that is not below what is asked for. */
export function niceStep(atLeast: number): number {
  const power = 10 ** Math.floor(Math.log10(atLeast));
  for (const factor of [1, 2, 5]) if (factor * power >= atLeast * (1 - 1e-9)) return factor * power;
  return 10 * power;
}

/** Powers of ten that enclose the values, thinned to about `count`; with 2 and 5 between when they span little. */
function logTicks(low: number, high: number, count: number): number[] {
  const first = Math.floor(Math.log10(low) + 1e-9);
  const last = Math.max(first + 1, Math.ceil(Math.log10(high) - 1e-9));
  if (last - first <= 2 && count >= 4) {
    const all = Array.from({ length: last - first }, (_, i) => [1, 2, 5].map((k) => k * 10 ** (first + i)));
    const flat = [...all.flat(), 10 ** last];
    const from = flat.findLastIndex((value) => value <= low * (1 + 1e-9));
    const to = flat.findIndex((value) => value >= high * (1 - 1e-9));
    return flat
      .slice(Math.max(0, from), Math.max(to, from + 1) + 1)
      .map((value) => roundTo(value, value / 10));
  }
  const stride = Math.max(1, Math.ceil((last - first) / Math.max(1, count)));
  const powers: number[] = [];
  for (let exponent = first; exponent <= last; exponent += stride) powers.push(10 ** exponent);
  return powers;
}

/** Where the axis ends: at the next power of ten when ticks were thinned and stop below the values. */
function powerAbove(high: number, ticks: readonly number[]): number {
  return high <= ticks.at(-1)! ? high : 10 ** Math.ceil(Math.log10(high) - 1e-9);
}

function interpolate(
  domain: readonly [number, number],
  rangePx: readonly [number, number],
  project: (value: number) => number,
): (value: number) => number {
  const from = project(domain[0]);
  const span = project(domain[1]) - from;
  return (value) => rangePx[0] + ((project(value) - from) / span) * (rangePx[1] - rangePx[0]);
}

function roundTo(value: number, step: number): number {
  const digits = Math.max(0, Math.min(100, 2 - Math.floor(Math.log10(step))));
  return Number(value.toFixed(digits));
}

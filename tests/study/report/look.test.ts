import { describe, expect, it } from 'vitest';
import { darkScheme, lightScheme, stylesOfSeries } from '../../../src/study/report/look.ts';

/** Relative luminance and contrast: WCAG 2.1. */
function luminance(colour: string): number {
  const [red, green, blue] = channels(colour).map((c) =>
    c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4,
  );
  return 0.2126 * red! + 0.7152 * green! + 0.0722 * blue!;
}

function channels(colour: string): number[] {
  return [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16) / 255);
}

function contrast(a: string, b: string): number {
  const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (light! + 0.05) / (dark! + 0.05);
}

/**
 * What colours look like without one kind of cones, in linear RGB: G. Machado, M. Oliveira and L. Fernandes, "A
 * physiologically-based model for simulation of color vision deficiency", 2009, severity 1.
 */
const blindness = {
  none: [1, 0, 0, 0, 1, 0, 0, 0, 1],
  red: [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998],
  green: [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881],
  blue: [1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.3039],
};

/** Place in Oklab (B. Ottosson, 2020), where equal distances look about equally different. */
function oklab([r, g, b]: readonly number[]): number[] {
  const l = Math.cbrt(0.4122214708 * r! + 0.5363325363 * g! + 0.0514459929 * b!);
  const m = Math.cbrt(0.2119034982 * r! + 0.6806995451 * g! + 0.1073969566 * b!);
  const s = Math.cbrt(0.0883024619 * r! + 0.2817188376 * g! + 0.6299787005 * b!);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

function seenWith(kind: keyof typeof blindness, colour: string): number[] {
  const linear = channels(colour).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  const row = (i: number) => linear.reduce((sum, value, k) => sum + value * blindness[kind][3 * i + k]!, 0);
  return oklab([0, 1, 2].map((i) => Math.max(0, Math.min(1, row(i)))));
}

describe('the look of series', () => {
  it.each([
    ['light', lightScheme],
    ['dark', darkScheme],
  ])('has enough contrast in the %s scheme', (_, scheme) => {
    for (const colour of scheme.series) expect(contrast(colour, scheme.fixed.paper)).toBeGreaterThan(3);
    for (const role of ['ink', 'muted'] as const) {
      expect(contrast(scheme.fixed[role], scheme.fixed.paper)).toBeGreaterThan(4.5);
    }
    expect(contrast(scheme.fixed.warning, scheme.fixed.warningPaper)).toBeGreaterThan(4.5);
  });

  it.each([
    ['light', lightScheme],
    ['dark', darkScheme],
  ])('keeps the six series of the paper apart for colour-blind readers (%s)', (_, scheme) => {
    for (const kind of ['none', 'red', 'green', 'blue'] as const) {
      const seen = scheme.series.slice(0, 6).map((colour) => seenWith(kind, colour));
      for (const [i, one] of seen.entries()) {
        for (const other of seen.slice(i + 1)) {
          expect(Math.hypot(...one.map((value, k) => value - other[k]!))).toBeGreaterThan(0.09);
        }
      }
    }
  });

  it('tells sixteen series apart without any colour, and native from guests at a glance', () => {
    const environments = Array.from(
      { length: 16 },
      (_, i) => ({ environment: i < 4 ? 'native' : 'kvm' }) as const,
    );
    const styles = stylesOfSeries(environments);
    const seen = styles.map(({ shape, isFilled, dash }) => `${shape} ${isFilled} ${dash}`);
    expect(new Set(seen).size).toBe(16);
    expect(styles.slice(0, 4).every(({ isFilled, dash }) => isFilled && dash === undefined)).toBe(true);
    expect(styles.slice(4).every(({ isFilled, dash }) => !isFilled && dash !== undefined)).toBe(true);
  });
});

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

describe('the look of series', () => {
  it.each([
    ['light', lightScheme],
    ['dark', darkScheme],
  ])('has enough contrast in the %s scheme', (_, scheme) => {
    for (const colour of scheme.series) expect(contrast(colour, scheme.fixed.paper)).toBeGreaterThan(3.5);
    for (const role of ['ink', 'muted'] as const) {
      expect(contrast(scheme.fixed[role], scheme.fixed.paper)).toBeGreaterThan(4.5);
    }
    expect(contrast(scheme.fixed.warning, scheme.fixed.warningPaper)).toBeGreaterThan(4.5);
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

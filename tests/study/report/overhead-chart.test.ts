import { XMLValidator } from 'fast-xml-parser';
import { describe, expect, it } from 'vitest';
import type { Drawing } from '../../../src/study/report/chart.ts';
import { stylesOfSeries } from '../../../src/study/report/look.ts';
import {
  type OverheadChart,
  type OverheadRow,
  overheadChart,
} from '../../../src/study/report/overhead-chart.ts';
import { hostileText } from './hostile.ts';

const wide: Drawing = { widthPx: 660, plotHeightPx: 0, colours: 'light' };
const narrow: Drawing = { widthPx: 360, plotHeightPx: 0, colours: 'light' };
const [style] = stylesOfSeries([{ environment: 'kvm' }]);

function row(estimate: number, low: number, high: number, more: Partial<OverheadRow> = {}): OverheadRow {
  return { label: 'Guest 2M/2M', detail: '1 core', style: style!, estimate, low, high, ...more };
}

function chart(rows: readonly OverheadRow[], tolerance?: number): OverheadChart {
  const group = { title: 'HPL', rows, ...(tolerance === undefined ? {} : { tolerance }) };
  return { id: 'overhead', title: 'Overhead', warnings: [], notes: [], groups: [group] };
}

const xOf = (svg: string, pattern: RegExp) => Number(pattern.exec(svg)?.[1]);
/** The dark line at zero, behind the rows. */
const zeroOf = (svg: string) =>
  xOf(svg, /<path d="M([\d.]+) [\d.]+V[\d.]+" stroke="#[0-9a-f]+" stroke-width="1.5"/);
const band = /<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)" height="[\d.]+" fill="#dcebe2"/;

describe('an overhead chart', () => {
  it('shades the tolerance evenly around zero', () => {
    const svg = overheadChart(chart([row(0.002, -0.004, 0.008)], 0.01), wide);
    expect(XMLValidator.validate(svg)).toBe(true);
    const [, left, width] = band.exec(svg)!.map(Number);
    expect(left! + width! / 2).toBeCloseTo(zeroOf(svg), 0);
    expect(svg).toContain('tolerance ±1');
  });

  it('shades nothing where nothing is judged', () => {
    expect(overheadChart(chart([row(0.2, 0.1, 0.3)]), wide)).not.toMatch(band);
  });

  it('keeps a tolerance of 1 % in sight beside an overhead of 900 %, and says the number', () => {
    const svg = overheadChart(chart([row(0.001, -0.002, 0.004), row(9, 8, 10)], 0.01), wide);
    const [, , width] = band.exec(svg)!.map(Number);
    expect(width!).toBeGreaterThan(4);
    expect(svg).toContain('+900');
    // Drawn as an arrow, and as no point that would lie about its place.
    expect(svg.match(/<path d="M[\d.]+ [\d.]+L[\d.]+ [\d.]+V[\d.]+Z"/g)).toHaveLength(1);
    expect(svg).not.toMatch(/NaN|Infinity/);
  });

  it('shows far overheads where there are only such', () => {
    const svg = overheadChart(chart([row(9, 8, 10)], 0.01), wide);
    expect(svg.match(/L[\d.]+ [\d.]+V[\d.]+Z/g)).toBeNull();
  });

  it('leaves out what is no number, and says when nothing is left', () => {
    const bad = row(Number.NaN, 0, 1);
    expect(overheadChart(chart([bad, row(0.1, 0, 0.2)]), wide)).not.toContain('NaN');
    const none = overheadChart(chart([bad]), wide);
    expect(none).toContain('Too little was measured');
    expect(XMLValidator.validate(none)).toBe(true);
  });

  it('writes the name of a series once for all its rows', () => {
    const rows = [row(0, -0.1, 0.1), row(0, -0.1, 0.1, { detail: '2 cores' })];
    expect(overheadChart(chart(rows), wide).split('Guest 2M/2M')).toHaveLength(2);
  });

  it('shows texts as texts at every width', () => {
    const hostile = chart([row(0, -0.1, 0.1, { label: hostileText, detail: '1 core' })]);
    for (const drawing of [wide, narrow]) {
      const svg = overheadChart({ ...hostile, title: hostileText, notes: [hostileText] }, drawing);
      expect(XMLValidator.validate(svg)).toBe(true);
      expect(svg).not.toContain('<script');
    }
  });
});

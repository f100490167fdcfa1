import { XMLValidator } from 'fast-xml-parser';
import { describe, expect, it } from 'vitest';
import type { Chart, ChartPoint, Drawing } from '../../../src/study/report/chart.ts';
import { lineChart } from '../../../src/study/report/line-chart.ts';
import { stylesOfSeries } from '../../../src/study/report/look.ts';
import { figuresOfStudy, listFigures } from '../../../src/study/report/study-figures.ts';
import { emulationWarning } from '../../../src/study/report/warnings.ts';
import { sampleStudy } from '../sample-study.ts';
import { hostileText } from './hostile.ts';

const wide: Drawing = { widthPx: 660, plotHeightPx: 290, colours: 'light' };
const narrow: Drawing = { widthPx: 360, plotHeightPx: 220, colours: 'page' };
const styles = stylesOfSeries([{ environment: 'native' }, { environment: 'kvm' }, { environment: 'kvm' }]);

function chart(points: readonly (readonly ChartPoint[])[], more: Partial<Chart> = {}): Chart {
  return {
    id: 'figure-test',
    title: 'A test',
    warnings: [],
    notes: [],
    x: { title: 'Cores', kind: 'log', ticks: [1, 2, 4] },
    y: { title: 'GFLOPS', kind: 'linear' },
    series: points.map((own, i) => ({ name: `Series ${i}`, style: styles[i]!, points: own })),
    isSideBySide: true,
    ...more,
  };
}

function expectSound(svg: string): void {
  expect(XMLValidator.validate(svg)).toBe(true);
  expect(svg).not.toMatch(/NaN|Infinity|undefined/);
}

const count = (svg: string, piece: string) => svg.split(piece).length - 1;

describe('a line chart', () => {
  it.each(['paper', 'uml', 'tcg', 'native'] as const)(
    'is well-formed for every figure of a %s study',
    (machine) => {
      for (const figure of listFigures(figuresOfStudy(sampleStudy({ machine })))) {
        for (const drawing of [wide, narrow]) expectSound(lineChart(figure, drawing));
      }
    },
  );

  it('shows every single run, and an interval where there is one', () => {
    const points = [
      { x: 1, y: 10, low: 9, high: 11, raw: [9.5, 10, 10.2, 3] },
      { x: 2, y: 19, raw: [19] },
    ];
    const svg = lineChart(chart([points]), wide);
    // Runs are the only circles with a radius below 2.
    expect(svg.match(/<circle [^>]*r="1\.4"/g)).toHaveLength(5);
    expect(svg.match(/<path d="M[^"]*H[^"]*M[^"]*H[^"]*M[^"]*V[^"]*"/g)).toHaveLength(1);
  });

  it('ends before an interval that is many times as wide as what was measured, which goes on as an arrow', () => {
    const points = [
      { x: 1, y: 10, low: 9, high: 11, raw: [10] },
      { x: 2, y: 19, low: 5, high: 1900, raw: [19] },
    ];
    const svg = lineChart(chart([points]), wide);
    expectSound(svg);
    expect(svg).toContain('goes on beyond the axis');
    expect(svg).toContain('>30<');
    expect(svg).not.toMatch(/>\d{3,}</);
    const within = lineChart(chart([[points[0]!]]), wide);
    expect(within).not.toContain('goes on beyond the axis');
    // A logarithmic axis has room for it.
    expect(lineChart(chart([points], { y: { title: 'us', kind: 'log' } }), wide)).not.toContain(
      'goes on beyond',
    );
  });

  it('leaves out what is no number, and keeps the rest', () => {
    const bad = { x: 2, y: Number.NaN, low: Number.NaN, high: Number.POSITIVE_INFINITY, raw: [Number.NaN] };
    const good = { x: 1, y: 10, low: Number.NEGATIVE_INFINITY, high: 11, raw: [10, Number.NaN] };
    const svg = lineChart(chart([[good, bad]]), wide);
    expectSound(svg);
    expect(svg.match(/<circle [^>]*r="1\.4"/g)).toHaveLength(1);
  });

  it('leaves zeros and less off a logarithmic axis', () => {
    const svg = lineChart(
      chart([[{ x: 1, y: 5, low: -1, high: 9, raw: [5, 0, -2] }]], { y: { title: 'us', kind: 'log' } }),
      wide,
    );
    expectSound(svg);
    expect(svg.match(/<circle [^>]*r="1\.4"/g)).toHaveLength(1);
  });

  it('says that there is nothing, for no series and for series without points', () => {
    for (const none of [chart([]), chart([[], []])]) {
      const svg = lineChart(none, wide);
      expectSound(svg);
      expect(svg).toContain('No usable runs');
    }
  });

  it('draws one point without a line', () => {
    const svg = lineChart(chart([[{ x: 2, y: 10, raw: [10] }]]), wide);
    expectSound(svg);
    expect(svg).not.toContain('stroke-opacity');
  });

  it('shows texts as texts, and cuts what is too long', () => {
    const axis = { title: hostileText, kind: 'linear' } as const;
    const base = chart([[{ x: 1, y: 1, raw: [] }]], {
      title: hostileText,
      notes: [hostileText],
      x: axis,
      y: axis,
    });
    const named = { ...base, series: base.series.map((one) => ({ ...one, name: hostileText })) };
    for (const drawing of [wide, narrow]) {
      const svg = lineChart(named, drawing);
      expectSound(svg);
      expect(svg).not.toContain('<script');
      expect(svg).not.toContain('\u0000');
      for (const [, content] of svg.matchAll(/<text[^>]*>([^<]*)</g))
        expect(content!.length).toBeLessThan(260);
    }
  });

  it('names lines at their ends when these are apart, else in a legend', () => {
    const line = (end: number) => [1, 2, 4].map((x) => ({ x, y: (end * x) / 4, raw: [] }));
    const apart = lineChart(chart([line(100), line(60), line(20)]), wide);
    const close = lineChart(chart([line(100), line(99.9), line(99.8)]), wide);
    const samples = /<path d="M[\d.]+ [\d.]+H[\d.]+" stroke="#[0-9a-f]+" stroke-width="1.8"/g;
    expect(apart.match(samples)).toBeNull();
    expect(close.match(samples)).toHaveLength(3);
    for (const name of ['Series 0', 'Series 1', 'Series 2']) {
      expect(count(apart, `>${name}<`)).toBe(1);
      expect(count(close, `>${name}<`)).toBe(1);
    }
  });

  it('never lets labels of an axis touch', () => {
    const ticks = Array.from({ length: 40 }, (_, i) => i + 1);
    const many = chart([ticks.map((x) => ({ x, y: x, raw: [] }))], {
      x: { title: 'Cores', kind: 'linear', ticks },
    });
    const svg = lineChart(many, narrow);
    const labels = [...svg.matchAll(/<text x="([\d.]+)" y="[\d.]+"[^>]*text-anchor="middle">(\d+)</g)];
    expect(labels.length).toBeGreaterThan(3);
    for (const [i, label] of labels.entries()) {
      if (i > 0) expect(Number(label[1]) - Number(labels[i - 1]![1])).toBeGreaterThan(15);
    }
  });

  it('carries the warning of emulated series, and only then', () => {
    const words = emulationWarning.split(' ').slice(0, 4).join(' ');
    for (const figure of listFigures(figuresOfStudy(sampleStudy({ machine: 'tcg' })))) {
      // PingPong takes two cores, which this study has natively only.
      expect(lineChart(figure, wide).includes(words)).toBe(!figure.id.includes('pingpong'));
    }
    for (const figure of listFigures(figuresOfStudy(sampleStudy({ machine: 'uml' })))) {
      expect(lineChart(figure, wide)).not.toContain(words);
    }
  });

  it('writes colours out for a file and names them for a page', () => {
    const one = chart([[{ x: 1, y: 1, raw: [1] }]]);
    expect(lineChart(one, wide)).not.toContain('var(');
    expect(lineChart(one, wide)).toContain('xmlns="http://www.w3.org/2000/svg"');
    expect(lineChart(one, narrow)).not.toMatch(/#[0-9a-f]{6}/);
  });
});

describe('the figures of a study', () => {
  it('are those of the paper, by its names of series', () => {
    const figures = figuresOfStudy(sampleStudy({ machine: 'paper' }));
    expect(listFigures(figures).map(({ id }) => id)).toEqual([
      'figure-2-hpl',
      'figure-3-stream-triad',
      'figure-3-stream-copy',
      'figure-3-stream-scale',
      'figure-3-stream-add',
      'figure-4-randomaccess',
      'figure-5a-pingpong-latency',
      'figure-5b-pingpong-bandwidth',
    ]);
    expect(figures.hpl!.series.map(({ name }) => name)).toEqual([
      'Native 2M',
      'Native 4K',
      'Guest 2M/2M',
      'Guest 2M/4K',
      'Guest 4K/2M',
      'Guest 4K/4K',
    ]);
    expect(figures.hpl!.series[0]!.points.map(({ x }) => x)).toEqual([1, 2, 4, 8]);
    expect(figures.pingpongLatency!.series[0]!.points).toHaveLength(23);
  });

  it('leave warm-ups and failed runs out and keep outliers', () => {
    const study = sampleStudy({ machine: 'native', repeats: 7 });
    const figures = figuresOfStudy(study);
    const triad = figures.streamTriad!.series[0]!.points[0]!;
    expect(triad.raw).toHaveLength(7);
    expect(Math.min(...triad.raw)).toBeLessThan(0.9 * triad.y);
    // The third repeat of the first cell failed.
    expect(figures.hpl!.series[0]!.points[0]!.raw).toHaveLength(6);
  });

  it('say which series could not be drawn', () => {
    const study = sampleStudy({ machine: 'uml' });
    const samples = study.samples.map((sample) =>
      sample.cell.environment === 'uml' ? { ...sample, outcome: 'failed' as const, measured: {} } : sample,
    );
    const { hpl } = figuresOfStudy({ ...study, samples });
    expect(hpl!.series.map(({ name }) => name)).toEqual(['Native 2M', 'Native 4K']);
    expect(hpl!.notes.join()).toContain('Guest (uml) 4K');
  });

  it('are there without any sample', () => {
    const study = { ...sampleStudy({ machine: 'paper' }), samples: [] };
    for (const figure of listFigures(figuresOfStudy(study)))
      expect(lineChart(figure, wide)).toContain('No usable runs');
  });
});

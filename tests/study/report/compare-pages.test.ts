import { XMLValidator } from 'fast-xml-parser';
import { describe, expect, it } from 'vitest';
import { compareStudies } from '../../../src/study/compare.ts';
import { renderComparisonHtml } from '../../../src/study/report/compare-html.ts';
import { comparisonLine, renderComparison } from '../../../src/study/report/compare-terminal.ts';
import { emulationWarning } from '../../../src/study/report/warnings.ts';
import { sampleStudy } from '../sample-study.ts';
import { hostileStudy } from './hostile.ts';

const a = sampleStudy({ machine: 'uml', seed: 1 });
const b = sampleStudy({ machine: 'uml', seed: 2, speed: 1.04 });

function expectSound(page: string): void {
  const xml = page
    .replace('<!doctype html>', '')
    .replace(/<(meta|br)\b([^>]*)>/g, '<$1$2/>')
    .replace(/<style>.*?<\/style>/s, '');
  expect(XMLValidator.validate(xml)).toBe(true);
  expect(page).not.toMatch(/NaN|Infinity|<script|\[object|>undefined</);
}

describe('the page of a comparison', () => {
  it('has both series in the same figures, told apart by fill and dash', () => {
    const page = renderComparisonHtml(a, b);
    expectSound(page);
    const hpl = [...page.matchAll(/<svg.*?<\/svg>/gs)]
      .map(([svg]) => svg)
      .find((svg) => svg.includes('Figure 2'))!;
    for (const name of ['A Native 2M', 'B Native 2M', 'A Guest (uml) 4K', 'B Guest (uml) 4K']) {
      expect(hpl).toContain(`>${name}<`);
    }
    expect(hpl).toContain('stroke-dasharray="6 3"');
  });

  it('is whole for studies with nothing in common, without samples, and with hostile texts', () => {
    const empty = { ...sampleStudy({ machine: 'native' }), samples: [] };
    for (const [one, other] of [
      [sampleStudy({ machine: 'paper', repeats: 2 }), b],
      [empty, empty],
      [hostileStudy(), b],
      [a, hostileStudy()],
    ] as const) {
      expectSound(renderComparisonHtml(one, other));
    }
    expect(renderComparisonHtml(empty, a)).toContain('These studies have no cell in common.');
  });

  it('says when timings are emulated, in its title too', () => {
    const page = renderComparisonHtml(a, sampleStudy({ machine: 'tcg' }));
    expect(page).toContain(emulationWarning);
    expect(/<title>(.*)<\/title>/.exec(page)![1]).toContain('emulated');
  });
});

describe('a comparison on a terminal', () => {
  it('tells ratios, what differs and what only one has', () => {
    const paper = sampleStudy({ machine: 'paper' });
    const text = renderComparison(compareStudies(paper, b), { width: 100, colour: false });
    expect(text).toMatch(/Native 2M {3}1 core .* 1\.0\d+ \[1\.0\d+, 1\.0\d+\] {2}✓ better/);
    expect(text).toContain('host.numaNodes: 2 → 1');
    expect(text).toMatch(/Only in B: Guest \(uml\) 4K: hpcc on 1 core/);
    expect(text).not.toContain('\u001b');
    for (const line of text.split('\n')) expect([...line].length).toBeLessThanOrEqual(100);
  });

  it('is told in one line', () => {
    expect(comparisonLine(compareStudies(a, b))).toMatch(
      /^\d+ compared: B better in \d+, worse in \d+, unclear in \d+$/,
    );
    const none = { ...a, samples: [] };
    expect(comparisonLine(compareStudies(none, none))).toBe('these studies have no cell in common');
  });

  it('lets no text of a study steer the terminal', () => {
    const text = renderComparison(compareStudies(hostileStudy(), b), { width: 80, colour: false });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these must not be there
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/);
  });
});

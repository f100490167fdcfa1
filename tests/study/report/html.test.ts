import { XMLValidator } from 'fast-xml-parser';
import { describe, expect, it } from 'vitest';
import { flagMeanings } from '../../../src/study/judge-run.ts';
import { renderHtml, titleOf } from '../../../src/study/report/html.ts';
import { renderValues } from '../../../src/study/report/terminal-values.ts';
import { emulationWarning, umlNote } from '../../../src/study/report/warnings.ts';
import type { Study } from '../../../src/study/samples.ts';
import { sampleStudy } from '../sample-study.ts';
import { hostileStudy } from './hostile.ts';

/** The words of a page, without its marks, styles and figures. */
function wordsOf(page: string): string {
  return page
    .replace(/<style>.*?<\/style>/s, '')
    .replace(/<svg.*?<\/svg>/gs, '')
    .replace(/<[^>]*>/g, ' ')
    .replaceAll('\u202F', ' ')
    .replace(/\s+/g, ' ');
}

/** Our pages close everything they open but these, so the rest must be XML. */
function expectSound(page: string): void {
  const xml = page
    .replace('<!doctype html>', '')
    .replace(/<(meta|br)\b([^>]*)>/g, '<$1$2/>')
    .replace(/<style>.*?<\/style>/s, '');
  expect(XMLValidator.validate(xml)).toBe(true);
  expect(page).not.toMatch(/NaN|Infinity|\[object|>undefined</);
}

const machines = ['paper', 'uml', 'tcg', 'native'] as const;

/** Making one takes a second, and many tests read the same. */
const pages = new Map<string, string>();
function pageOf(machine: (typeof machines)[number]): string {
  const page = pages.get(machine) ?? renderHtml(sampleStudy({ machine }));
  pages.set(machine, page);
  return page;
}

const withVerdictWords = /no overhead seen|✓|▲|not decided/;

describe('the page of a study', () => {
  it.each(machines)('is sound and needs nothing from anywhere (%s)', (machine) => {
    const page = pageOf(machine);
    expectSound(page);
    expect(page).not.toMatch(/<script|<link|<img|<iframe|\bsrc=|url\(|@import|https?:\/\/(?!www\.w3\.org)/);
    expect(page.match(/<h1>/g)).toHaveLength(1);
    const ids = [...page.matchAll(/ id="([^"]*)"/g)].map(([, id]) => id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const [, target] of page.matchAll(/href="#([^"]*)"/g)) expect(ids).toContain(target);
  });

  it('has each message size of PingPong, guests beside native', () => {
    const page = pageOf('paper');
    const words = wordsOf(page);
    const at = words.indexOf('Every message size');
    expect(at).toBeGreaterThan(0);
    // 23 sizes, the last of 4 MiB, with both sides and an interval.
    expect(words.slice(at)).toMatch(/Guest 4K\/4K, 2 cores 1 B [\d.]+ [\d.]+ [\d.]+ [\d.]+ [+−][\d.]+ % \[/);
    expect(words.slice(at)).toMatch(/ 4 MiB [\d.]+ [\d.]+ /);
    for (const machine of ['uml', 'tcg', 'native'] as const) {
      expect(pageOf(machine)).not.toContain('Every message size');
    }
  });

  it('is the same for the same study', () => {
    const study = sampleStudy({ machine: 'uml' });
    expect(renderHtml(study)).toBe(renderHtml(study));
  });

  it('answers first, in sentences', () => {
    const words = wordsOf(pageOf('paper'));
    expect(words).toMatch(
      /HPL in a guest under KVM: no overhead seen in any of 16 comparisons; the largest was \+?[\d.]+ %/,
    );
    expect(words).toMatch(
      /MPIRandomAccess in a guest under KVM: .*overhead in \d+ of 16, from \+[\d.]+ % \[/,
    );
    expect(words.indexOf('HPL in a guest')).toBeLessThan(words.indexOf('Series'));
    const uml = wordsOf(pageOf('uml'));
    expect(uml).toMatch(
      /HPL in a user-mode Linux guest: no overhead seen \([+−]?[\d.]+ % \[[+−]?[\d.]+, [+−]?[\d.]+\]\)\./,
    );
    expect(uml).toContain(umlNote);
  });

  it('says of emulated guests that they say nothing, and gives no verdict on them', () => {
    const study = sampleStudy({ machine: 'tcg' });
    expect(titleOf(study)).toMatch(/emulated timings, which say nothing about virtualization overhead/i);
    const page = renderHtml(study);
    expect(wordsOf(page)).toContain(emulationWarning);
    expect(wordsOf(page)).not.toMatch(withVerdictWords);
    const figures = [...page.matchAll(/<svg.*?<\/svg>/gs)]
      .map(([svg]) => svg)
      .filter((svg) => svg.includes('Guest (tcg)'));
    expect(figures.length).toBeGreaterThan(0);
    for (const svg of figures) expect(svg).toMatch(/>Emulated: guests/);
  });

  it('gives verdicts on the other guests of a study with emulated ones', () => {
    const [uml, tcg] = [sampleStudy({ machine: 'uml' }), sampleStudy({ machine: 'tcg' })];
    const guests = <T extends { cell: { environment: string } }>(list: T[]) =>
      list.filter(({ cell }) => cell.environment === 'tcg');
    const study: Study = {
      head: {
        ...uml.head,
        cells: [...uml.head.cells, ...tcg.head.cells.filter(({ environment }) => environment === 'tcg')],
      },
      samples: [...uml.samples, ...guests(tcg.samples)],
    };
    const page = renderHtml(study);
    const rows = [...page.matchAll(/<tr>(<th scope="row"[^>]*>Guest \((?:uml|tcg)\).*?)<\/tr>/gs)].map(
      ([, row]) => wordsOf(row!),
    );
    const ofTcg = rows.filter((row) => row.includes('Guest (tcg)'));
    expect(ofTcg.some((row) => row.includes(emulationWarning))).toBe(true);
    for (const row of ofTcg) expect(row).not.toMatch(withVerdictWords);
    expect(rows.filter((row) => row.includes('Guest (uml)')).join()).toMatch(withVerdictWords);
    expect(wordsOf(page)).toContain('HPL in a user-mode Linux guest');
    expect(wordsOf(page)).not.toContain('in an emulated guest');
    // The overhead chart has rows of the one only.
    const overheads = [...page.matchAll(/<svg.*?<\/svg>/gs)]
      .map(([svg]) => svg)
      .filter((svg) => svg.includes('>Overhead'));
    expect(overheads.length).toBeGreaterThan(0);
    for (const svg of overheads) expect(svg).not.toMatch(/>Guest \(tcg\)/);
  });

  it('says at the top when there was no guest, and why', () => {
    const words = wordsOf(pageOf('native'));
    expect(words).toMatch(/This study has no guest.*KVM is not usable: a probe guest did not boot.*Verdicts/);
    expect(words).not.toMatch(withVerdictWords);
  });

  it('lays beside a published figure what was measured on its pages alone', () => {
    // User-mode Linux has no huge pages, natively measured or not.
    const words = wordsOf(pageOf('uml'));
    expect(words).toMatch(
      /Guest 2M\/2M against Native 2M about 2.5 % lower rate at each number of cores not measured/,
    );
    expect(wordsOf(pageOf('paper'))).toMatch(/lower rate at each number of cores kvm: [+−][\d.]+ %/);
  });

  it('tells the same of small costs as the terminal', () => {
    const study = sampleStudy({ machine: 'paper' });
    const words = wordsOf(pageOf('paper'));
    const [latency, ...small] = renderValues(study, { width: 200, colour: false })
      .replaceAll('\u202F', ' ')
      .split('\n\n')
      .slice(1);
    // Latency has a figure of its own in the page.
    expect(latency).toContain('PingPong latency');
    const rows = small
      .join('\n')
      .split('\n')
      .filter((line) => line.includes('['));
    expect(rows.length).toBeGreaterThan(3);
    for (const row of rows) {
      const [, middle, interval] = /cores? +([\d. ]+?) +(\[[^\]]*\])/.exec(row)!;
      expect(words).toContain(`${middle} ${interval}`);
    }
  });

  it('lists what was not measured, what failed and what was flagged', () => {
    const words = wordsOf(pageOf('paper'));
    expect(words).toContain('no pool of 1 GiB pages can be made here');
    expect(words).toContain('HPL: the residual check failed');
    expect(words).toContain(`clock-drift: ${flagMeanings['clock-drift']!.replaceAll("'", '&#39;')}`);
    expect(words).toContain('+0.4 ± 0.002 %');
  });

  it('holds what is needed to repeat it', () => {
    const study = sampleStudy({ machine: 'paper' });
    const words = wordsOf(renderHtml(study));
    for (const piece of [
      String(study.head.seed),
      study.head.lodgeVersion,
      study.head.host.kernel,
      study.head.host.cpuModel,
      study.head.sizes.rule,
      'openmpi-bin 4.1.4-3',
      'mpirun -np 8 --bind-to core /usr/bin/hpcc',
      '30 000',
      '2 × 4',
      'repeats: 7',
      '2M 1G, 4K 6M',
    ]) {
      expect(words).toContain(piece);
    }
  });

  it('lays the model of page walks beside what was measured', () => {
    const words = wordsOf(pageOf('paper'));
    expect(words).toMatch(/Guest 2M\/2M 15 3 /);
    expect(words).toMatch(/Guest 4K\/4K 24 6 /);
    expect(words).toMatch(
      /Guest 2M\/2M \(15 references\) was faster than Native 4K \(4\): by [\d.]+ % on 1 core/,
    );
  });

  it('lets no text of a study become part of the page', () => {
    const page = renderHtml(hostileStudy());
    expectSound(page);
    expect(page).not.toContain('<script');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these must not be there
    expect(page).not.toMatch(/[\u0000-\u0008\u001b\u202a-\u202e]/);
    expect(page).toContain('&lt;script&gt;alert(1)&lt;/script&gt;');
  });

  it.each([
    ['no samples', (study: Study): Study => ({ ...study, samples: [] })],
    [
      'one sample of each cell',
      (study: Study): Study => ({
        ...study,
        samples: study.samples.filter(({ repeat, isWarmUp }) => repeat === 0 && !isWarmUp),
      }),
    ],
    [
      'only warm-ups',
      (study: Study): Study => ({ ...study, samples: study.samples.filter(({ isWarmUp }) => isWarmUp) }),
    ],
    [
      'nothing but failures',
      (study: Study): Study => ({
        ...study,
        samples: study.samples.map((sample) => ({
          ...sample,
          outcome: 'failed' as const,
          measured: {},
          error: 'it crashed',
        })),
      }),
    ],
    [
      'values that are no numbers',
      (study: Study): Study => ({
        ...study,
        samples: study.samples.map((sample) => ({
          ...sample,
          measured: Object.fromEntries(Object.keys(sample.measured).map((name) => [name, Number.NaN])),
        })),
      }),
    ],
    [
      'zeros',
      (study: Study): Study => ({
        ...study,
        samples: study.samples.map((sample) => ({
          ...sample,
          measured: Object.fromEntries(Object.keys(sample.measured).map((name) => [name, 0])),
        })),
      }),
    ],
    [
      'no cells at all',
      (study: Study): Study => ({ samples: [], head: { ...study.head, cells: [], notMeasured: [] } }),
    ],
  ])('is whole for %s', (_, change) => {
    for (const machine of ['uml', 'tcg', 'native'] as const)
      expectSound(renderHtml(change(sampleStudy({ machine, repeats: 3 }))));
  });
});

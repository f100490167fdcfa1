import { describe, expect, it } from 'vitest';
import { oneLine } from '../../../src/study/report/answer.ts';
import { bar, renderVerdicts } from '../../../src/study/report/terminal.ts';
import { terminalLook } from '../../../src/study/report/terminal-text.ts';
import { emulationWarning, umlNote } from '../../../src/study/report/warnings.ts';
import { verdictsOf } from '../../../src/study/verdicts.ts';
import { sampleStudy } from '../sample-study.ts';
import { hostileStudy } from './hostile.ts';

const paper = sampleStudy({ machine: 'paper' });
const paperVerdicts = verdictsOf(paper);
const joined = (text: string) => text.replace(/\s+/g, ' ');

describe('a bar', () => {
  it('grows from the middle, to the right when the guest is slower', () => {
    expect(bar(0, 0.02, 9)).toBe('    │    ');
    expect(bar(0.02, 0.02, 9)).toBe('    │████');
    expect(bar(0.01, 0.02, 9)).toBe('    │██  ');
    expect(bar(0.0025, 0.02, 9)).toBe('    │▌   ');
    expect(bar(-0.02, 0.02, 9)).toBe('████│    ');
    expect(bar(-0.0125, 0.02, 9)).toBe(' ▐██│    ');
  });

  it('has its width whatever the number', () => {
    for (const fraction of [undefined, Number.NaN, 0.0199999, 5, -5, 1e-9, -1e-9]) {
      expect([...bar(fraction, 0.02, 9)]).toHaveLength(9);
    }
  });
});

describe('verdicts on a terminal', () => {
  it.each([40, 60, 80, 100, 200])('are no wider than %d columns', (width) => {
    for (const line of renderVerdicts(paper, paperVerdicts, { width, colour: false }).split('\n')) {
      expect([...line].length).toBeLessThanOrEqual(width);
    }
  });

  it('have bars where there is room for them', () => {
    expect(renderVerdicts(paper, paperVerdicts, { width: 100, colour: false })).toContain('│█');
    expect(renderVerdicts(paper, paperVerdicts, { width: 50, colour: false })).not.toContain('│');
  });

  it('are coloured only when asked, and read the same', () => {
    const plain = renderVerdicts(paper, paperVerdicts, { width: 100, colour: false });
    const coloured = renderVerdicts(paper, paperVerdicts, { width: 100, colour: true });
    expect(plain).not.toContain('\u001b');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colours begin with one
    expect(coloured.replace(/\u001b\[\d+m/g, '').replace(/ +$/gm, '')).toBe(plain);
    expect(coloured).toContain('\u001b[33m');
  });

  it('end with all in one line', () => {
    const text = renderVerdicts(paper, paperVerdicts, { width: 400, colour: false });
    expect(text.trimEnd().split('\n').at(-1)).toMatch(
      /^100 compared, no overhead seen in \d+, overhead in \d+ \(at most \+[\d.]+ %\)/,
    );
  });

  it('say nothing of emulated guests but that', () => {
    const study = sampleStudy({ machine: 'tcg' });
    const text = renderVerdicts(study, verdictsOf(study), { width: 80, colour: false });
    expect(joined(text)).toContain(emulationWarning);
    expect(text).not.toMatch(/no overhead seen|▲|%/);
    expect(oneLine(study, verdictsOf(study))).toBe(
      'nothing that is judged was measured in a guest, emulated guests (tcg) are not compared',
    );
  });

  it('say under user-mode Linux what it is not', () => {
    const study = sampleStudy({ machine: 'uml' });
    expect(joined(renderVerdicts(study, verdictsOf(study), { width: 80, colour: false }))).toContain(umlNote);
  });

  it('say when there is no guest, and why', () => {
    const study = sampleStudy({ machine: 'native' });
    const text = joined(renderVerdicts(study, [], { width: 80, colour: false }));
    expect(text).toContain('This study has no guest');
    expect(text).toContain('a probe guest did not boot within 20 s');
  });

  it('let no text of a study steer the terminal', () => {
    const study = hostileStudy();
    const withoutGuest = { ...study, head: { ...study.head, cells: [] }, samples: [] };
    for (const one of [study, withoutGuest]) {
      const text = renderVerdicts(one, verdictsOf(one), { width: 80, colour: false });
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these must not be there
      expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/);
    }
  });
});

describe('the look of a terminal', () => {
  it('is plain and 80 wide where there is none', () => {
    expect(terminalLook({ columns: 200 }, {})).toEqual({ width: 80, colour: false });
  });

  it('is as wide as it is, and coloured unless NO_COLOR says no', () => {
    const stream = { isTTY: true, columns: 132 };
    expect(terminalLook(stream, {})).toEqual({ width: 132, colour: true });
    expect(terminalLook(stream, { NO_COLOR: '1' }).colour).toBe(false);
    expect(terminalLook(stream, { NO_COLOR: '' }).colour).toBe(true);
    expect(terminalLook(stream, { TERM: 'dumb' }).colour).toBe(false);
  });
});

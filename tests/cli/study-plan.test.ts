import { describe, expect, it } from 'vitest';
import { plannedRuns, planText } from '../../src/cli/study-plan.ts';
import { studySpecSchema } from '../../src/study/spec.ts';
import { cell, study } from '../study/studies.ts';

const look = { width: 80, colour: false };
const of = (input: object) => ({
  ...study(
    [cell('micro', 'native'), cell('stream', 'kvm', '4K', '2M')],
    [],
    (['4K', '2M', 'thp', '1G'] as const).flatMap((host) =>
      (['4K', '2M', '1G'] as const).map((own) => ({
        cell: cell('hpcc', 'kvm', own, host),
        reason: 'kvm is not usable here, and why that is so takes more words than a line of a terminal has',
      })),
    ),
  ).head,
  spec: studySpecSchema.parse(input),
  sizes: { rule: 'A rule.', hpl: {}, streamElements: 8, guestMemoryBytes: { 1: 2 ** 30 } },
});

describe('the plan of a study', () => {
  it('fits a terminal, whatever cannot be measured', () => {
    const lines = planText(of({ size: 'quick' }), look).split('\n');
    expect(lines.filter((line) => line.length > look.width)).toEqual([]);
    expect(lines).toContain('runs: 2 cells x (1 to warm up + 5) = 12');
    expect(lines.join(' ').replaceAll(/\s+/g, ' ')).toContain(
      'Guest 1G/1G: hpcc on 1 core kvm is not usable',
    );
  });

  it('counts the runs, where the precision decides between the least and the most', () => {
    const head = of({ size: 'full', repeats: 3, 'warm-ups': 2 });
    expect(plannedRuns(head)).toEqual({ warmUps: 2, leastRepeats: 3, mostRepeats: 20, least: 10, most: 44 });
    expect(planText(head, look)).toContain('\nruns: 2 cells x (2 to warm up + 3 to 20) = 10 to 44\n');
  });
});

import { describe, expect, it } from 'vitest';
import { keyOfCell } from '../../src/study/cells.ts';
import { compareStudies, differencesOf } from '../../src/study/compare.ts';
import type { Study } from '../../src/study/samples.ts';
import { sampleStudy } from './sample-study.ts';

const a = sampleStudy({ machine: 'uml', seed: 1 });

describe('two studies side by side', () => {
  it('find a machine that is 4 % faster, in rates and in times', () => {
    const { compared } = compareStudies(a, sampleStudy({ machine: 'uml', seed: 2, speed: 1.04 }));
    const of = (metric: string) => compared.filter((one) => one.metric === metric);
    for (const { ratio, outcome } of of('hpl-gflops')) {
      expect(ratio!.low).toBeGreaterThan(1.03);
      expect(ratio!.high).toBeLessThan(1.05);
      expect(outcome).toBe('better');
    }
    for (const { ratio, outcome } of of('syscall-ns')) {
      expect(ratio!.estimate).toBeLessThan(1);
      expect(outcome).toBe('better');
    }
    const { compared: other } = compareStudies(a, sampleStudy({ machine: 'uml', seed: 2, speed: 0.96 }));
    expect(
      other.filter(({ metric }) => metric === 'hpl-gflops').every(({ outcome }) => outcome === 'worse'),
    ).toBe(true);
  });

  it('find nothing between a study and itself', () => {
    const { compared, differences, onlyInA, onlyInB } = compareStudies(a, a);
    expect(compared.length).toBeGreaterThan(20);
    for (const { ratio, outcome } of compared) {
      expect(ratio!.estimate).toBeCloseTo(1, 10);
      expect(outcome).toBe('unclear');
    }
    expect([...differences, ...onlyInA, ...onlyInB]).toEqual([]);
  });

  it('tell which cells only one has runs of', () => {
    const paper = sampleStudy({ machine: 'paper' });
    const { compared, onlyInA, onlyInB } = compareStudies(paper, a);
    expect(onlyInA.map(keyOfCell)).toContain('hpcc-c8-kvm-2M_2M-mirror');
    expect(onlyInB.map(keyOfCell)).toContain('hpcc-c1-uml-4K-mirror');
    expect(new Set(compared.map(({ cell }) => cell.environment))).toEqual(new Set(['native']));
  });

  it('count a cell without good runs as not there', () => {
    const failed: Study = {
      ...a,
      samples: a.samples.map((sample) =>
        sample.cell.benchmark === 'hpcc' ? { ...sample, outcome: 'failed' as const, measured: {} } : sample,
      ),
    };
    const { compared, onlyInA } = compareStudies(a, failed);
    expect(compared.some(({ cell }) => cell.benchmark === 'hpcc')).toBe(false);
    expect(onlyInA.every(({ benchmark }) => benchmark === 'hpcc')).toBe(true);
    expect(onlyInA).toHaveLength(5);
  });

  it('call nothing better from two runs', () => {
    const two = sampleStudy({ machine: 'uml', repeats: 2, seed: 3, speed: 2 });
    expect(compareStudies(a, two).compared.every(({ outcome }) => outcome === 'unclear')).toBe(true);
  });

  it('say why there is no ratio', () => {
    const zero: Study = {
      ...a,
      samples: a.samples.map((sample) =>
        sample.cell.benchmark === 'noise' ? { ...sample, measured: { 'noise-percent': 0 } } : sample,
      ),
    };
    const none = compareStudies(a, zero).compared.filter(({ cell }) => cell.benchmark === 'noise');
    for (const { metric, ratio, reason } of none) {
      expect(ratio).toBeUndefined();
      expect(reason).toMatch(metric === 'noise-percent' ? /B runs measured 0/ : /B has no value/);
    }
    expect(none.length).toBeGreaterThan(0);
  });

  it('caution where sizes differ or timings are emulated', () => {
    const b = sampleStudy({ machine: 'uml', seed: 2 });
    b.head.sizes = {
      ...b.head.sizes,
      streamElements: 10_000_000,
      hpl: { ...b.head.sizes.hpl, 1: { n: 5000, nb: 64, p: 1, q: 1 } },
    };
    const { compared } = compareStudies(a, b);
    for (const { cell, cautions } of compared) {
      const differs = cell.benchmark === 'stream' || (cell.benchmark === 'hpcc' && cell.cores === 1);
      expect(cautions).toHaveLength(differs ? 1 : 0);
    }
    const tcg = sampleStudy({ machine: 'tcg' });
    const emulated = compareStudies(tcg, tcg).compared.filter(({ cell }) => cell.environment === 'tcg');
    expect(emulated.length).toBeGreaterThan(0);
    for (const { cautions } of emulated) expect(cautions[0]).toContain('emulated');
  });

  it('are plain JSON', () => {
    const value = compareStudies(a, sampleStudy({ machine: 'paper' }));
    expect(JSON.parse(JSON.stringify(value))).toEqual(value);
  });
});

describe('what differs between two studies', () => {
  it('is told by path, with both values', () => {
    const b: Study = {
      ...a,
      head: {
        ...a.head,
        lodgeVersion: '0.2.0',
        host: { ...a.head.host, kernel: '6.12.9' },
        packages: { hpcc: '1.5.0-4', extra: '1' },
        spec: { ...(a.head.spec as object), repeats: 20 },
      },
    };
    const found = new Map(differencesOf(a, b).map(({ what, ...values }) => [what, values]));
    expect(found.get('host.kernel')).toEqual({ a: '6.1.0-21-amd64', b: '6.12.9' });
    expect(found.get('lodge')).toEqual({ a: '0.1.0', b: '0.2.0' });
    expect(found.get('packages.hpcc')).toEqual({ a: '1.5.0-3', b: '1.5.0-4' });
    expect(found.get('packages.extra')).toEqual({ b: '1' });
    expect(found.get('packages.openmpi-bin')).toEqual({ a: '4.1.4-3' });
    expect(found.get('spec.repeats')).toEqual({ a: '7', b: '20' });
    expect(found.has('host.hostname')).toBe(false);
  });
});

import { describe, expect, it } from 'vitest';
import { keyOfCell } from '../../src/study/cells.ts';
import type { Measured, Sample } from '../../src/study/samples.ts';
import {
  isCellNarrow,
  metricsOf,
  summaryOf,
  sweepVerdicts,
  valuesOf,
  verdictsOf,
} from '../../src/study/verdicts.ts';
import { walkOrdersOf } from '../../src/study/walk-order.ts';
import { cell, sample, study } from './studies.ts';
import { blocks } from './synthetic.ts';

const nativeHpcc = cell('hpcc', 'native', '2M');
const guestHpcc = cell('hpcc', 'kvm', '2M', '2M');

const hpcc = (gflops: number, gups: number): Measured => ({
  'hpl-gflops': gflops,
  'randomaccess-gups': gups,
});

/** Five blocks: HPL the same on both sides, RandomAccess 10 % lower in the guest; each block at its own speed. */
function fiveBlocks(): Sample[] {
  return [1, 1.3, 0.8, 1.1, 0.9].flatMap((speed, repeat) => [
    sample(guestHpcc, repeat, hpcc(10 * speed * (1 + repeat * 1e-4), 0.09 * speed * (1 + repeat * 1e-4))),
    sample(nativeHpcc, repeat, hpcc(10 * speed, 0.1 * speed)),
  ]);
}

describe('verdicts of a study', () => {
  it('are one for each guest cell and metric of its benchmark', () => {
    const verdicts = verdictsOf(study([nativeHpcc, guestHpcc], fiveBlocks()));
    expect(verdicts.map(({ metric, comparison }) => [metric, comparison.verdict.kind])).toEqual([
      ['hpl-gflops', 'none-seen'],
      ['randomaccess-gups', 'overhead'],
    ]);
    expect(verdicts[1]!.comparison.overhead!.estimate).toBeCloseTo(1 / 0.9 - 1, 3);
    expect(verdicts[0]!.native).toEqual(nativeHpcc);
    expect(verdicts[0]!.runs.guest).toEqual({ used: 5, warmUps: 0, failed: 0, without: 0, unpaired: 0 });
  });
  it('pair by the number of the repeat, whatever order the file has', () => {
    const samples = fiveBlocks();
    const order = [7, 2, 9, 0, 5, 4, 1, 8, 3, 6];
    const mixed = verdictsOf(
      study(
        [nativeHpcc, guestHpcc],
        order.map((index) => samples[index]!),
      ),
    );
    expect(mixed).toEqual(verdictsOf(study([nativeHpcc, guestHpcc], samples)));
    // Without pairs the speeds of the blocks would hide both answers.
    expect(mixed[1]!.comparison).toMatchObject({ method: 'pairs', n: 5, verdict: { kind: 'overhead' } });
  });
  it('leave out warm-ups, failed runs and runs without a partner, and count them', () => {
    const wild = hpcc(1, 1);
    const samples = [
      ...fiveBlocks(),
      sample(guestHpcc, 0, wild, { isWarmUp: true }),
      sample(nativeHpcc, 0, wild, { isWarmUp: true }),
      sample(nativeHpcc, 1, wild, { isWarmUp: true, outcome: 'failed' }),
      sample(guestHpcc, 5, {}, { outcome: 'failed', error: 'residual' }),
      sample(nativeHpcc, 5, hpcc(10, 0.1)),
      sample(guestHpcc, 6, { 'hpl-gflops': 10 }),
    ];
    const verdicts = verdictsOf(study([nativeHpcc, guestHpcc], samples));
    expect(verdicts.map(({ runs }) => runs)).toEqual([
      {
        native: { used: 6, warmUps: 2, failed: 0, without: 0, unpaired: 1 },
        guest: { used: 6, warmUps: 1, failed: 1, without: 0, unpaired: 1 },
      },
      {
        native: { used: 6, warmUps: 2, failed: 0, without: 0, unpaired: 1 },
        guest: { used: 5, warmUps: 1, failed: 1, without: 1, unpaired: 0 },
      },
    ]);
    expect(verdicts[0]!.comparison).toMatchObject({ n: 5, native: { n: 6 } });
    expect(valuesOf(study([], samples), guestHpcc, 'hpl-gflops')).toHaveLength(6);
  });
  it('count a repeat that failed and was run again', () => {
    const samples = [
      ...fiveBlocks().filter(({ cell: of, repeat }) => of !== guestHpcc || repeat !== 2),
      sample(guestHpcc, 2, {}, { outcome: 'failed' }),
      sample(guestHpcc, 2, hpcc(8, 0.072)),
    ];
    const [hpl] = verdictsOf(study([nativeHpcc, guestHpcc], samples));
    expect(hpl).toMatchObject({
      comparison: { n: 5, verdict: { kind: 'none-seen' } },
      runs: { guest: { failed: 1 } },
    });
  });
  it('tell the flags of runs that count', () => {
    const samples = fiveBlocks();
    samples[0]!.flags.push('clock-drift', 'pages-not-met');
    samples[2]!.flags.push('clock-drift');
    samples[1]!.flags.push('placement-not-met');
    samples.push(sample(guestHpcc, 9, {}, { outcome: 'failed', flags: ['clock-drift'] }));
    expect(verdictsOf(study([nativeHpcc, guestHpcc], samples))[0]!.flags).toEqual([
      { flag: 'placement-not-met', runs: 1, side: 'native' },
      { flag: 'clock-drift', runs: 2, side: 'guest' },
      { flag: 'pages-not-met', runs: 1, side: 'guest' },
    ]);
  });
  it('say why there is nothing to compare', () => {
    const guestOnly = fiveBlocks().filter(({ cell: of }) => of === guestHpcc);
    const reasonOf = (...input: Parameters<typeof study>) =>
      verdictsOf(study(...input))[0]!.comparison.verdict;
    expect(reasonOf([guestHpcc], guestOnly)).toEqual({
      kind: 'no-ratio',
      reason: 'there are no native runs',
    });
    expect(reasonOf([guestHpcc], guestOnly, [{ cell: nativeHpcc, reason: 'no pool of 2M pages' }])).toEqual({
      kind: 'no-ratio',
      reason: 'native was not measured: no pool of 2M pages',
    });
    const failed = sample(nativeHpcc, 0, {}, { outcome: 'failed' });
    expect(reasonOf([guestHpcc], [...guestOnly, failed])).toMatchObject({
      reason: 'all 1 native runs failed',
    });
    const empty = sample(nativeHpcc, 0, {});
    expect(reasonOf([guestHpcc], [...guestOnly, empty])).toMatchObject({
      reason: 'no native run gave a value',
    });
    expect(verdictsOf(study([guestHpcc], guestOnly))[0]!.comparison.guest).toMatchObject({ n: 5 });
  });
  it('take no value of another kind than a number for one', () => {
    const samples = fiveBlocks();
    (samples[0]!.measured as Record<string, unknown>)['hpl-gflops'] = null;
    expect(verdictsOf(study([guestHpcc], samples))[0]).toMatchObject({
      runs: { guest: { without: 1 } },
      comparison: { n: 4 },
    });
  });
  it('name what an accelerator makes of timings', () => {
    const cells = [cell('hpcc', 'uml'), cell('hpcc', 'tcg'), cell('hpcc', 'kvm')];
    expect(verdictsOf(study(cells, [])).flatMap(({ caveats }) => caveats)).toEqual([
      'paging-not-nested',
      'paging-not-nested',
      'timings-emulated',
      'timings-emulated',
    ]);
  });
  it('judge by other tolerances when told to, and tell what has none', () => {
    const made = study([nativeHpcc, guestHpcc], fiveBlocks());
    const kinds = verdictsOf(made, { tolerances: { 'randomaccess-gups': 0.2 } }).map(
      (one) => one.comparison.verdict.kind,
    );
    expect(kinds).toEqual(['none-seen', 'none-seen']);
    const [micro, nativeMicro] = [cell('micro', 'uml'), cell('micro', 'native')];
    const samples = [0, 1, 2].flatMap((repeat) => [
      sample(micro, repeat, { 'syscall-ns': 3000 + repeat, 'page-fault-ns': 9000 }),
      sample(nativeMicro, repeat, { 'syscall-ns': 100, 'page-fault-ns': 1000 }),
    ]);
    expect(verdictsOf(study([micro], samples)).map((one) => one.comparison.verdict.kind)).toEqual([
      'told',
      'told',
    ]);
  });
  it('are the same each time, and do not depend on the other cells', () => {
    const made = study([nativeHpcc, guestHpcc], fiveBlocks());
    const alone = verdictsOf(made);
    expect(verdictsOf(made)).toEqual(alone);
    const withOther = study([cell('stream', 'kvm'), guestHpcc], made.samples);
    expect(verdictsOf(withOther).filter((one) => one.cell === guestHpcc)).toEqual(alone);
  });
  it('are had of thousands of samples', () => {
    const cells = [1, 2, 4, 8].flatMap((cores) => [
      cell('stream', 'native', '4K', undefined, cores),
      ...(['4K', '2M', '1G', 'thp'] as const).map((host) => cell('stream', 'kvm', '4K', host, cores)),
    ]);
    const samples = cells.flatMap((of, index) =>
      blocks(100, { seed: index }).native.map((value, repeat) =>
        sample(of, repeat, Object.fromEntries(metricsOf(of).map((metric) => [metric, value]))),
      ),
    );
    expect(samples).toHaveLength(2000);
    const verdicts = verdictsOf(study(cells, samples), { resamples: 1000 });
    expect(verdicts).toHaveLength(16 * 4);
    expect(new Set(verdicts.map(({ comparison }) => comparison.n))).toEqual(new Set([100]));
  });
});

describe('verdicts of a sweep', () => {
  const [native, guest] = [cell('pingpong', 'native'), cell('pingpong', 'uml')];
  const sweep = (factor: number, sizes = [8, 1024]) => ({
    'pingpong-sweep': sizes.map((messageBytes) => ({
      messageBytes,
      latencyUs: factor * (1 + messageBytes / 1000),
      bandwidthMBps: messageBytes / (factor * (1 + messageBytes / 1000)),
    })),
  });
  it('are had point by point, and read the same for latency and bandwidth', () => {
    const samples = [0, 1, 2].flatMap((repeat) => [
      sample(native, repeat, sweep(1 + repeat)),
      sample(guest, repeat, sweep((1 + repeat) * 1.5, repeat === 0 ? [8] : [1024, 8])),
    ]);
    const verdicts = sweepVerdicts(study([native, guest], samples));
    expect(
      verdicts.map((one) => [
        one.sweep,
        one.quantity,
        one.messageBytes,
        one.comparison.n,
        one.comparison.overhead!.estimate.toFixed(6),
      ]),
    ).toEqual([
      ['pingpong-sweep', 'latencyUs', 8, 3, '0.500000'],
      ['pingpong-sweep', 'latencyUs', 1024, 2, '0.500000'],
      ['pingpong-sweep', 'bandwidthMBps', 8, 3, '0.500000'],
      ['pingpong-sweep', 'bandwidthMBps', 1024, 2, '0.500000'],
    ]);
    expect(verdicts.every(({ comparison }) => comparison.verdict.kind === 'told')).toBe(true);
    expect(verdicts[1]!.runs.guest).toMatchObject({ used: 2, without: 1 });
  });
  it('are none where nothing was swept', () => {
    expect(sweepVerdicts(study([nativeHpcc, guestHpcc], fiveBlocks()))).toEqual([]);
  });
});

describe('the summary', () => {
  it('counts kinds, and how many intervals chance alone makes miss', () => {
    const cells = [nativeHpcc, guestHpcc, cell('boot', 'kvm')];
    const summary = summaryOf(verdictsOf(study(cells, fiveBlocks())));
    expect(summary.counts).toEqual({
      'none-seen': 1,
      overhead: 1,
      faster: 0,
      'not-decided': 0,
      told: 0,
      'no-ratio': 1,
    });
    expect(summary.withInterval).toBe(2);
    expect(summary.expectedMisses).toBeCloseTo(0.1, 10);
  });
});

describe('whether a cell is known well enough', () => {
  const of = (samples: Sample[]) => study([nativeHpcc, guestHpcc], samples);
  it('is asked of the ratio for guests, and of the values for native', () => {
    const made = of(fiveBlocks());
    expect(isCellNarrow(made, guestHpcc, 0.01)).toBe(true);
    expect(isCellNarrow(made, nativeHpcc, 0.01)).toBe(false);
    expect(isCellNarrow(made, nativeHpcc, 0.5)).toBe(true);
  });
  it('is not so before there are runs', () => {
    expect(isCellNarrow(of([]), guestHpcc, 0.5)).toBe(false);
    expect(isCellNarrow(of(fiveBlocks().slice(0, 4)), guestHpcc, 0.5)).toBe(false);
  });
  it('is a matter of the number of runs alone where nothing is judged', () => {
    const boot = cell('boot', 'uml');
    const samples = [500, 900, 100].map((ms, repeat) => sample(boot, repeat, { 'boot-ms': ms }));
    expect(isCellNarrow(study([boot], samples), boot, 0.01)).toBe(true);
    expect(isCellNarrow(study([boot], samples.slice(1)), boot, 0.01)).toBe(false);
  });
});

describe('the order of RandomAccess', () => {
  it('is compared with the predicted one for each number of cores', () => {
    const native4K = cell('hpcc', 'native', '4K');
    const rates = new Map([
      [nativeHpcc, 0.1],
      [guestHpcc, 0.0975],
      [native4K, 0.07],
    ]);
    const twoCores = { ...native4K, cores: 2 };
    const samples = [...rates].flatMap(([one, rate]) =>
      [0, 1, 2, 3].map((repeat) => sample(one, repeat, hpcc(10, rate * (1 + repeat * 1e-4)))),
    );
    const cells = [
      twoCores,
      guestHpcc,
      native4K,
      nativeHpcc,
      cell('hpcc', 'tcg', '4K', '4K'),
      cell('stream', 'kvm'),
    ];
    const orders = walkOrdersOf(study(cells, samples));
    expect(orders.map(({ cores, measured }) => [cores, measured.length])).toEqual([
      [1, 3],
      [2, 0],
    ]);
    const [one] = orders;
    expect(one!.predicted.map(({ references }) => references)).toEqual([3, 4, 15]);
    expect(one!.measured.map(({ series }) => keyOfCell({ ...nativeHpcc, ...series }))).toEqual(
      [nativeHpcc, guestHpcc, native4K].map(keyOfCell),
    );
    expect(one!.check).toMatchObject({ pairs: 3, confirmed: 2, overlapping: 0 });
    expect(one!.check.departures).toMatchObject([{ fasterReferences: 15, slowerReferences: 4 }]);
  });
  it('proves nothing from single runs', () => {
    const samples = [sample(nativeHpcc, 0, hpcc(1, 0.1)), sample(guestHpcc, 0, hpcc(1, 0.2))];
    expect(walkOrdersOf(study([nativeHpcc, guestHpcc], samples))[0]).toMatchObject({
      measured: [],
      check: { pairs: 0 },
    });
  });
});

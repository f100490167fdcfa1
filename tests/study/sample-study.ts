/**
 * MADE-UP studies for tests of reports. No number here was measured anywhere; they only look as a study of the
 * paper's machine, of a machine with user-mode Linux, of one with emulation and of one without any guest would.
 */

import {
  type BenchmarkName,
  benchmarkNames,
  type Cell,
  type Environment,
  nameOfPages,
  type PageSize,
  type Pages,
} from '../../src/study/cells.ts';
import type { Measured, NotMeasured, Sample, Study, SweepPoint } from '../../src/study/samples.ts';

export interface SampleStudyOptions {
  /** `paper`: six series of KVM on 8 cores; `uml`, `tcg`: one core of each; `native`: no guest at all. */
  machine: 'paper' | 'uml' | 'tcg' | 'native';
  repeats?: number;
  seed?: number;
  /** How much faster this machine is than the made-up one of speed 1. */
  speed?: number;
}

/** The same options give the same study. */
export function sampleStudy({ machine, repeats = 7, seed = 20101, speed = 1 }: SampleStudyOptions): Study {
  const random = randomNumbers(seed);
  const cells = cellsOf(machine);
  const samples = cells.flatMap((cell) => {
    const runs = [sampleOf(cell, 0, true, random, speed)];
    for (let repeat = 0; repeat < repeats; repeat++) runs.push(sampleOf(cell, repeat, false, random, speed));
    return runs;
  });
  spoil(samples);
  const is8 = machine === 'paper';
  return {
    head: {
      format: 1,
      id: `sample-${machine}`,
      createdAt: '2031-03-01T08:00:00.000Z',
      spec: { benchmarks: benchmarkNames, repeats, precision: 0.005, cores: is8 ? [1, 2, 4, 8] : [1, 2] },
      seed,
      lodgeVersion: '0.1.0',
      host: {
        hostname: is8 ? 'n01' : 'small',
        cpuModel: is8 ? 'Made-up CPU X5570 @ 2.93GHz' : 'Made-up CPU with two cores',
        sockets: is8 ? 2 : 1,
        numaNodes: is8 ? 2 : 1,
        cores: is8 ? 8 : 2,
        threads: is8 ? 8 : 2,
        memoryBytes: 24 * 2 ** 30,
        kernel: '6.1.0-21-amd64',
        distribution: 'Debian GNU/Linux 12 (bookworm)',
        ...(is8 ? {} : { virtualization: 'kvm' }),
      },
      cells,
      notMeasured: notMeasuredOf(machine),
      sizes: {
        rule: 'N is the largest multiple of NB whose matrix takes at most 0.6 of the memory, at most that of the paper',
        hpl: {
          1: { n: 10_000, nb: 192, p: 1, q: 1 },
          2: { n: 15_000, nb: 192, p: 1, q: 2 },
          ...(is8 ? { 4: { n: 20_000, nb: 192, p: 2, q: 2 }, 8: { n: 30_000, nb: 192, p: 2, q: 4 } } : {}),
        },
        streamElements: 80_000_000,
        guestMemoryBytes: {
          1: 4 * 2 ** 30,
          2: 8 * 2 ** 30,
          ...(is8 ? { 4: 12 * 2 ** 30, 8: 20 * 2 ** 30 } : {}),
        },
      },
      packages: { hpcc: '1.5.0-3', 'libopenblas0-pthread': '0.3.21+ds-4', 'openmpi-bin': '4.1.4-3' },
    },
    samples,
  };
}

function cellsOf(machine: SampleStudyOptions['machine']): Cell[] {
  const cells: Cell[] = [];
  const cores = machine === 'paper' ? [1, 2, 4, 8] : [1, 2];
  const native: Pages[] = [{ own: '2M' }, { own: '4K' }];
  for (const benchmark of benchmarkNames) {
    for (const count of coresOf(benchmark, cores)) {
      if (benchmark !== 'boot') {
        for (const pages of native) {
          cells.push({ benchmark, cores: count, environment: 'native', pages, placement: 'mirror' });
        }
      }
      if (machine === 'paper') {
        const sizes: PageSize[] = ['2M', '4K'];
        for (const host of sizes) {
          for (const own of sizes) {
            cells.push({
              benchmark,
              cores: count,
              environment: 'kvm',
              pages: { host, own },
              placement: 'mirror',
            });
          }
        }
      }
      if ((machine === 'uml' || machine === 'tcg') && count === 1 && benchmark !== 'pingpong') {
        cells.push({ benchmark, cores: 1, environment: machine, pages: { own: '4K' }, placement: 'mirror' });
      }
    }
  }
  return cells;
}

function coresOf(benchmark: BenchmarkName, all: readonly number[]): readonly number[] {
  if (benchmark === 'pingpong') return [2];
  return benchmark === 'hpcc' || benchmark === 'stream' ? all : [1];
}

function notMeasuredOf(machine: SampleStudyOptions['machine']): NotMeasured[] {
  const hpl = { benchmark: 'hpcc', cores: 1, placement: 'mirror' } as const;
  const noPool = 'no pool of 1 GiB pages can be made here (the CPU has no pdpe1gb)';
  if (machine === 'paper') {
    return [
      { cell: { ...hpl, environment: 'kvm', pages: { host: '1G', own: '2M' } }, reason: noPool },
      { cell: { ...hpl, environment: 'kvm', pages: { host: '1G', own: '4K' } }, reason: noPool },
    ];
  }
  const noKvm = 'KVM is not usable: a probe guest did not boot within 20 s';
  return [
    { cell: { ...hpl, environment: 'kvm', pages: { host: '2M', own: '2M' } }, reason: noKvm },
    { cell: { ...hpl, environment: 'kvm', pages: { host: '4K', own: '4K' } }, reason: noKvm },
    ...(machine === 'uml'
      ? [
          {
            cell: { ...hpl, cores: 2, environment: 'uml', pages: { own: '4K' } } as const,
            reason: 'user-mode Linux has one vCPU',
          },
        ]
      : []),
  ];
}

function sampleOf(
  cell: Cell,
  repeat: number,
  isWarmUp: boolean,
  random: () => number,
  speed: number,
): Sample {
  // The sum of uniform numbers is near enough to a bell for a drawing.
  const noise = (spread: number) => 1 + spread * (random() + random() + random() + random() - 2);
  const measured = measuredOf(cell, noise, speed * (isWarmUp ? 0.8 : 1));
  const usedBytes = 2 ** 30;
  const has = (size: PageSize | undefined) => ({
    hugetlbBytes: size === '2M' || size === '1G' ? usedBytes : 0,
    transparentBytes: size === 'thp' ? usedBytes : 0,
    smallBytes: size === '4K' ? usedBytes : 6 * 2 ** 20,
  });
  return {
    format: 1,
    cell,
    repeat,
    isWarmUp,
    startedAt: new Date(Date.UTC(2031, 2, 1, 8) + Math.round(random() * 3.6e6)).toISOString(),
    elapsedMs: 30_000 + Math.round(random() * 20_000),
    outcome: 'ok',
    measured,
    found: {
      cpus: Array.from({ length: cell.cores }, (_, i) => i),
      ownPages: has(cell.pages.own),
      ...(cell.environment === 'native'
        ? {}
        : {
            hostPages: has(cell.pages.host ?? '4K'),
            guestKernel: '6.1.0-21-amd64',
            clockDrift: { fraction: 1e-5, uncertainty: 2e-5 },
          }),
    },
    argv: ['mpirun', '-np', String(cell.cores), '--bind-to', 'core', `/usr/bin/${cell.benchmark}`],
    flags: [],
  };
}

/** Time for the same work, native = 1: small for what computes, larger for walks through small pages. */
const walkFactor: Record<string, number> = {
  '2M': 1,
  '4K': 1.28,
  '2M/2M': 1.025,
  '2M/4K': 1.42,
  '4K/2M': 1.19,
  '4K/4K': 1.6,
};
const environmentFactor: Record<Environment, number> = { native: 1, kvm: 1.001, uml: 1.004, tcg: 14 };

function measuredOf(
  { benchmark, cores, environment, pages }: Cell,
  noise: (spread: number) => number,
  speed: number,
): Measured {
  const slow = environmentFactor[environment] / speed;
  const walk = walkFactor[nameOfPages(pages)] ?? 1.3;
  switch (benchmark) {
    case 'hpcc':
      return {
        'hpl-gflops': (10.6 * cores ** 0.95 * noise(0.002)) / slow,
        'randomaccess-gups': (0.0145 * cores ** 0.8 * noise(0.006)) / walk / slow,
      };
    case 'stream': {
      const top = (11_500 * cores) / (1 + cores / 4.2) / slow;
      return {
        'stream-copy-mbps': top * 0.97 * noise(0.006),
        'stream-scale-mbps': top * 0.95 * noise(0.006),
        'stream-add-mbps': top * 1.02 * noise(0.006),
        'stream-triad-mbps': top * 1.03 * noise(0.006),
      };
    }
    case 'pingpong': {
      const sweep: SweepPoint[] = [];
      for (let power = 0; power <= 22; power++) {
        const messageBytes = 2 ** power;
        const unsteady = environment === 'native' ? 0.02 : messageBytes < 4096 ? 0.12 : 0.03;
        const latencyUs =
          (0.62 + (messageBytes > 65_536 ? 2 : 0) + messageBytes / 4200) * slow * noise(unsteady);
        sweep.push({ messageBytes, latencyUs, bandwidthMBps: messageBytes / latencyUs });
      }
      return {
        'pingpong-latency-us': sweep[3]!.latencyUs,
        'pingpong-bandwidth-mbps': Math.max(...sweep.map(({ bandwidthMBps }) => bandwidthMBps)),
        'pingpong-sweep': sweep,
      };
    }
    case 'micro':
      return {
        'syscall-ns': (environment === 'uml' ? 2600 : 92) * slow * noise(0.02),
        'page-fault-ns':
          (environment === 'uml' ? 9000 : environment === 'kvm' ? 910 : 540) * slow * noise(0.03),
      };
    case 'noise':
      return { 'noise-percent': 0.02 * slow * noise(0.3), 'noise-max-us': 34 * slow * noise(0.4) };
    case 'boot':
      return {
        'boot-ms': (environment === 'uml' ? 900 : 620) * noise(0.1) * (environment === 'tcg' ? 8 : 1),
      };
  }
}

/** What happens to real studies: a run that fails, one that is far off, one whose clock ran away. */
function spoil(samples: Sample[]): void {
  const failed = samples.find(({ isWarmUp, repeat }) => !isWarmUp && repeat === 2);
  if (failed !== undefined) {
    failed.outcome = 'failed';
    failed.measured = {};
    failed.error =
      'HPL: the residual check failed (||Ax-b|| = 31.4 > 16.0) <script>alert("residual")</script>';
  }
  const farOff = samples.find(
    ({ isWarmUp, repeat, cell }) => !isWarmUp && repeat === 3 && cell.benchmark === 'stream',
  );
  if (farOff !== undefined) {
    const triad = Number(farOff.measured['stream-triad-mbps']) * 0.82;
    farOff.measured = { ...farOff.measured, 'stream-triad-mbps': triad };
  }
  const drifted = samples.find(
    ({ isWarmUp, repeat, cell }) => !isWarmUp && repeat === 1 && cell.environment !== 'native',
  );
  if (drifted !== undefined) {
    drifted.found = { ...drifted.found, clockDrift: { fraction: 0.004, uncertainty: 2e-5 } };
    drifted.flags = ['clock-drift'];
  }
}

/** Numbers from 0 to 1 that are the same for the same seed (a linear congruence; Numerical Recipes' constants). */
function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

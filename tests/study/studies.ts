/** Studies made up for tests, with only what verdicts read. */

import type { Cell, Environment, PageSize } from '../../src/study/cells.ts';
import type { Measured, NotMeasured, Sample, Study } from '../../src/study/samples.ts';

export function cell(
  benchmark: Cell['benchmark'],
  environment: Environment,
  own: PageSize = '4K',
  host?: PageSize,
  cores = 1,
): Cell {
  return {
    benchmark,
    cores,
    environment,
    pages: { own, ...(host === undefined ? {} : { host }) },
    placement: 'mirror',
  };
}

export function sample(of: Cell, repeat: number, measured: Measured, more: Partial<Sample> = {}): Sample {
  return {
    format: 1,
    cell: of,
    repeat,
    isWarmUp: false,
    startedAt: '2024-01-01T00:00:00Z',
    elapsedMs: 1000,
    outcome: 'ok',
    measured,
    found: { cpus: [] },
    argv: ['benchmark'],
    flags: [],
    ...more,
  };
}

export function study(cells: Cell[], samples: Sample[], notMeasured: NotMeasured[] = [], seed = 1): Study {
  return {
    head: {
      format: 1,
      id: 'made-up',
      createdAt: '2024-01-01T00:00:00Z',
      spec: {},
      seed,
      lodgeVersion: '0.0.0',
      host: {
        hostname: 'h',
        cpuModel: 'c',
        sockets: 1,
        numaNodes: 1,
        cores: 2,
        threads: 2,
        memoryBytes: 2 ** 34,
        kernel: '6.1',
        distribution: 'd',
      },
      cells,
      notMeasured,
      sizes: { rule: '', hpl: {}, streamElements: 1, guestMemoryBytes: {} },
      packages: {},
    },
    samples,
  };
}

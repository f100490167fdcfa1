/** What is written down of a study: its head (`study.json`) and one sample a line (`results.jsonl`). */

import { type Cell, keyOfCell } from './cells.ts';

/** Metrics by name; a metric of a sweep is a list of points. Names and units are in {@link metrics}. */
export type Measured = Record<string, number | readonly SweepPoint[]>;

/** PingPong at one message size. */
export interface SweepPoint {
  messageBytes: number;
  /** Half of the round trip. */
  latencyUs: number;
  bandwidthMBps: number;
}

export interface Metric {
  /** For people: `HPL`. */
  title: string;
  unit: string;
  /** Whether more is better. */
  isRate: boolean;
  benchmark: Cell['benchmark'];
  /** The largest overhead that still counts as none, as a fraction; none for what is only told. */
  tolerance?: number;
}

/** All metrics that studies compare. Tolerances are those of the paper's claims. */
export const metrics = {
  'hpl-gflops': { title: 'HPL', unit: 'GFLOPS', isRate: true, benchmark: 'hpcc', tolerance: 0.01 },
  'randomaccess-gups': {
    title: 'MPIRandomAccess',
    unit: 'GUP/s',
    isRate: true,
    benchmark: 'hpcc',
    tolerance: 0.03,
  },
  'stream-copy-mbps': {
    title: 'STREAM copy',
    unit: 'MB/s',
    isRate: true,
    benchmark: 'stream',
    tolerance: 0.01,
  },
  'stream-scale-mbps': {
    title: 'STREAM scale',
    unit: 'MB/s',
    isRate: true,
    benchmark: 'stream',
    tolerance: 0.01,
  },
  'stream-add-mbps': {
    title: 'STREAM add',
    unit: 'MB/s',
    isRate: true,
    benchmark: 'stream',
    tolerance: 0.01,
  },
  'stream-triad-mbps': {
    title: 'STREAM triad',
    unit: 'MB/s',
    isRate: true,
    benchmark: 'stream',
    tolerance: 0.01,
  },
  'pingpong-latency-us': { title: 'PingPong latency, 8 B', unit: 'us', isRate: false, benchmark: 'pingpong' },
  'pingpong-bandwidth-mbps': {
    title: 'PingPong bandwidth, best',
    unit: 'MB/s',
    isRate: true,
    benchmark: 'pingpong',
    tolerance: 0.01,
  },
  'syscall-ns': { title: 'System call', unit: 'ns', isRate: false, benchmark: 'micro' },
  'page-fault-ns': { title: 'Page fault', unit: 'ns', isRate: false, benchmark: 'micro' },
  'noise-percent': { title: 'OS noise', unit: '% of the time', isRate: false, benchmark: 'noise' },
  'noise-max-us': { title: 'Longest interruption', unit: 'us', isRate: false, benchmark: 'noise' },
  'boot-ms': { title: 'Boot to ready', unit: 'ms', isRate: false, benchmark: 'boot' },
} as const satisfies Record<string, Metric>;

export type MetricName = keyof typeof metrics;

/** What was really there while a benchmark ran, measured and not believed. */
export interface Found {
  /** Most memory of the benchmark's processes seen in each kind of page, in the environment it ran in. */
  ownPages?: { hugetlbBytes: number; transparentBytes: number; smallBytes: number };
  /** Memory of the guest in each kind of page on the host. */
  hostPages?: { hugetlbBytes: number; transparentBytes: number; smallBytes: number };
  /** pCPUs that the benchmark (native) or the vCPUs (guest) ran on; empty when not pinned. */
  cpus: number[];
  /** How much faster (+) the guest's clock ran than the host's, as a fraction, and how far that can be trusted. */
  clockDrift?: { fraction: number; uncertainty: number };
  guestKernel?: string;
}

/** One run of one cell. A line of `results.jsonl`. */
export interface Sample {
  format: 1;
  cell: Cell;
  /** Counted from 0 within the cell; warm-ups count from 0 by themselves. */
  repeat: number;
  /** Run to warm up, and left out of all statistics. */
  isWarmUp: boolean;
  /** ISO 8601, UTC. */
  startedAt: string;
  elapsedMs: number;
  outcome: 'ok' | 'failed';
  measured: Measured;
  found: Found;
  /** The command as it was run in its environment, and its input. */
  argv: string[];
  /** Why it failed, for `failed`. */
  error?: string;
  /** Flags of a run that is kept and told; judge-run.ts says what they mean. */
  flags: string[];
}

/** A text that is different for different runs of a study. */
export function keyOfRun({ cell, isWarmUp, repeat }: Pick<Sample, 'cell' | 'isWarmUp' | 'repeat'>): string {
  return `${keyOfCell(cell)} ${isWarmUp ? 'w' : 'r'}${repeat}`;
}

/** A cell that this machine cannot give, and why. */
export interface NotMeasured {
  cell: Cell;
  reason: string;
}

/** `study.json`: what the study is of. Written once; a study that goes on must find the same. */
export interface StudyHead {
  format: 1;
  id: string;
  createdAt: string;
  /** The spec, completed with defaults. */
  spec: unknown;
  seed: number;
  lodgeVersion: string;
  /** Where the programs come from, natively and in guests; the host itself when absent. */
  image?: StudyImage;
  host: HostDescription;
  /** In the order in which blocks run them is a matter of the seed; here they are in the design's order. */
  cells: Cell[];
  notMeasured: NotMeasured[];
  /** Sizes of the benchmarks by number of cores, and the rule that made them. */
  sizes: StudySizes;
  /** Versions of the packages that the benchmarks come from, by name. */
  packages: Record<string, string>;
}

export interface StudyImage {
  /** As it was asked for: a name in the store, or a path. */
  name: string;
  /** Of its content; a name may come to mean another image. */
  id: string;
}

export interface StudySizes {
  rule: string;
  /** HPL's order of the matrix, block size and process grid, by cores. */
  hpl: Record<number, { n: number; nb: number; p: number; q: number }>;
  /** Elements of each of STREAM's three arrays. */
  streamElements: number;
  /** Round trips of PingPong at each message size; absent where NetPIPE chooses them, for half a second each. */
  pingpongRepeats?: number;
  /** Memory of a guest, by cores. */
  guestMemoryBytes: Record<number, number>;
}

export interface HostDescription {
  hostname: string;
  cpuModel: string;
  sockets: number;
  numaNodes: number;
  cores: number;
  threads: number;
  memoryBytes: number;
  kernel: string;
  distribution: string;
  virtualization?: string;
}

/** A study as read from its directory. */
export interface Study {
  head: StudyHead;
  samples: Sample[];
  /** Lines of `results.jsonl`, counted from 1, that could not be read. */
  unreadableLines?: number[];
  /** Lines of a run that an earlier line has already. */
  repeatedLines?: number[];
}

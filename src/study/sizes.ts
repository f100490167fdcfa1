/** How large the benchmarks are: the paper's sizes, scaled to a machine by a rule that the report shows. Pure. */

import { LodgeError } from '../errors.ts';
import { formatSize } from '../units.ts';
import type { BenchmarkName } from './cells.ts';
import type { StudySizes } from './samples.ts';

export interface SizesInput {
  size: 'quick' | 'full';
  /** Those that are asked for: the rule speaks of these, and guests are large enough for these. */
  benchmarks: readonly BenchmarkName[];
  cores: readonly number[];
  /** What one run may take, the guest around it included. */
  budgetBytes: number;
  /** Of the largest last-level cache; STREAM's arrays must be four times as large as all of them together. */
  lastLevelCachesBytes: number;
}

/** HPL's orders of the matrix in the paper (section 4.3), by cores. */
const paperOrders: Readonly<Record<number, number>> = { 1: 10_000, 2: 15_000, 4: 20_000, 8: 30_000 };

/** Elements of each of STREAM's arrays in the paper (section 4.4). */
const paperElements = 80_000_000;

const quickOrder = 2000;
/** Also where caches ask for more, with gigabytes of them as hypervisors tell of: it would take the minutes of all. */
const quickElements = 8_000_000;
const quickRoundTrips = 100;

/** A block size that suits OpenBLAS's kernels on x86-64, and divides the orders' steps. */
const blockSize = 192;

/** What a guest's kernel, page tables, file cache and MPI take beside the benchmark. */
const guestExtraBytes = 448 * 2 ** 20;

/** HPCC holds, beside the matrix, its copies for PTRANS and the buffers of its parts. */
const matrixShare = 1.35;

const leastOrder = 960;

/** Memory of the benchmarks that have no size to choose. */
const smallWorkBytes = 64 * 2 ** 20;

/** A part of the rule, and the sizes it made. */
interface Chosen<T> {
  rules: string[];
  chosen: T;
}

/**
 * Chooses sizes.
 * @throws LodgeError `not-enough-memory` when not even the least sizes fit
 */
export function planSizes(input: SizesInput): StudySizes {
  const { size, cores, benchmarks, budgetBytes } = input;
  const room = budgetBytes - guestExtraBytes;
  const hasHpl = benchmarks.includes('hpcc');
  const hasStream = benchmarks.includes('stream');
  const leastBytes = hasHpl ? Math.ceil(8 * leastOrder ** 2 * matrixShare) : smallWorkBytes;
  if (!(room >= leastBytes)) {
    throw new LodgeError(
      'not-enough-memory',
      `the benchmarks need ${formatSize(leastBytes + guestExtraBytes)} at the least, ` +
        `and a run may take ${formatSize(Math.max(0, Math.floor(budgetBytes)))}`,
      { fix: 'free memory, get a job with more, or raise memory-share' },
    );
  }
  const hpl = hplSizes(input, room);
  const stream = streamSize(input, room);
  const rules = [...(hasHpl ? hpl.rules : []), ...(hasStream ? stream.rules : [])];
  if (size === 'quick' && benchmarks.includes('pingpong')) {
    rules.push(`PingPong makes ${quickRoundTrips} round trips at each size`);
  }
  if (rules.length === 0) rules.push('what is measured has one size');
  const guestMemoryBytes: StudySizes['guestMemoryBytes'] = {};
  for (const count of cores) {
    const work = Math.max(
      smallWorkBytes,
      hasHpl ? 8 * hpl.chosen[count]!.n ** 2 * matrixShare : 0,
      hasStream ? stream.chosen * 8 * 3 * 1.05 : 0,
    );
    guestMemoryBytes[count] = roundUp(work + guestExtraBytes, 256 * 2 ** 20);
  }
  return {
    rule: `${rules.join('; ')}.`,
    hpl: hasHpl ? hpl.chosen : {},
    streamElements: stream.chosen,
    ...(size === 'quick' ? { pingpongRepeats: quickRoundTrips } : {}),
    guestMemoryBytes,
  };
}

function hplSizes({ size, cores, budgetBytes }: SizesInput, room: number): Chosen<StudySizes['hpl']> {
  const largest = Math.floor(Math.sqrt(room / (8 * matrixShare)) / blockSize) * blockSize;
  const rules = [
    size === 'full'
      ? "HPL's order as in the paper (10000, 15000, 20000, 30000 for 1, 2, 4, 8 cores; 10000 × √cores for others)"
      : `HPL's order ${quickOrder} × √cores`,
  ];
  const chosen: StudySizes['hpl'] = {};
  const cut: number[] = [];
  for (const count of cores) {
    const wanted = wantedOrder(size, count);
    if (wanted > largest) cut.push(count);
    chosen[count] = { n: Math.min(wanted, largest), nb: blockSize, ...processGrid(count) };
  }
  if (cut.length > 0) {
    rules.push(
      `cut to ${largest} for ${cut.join(', ')} cores, so that ${matrixShare} × 8 N² bytes and ` +
        `${formatSize(guestExtraBytes)} for a guest's own fit in ${formatSize(Math.floor(budgetBytes))}`,
    );
  }
  return { rules, chosen };
}

function streamSize({ size, lastLevelCachesBytes }: SizesInput, room: number): Chosen<number> {
  const leastElements = Math.ceil((4 * lastLevelCachesBytes) / 8);
  const fittingElements = Math.floor(room / (3 * 8 * 1.05));
  const wanted = size === 'full' ? Math.max(paperElements, leastElements) : quickElements;
  const chosen = Math.min(wanted, fittingElements);
  const parts = [`STREAM's arrays have ${chosen} elements each`];
  if (size === 'full')
    parts.push(chosen === paperElements ? 'as in the paper' : `${paperElements} in the paper`);
  if (chosen < wanted) parts.push('as many as fit');
  parts.push(
    chosen < leastElements
      ? `less than the ${leastElements} that four times the last-level caches take: caches may serve a part`
      : 'at least four times the last-level caches',
  );
  return { chosen, rules: [parts.join(', ')] };
}

function wantedOrder(size: 'quick' | 'full', cores: number): number {
  if (size === 'quick') return Math.round((quickOrder * Math.sqrt(cores)) / blockSize) * blockSize;
  return paperOrders[cores] ?? Math.round((10_000 * Math.sqrt(cores)) / 1000) * 1000;
}

/** The most nearly square grid of processes, columns not fewer than rows (paper, section 4.3). */
export function processGrid(cores: number): { p: number; q: number } {
  let p = Math.floor(Math.sqrt(cores));
  while (cores % p !== 0) p--;
  return { p, q: cores / p };
}

/** Memory that a benchmark itself takes at these sizes, for pools of huge pages. */
export function workBytes(benchmark: BenchmarkName, cores: number, sizes: StudySizes): number {
  if (benchmark === 'hpcc') return sizes.hpl[cores]!.n ** 2 * 8 * matrixShare + cores * 64 * 2 ** 20;
  if (benchmark === 'stream') return sizes.streamElements * 24 + 16 * 2 ** 20;
  return smallWorkBytes;
}

function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}

/** How large the benchmarks are: the paper's sizes, scaled to a machine by a rule that the report shows. Pure. */

import { LodgeError } from '../errors.ts';
import { formatSize } from '../units.ts';
import type { BenchmarkName } from './cells.ts';
import type { StudySizes } from './samples.ts';

export interface SizesInput {
  size: 'quick' | 'full';
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

const quickOrder = 2600;
const quickElements = 8_000_000;
const quickRoundTrips = 100;

/** A block size that suits OpenBLAS's kernels on x86-64, and divides the orders' steps. */
const blockSize = 192;

/** What a guest's kernel, page tables, file cache and MPI take beside the benchmark. */
const guestExtraBytes = 448 * 2 ** 20;

/** HPCC holds, beside the matrix, its copies for PTRANS and the buffers of its parts. */
const matrixShare = 1.35;

const leastOrder = 960;

/**
 * Chooses sizes.
 * @throws LodgeError `not-enough-memory` when not even the least sizes fit
 */
export function planSizes({ size, cores, budgetBytes, lastLevelCachesBytes }: SizesInput): StudySizes {
  const rules: string[] = [];
  const room = budgetBytes - guestExtraBytes;
  const largest = Math.floor(Math.sqrt(room / (8 * matrixShare)) / blockSize) * blockSize;
  if (!(largest >= leastOrder)) {
    throw new LodgeError(
      'not-enough-memory',
      `the benchmarks need ${formatSize(Math.ceil(8 * leastOrder ** 2 * matrixShare) + guestExtraBytes)} at the least, ` +
        `and a run may take ${formatSize(Math.max(0, Math.floor(budgetBytes)))}`,
      { fix: 'free memory, get a job with more, or raise memory-share' },
    );
  }
  rules.push(
    size === 'full'
      ? "HPL's order as in the paper (10000, 15000, 20000, 30000 for 1, 2, 4, 8 cores; 10000 × √cores for others)"
      : `HPL's order ${quickOrder} × √cores`,
  );
  const hpl: StudySizes['hpl'] = {};
  const cut: number[] = [];
  for (const count of cores) {
    const wanted = wantedOrder(size, count);
    if (wanted > largest) cut.push(count);
    hpl[count] = { n: Math.min(wanted, largest), nb: blockSize, ...processGrid(count) };
  }
  if (cut.length > 0) {
    rules.push(
      `cut to ${largest} for ${cut.join(', ')} cores, so that ${matrixShare} × 8 N² bytes and ` +
        `${formatSize(guestExtraBytes)} for a guest's own fit in ${formatSize(Math.floor(budgetBytes))}`,
    );
  }
  const leastElements = Math.ceil((4 * lastLevelCachesBytes) / 8);
  const mostElements = Math.floor(room / (3 * 8 * 1.05));
  const wantedElements = Math.max(size === 'full' ? paperElements : quickElements, leastElements);
  const streamElements = Math.min(wantedElements, mostElements);
  rules.push(
    `STREAM's arrays have ${streamElements} elements: ${size === 'full' ? `the paper's ${paperElements}` : `${quickElements}`}` +
      `, at least four times the last-level caches${wantedElements > mostElements ? ', at most what fits' : ''}`,
  );
  const guestMemoryBytes: StudySizes['guestMemoryBytes'] = {};
  for (const count of cores) {
    const work = Math.max(8 * hpl[count]!.n ** 2 * matrixShare, streamElements * 8 * 3 * 1.05);
    guestMemoryBytes[count] = roundUp(work + guestExtraBytes, 256 * 2 ** 20);
  }
  if (size === 'quick') rules.push(`PingPong makes ${quickRoundTrips} round trips at each size`);
  return {
    rule: `${rules.join('; ')}.`,
    hpl,
    streamElements,
    ...(size === 'quick' ? { pingpongRepeats: quickRoundTrips } : {}),
    guestMemoryBytes,
  };
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
  return 64 * 2 ** 20;
}

function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}

/** What a study measures, as plain values: environments, pages, series, cells. Pure. */

import type { VirtualAccelerator } from '../machine/accelerators.ts';

/** Where a benchmark runs: on the host, or in a guest of an accelerator. In the order in which reports show them. */
export const environments = ['native', 'kvm', 'uml', 'tcg'] as const satisfies (
  | 'native'
  | VirtualAccelerator
)[];
export type Environment = (typeof environments)[number];

/** Page sizes, and transparent huge pages. */
export const pageSizes = ['4K', '2M', '1G', 'thp'] as const;
export type PageSize = (typeof pageSizes)[number];

/**
 * The pages under a benchmark. `host` backs the guest's memory (absent for native runs and where it is not chosen),
 * `own` is what the benchmark's own memory is mapped with, in the guest or on the host.
 * The paper writes both as `host/own` (section 4.2).
 */
export interface Pages {
  host?: PageSize;
  own: PageSize;
}

/** `mirror`: pinned, the guest laid out as its CPUs; `free`: left to the kernel's scheduler. */
export const placements = ['mirror', 'free'] as const;
export type Placement = (typeof placements)[number];

/** One line of a figure: everything that is the same for all its points. */
export interface Series {
  environment: Environment;
  pages: Pages;
  placement: Placement;
}

/** One point of a figure: a series, a benchmark, a number of cores. */
export interface Cell extends Series {
  benchmark: BenchmarkName;
  cores: number;
}

export const benchmarkNames = ['hpcc', 'stream', 'pingpong', 'micro', 'noise', 'boot'] as const;

/**
 * `hpcc` gives HPL and MPIRandomAccess in one run, `micro` the cost of system calls and page faults, `noise` what
 * the operating system takes of fixed quanta of time.
 */
export type BenchmarkName = (typeof benchmarkNames)[number];

/** `4K`, or `2M/4K` for a guest whose backing pages were chosen. */
export function nameOfPages({ host, own }: Pages): string {
  return host === undefined ? own : `${host}/${own}`;
}

/** The paper's names for data sets (section 4.2): `Native 2M`, `Guest 2M/4K`; a guest that is not under KVM says so. */
export function nameOfSeries({ environment, pages, placement }: Series): string {
  const who =
    environment === 'native' ? 'Native' : environment === 'kvm' ? 'Guest' : `Guest (${environment})`;
  return `${who} ${nameOfPages(pages)}${placement === 'free' ? ', unpinned' : ''}`;
}

/** A text that is different for different cells, fit for a file name: `hpcc-c2-native-2M-mirror`. */
export function keyOfCell({ benchmark, cores, environment, pages, placement }: Cell): string {
  return `${benchmark}-c${cores}-${environment}-${nameOfPages(pages).replace('/', '_')}-${placement}`;
}

/** The native cell that a guest's cell is compared with: the same work on the pages the benchmark itself sees. */
export function nativeOf({ benchmark, cores, placement, pages }: Cell): Cell {
  return { benchmark, cores, environment: 'native', pages: { own: pages.own }, placement };
}

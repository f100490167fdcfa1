/** What an environment does for a study: run one command in one place, and tell what was really there. */

import type { BenchmarkCommand } from './benchmarks/benchmark.ts';
import type { Cell } from './cells.ts';
import type { Found, StudyImage } from './samples.ts';

export interface EnvironmentRun {
  cell: Cell;
  /** What guests boot from; this host's own root when undefined. */
  image: StudyImage | undefined;
  /** Wrapped by the yardstick already; none for a guest that is only booted. */
  command: BenchmarkCommand | undefined;
  /** pCPUs for the benchmark or the vCPUs; empty when they are not pinned. */
  pinnedTo: readonly number[];
  /** NUMA nodes over which pools of huge pages are spread evenly; all of the host's when empty. */
  poolNodes: readonly number[];
  /** Memory of a guest. */
  guestMemoryBytes: number;
  /** Memory that the benchmark takes, for pools of huge pages. */
  workBytes: number;
  timeLimitMs: number;
  /** Ends the run; the promise is then rejected with its reason. */
  signal: AbortSignal;
}

export interface EnvironmentResult {
  /** Exit code of the command, or 128 + n for signal n. */
  code: number;
  stdout: string;
  /** The end of standard error, for the message of a failure. */
  errors: string;
  found: Found;
  /** From the start of the guest to its answer, for a guest. */
  bootMs?: number;
}

/** How much output of a benchmark is kept: all there is, unless it has gone mad. */
export const outputLimitBytes = 16 * 2 ** 20;

/** The environment of every benchmark, the same on the host and in a guest. */
export const baseEnvironment: Readonly<Record<string, string>> = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/tmp',
  TMPDIR: '/tmp',
  LANG: 'C',
  LC_ALL: 'C',
};

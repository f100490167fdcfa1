/** What every benchmark of a study is: the command it is run by, and the reading of what it prints. */

import type { BenchmarkName, Pages, Placement } from '../cells.ts';
import type { Measured, StudySizes } from '../samples.ts';

export interface RunInput {
  cores: number;
  pages: Pages;
  placement: Placement;
  /** Numbers of the CPUs to use, as the environment counts them: pCPUs on the host, vCPUs in a guest. */
  cpus: readonly number[];
  sizes: StudySizes;
  /** Directory with lodge's own programs (stream, micro, noise), at the same path in guests of the host's root. */
  programsDir: string;
}

/** How a benchmark is run, the same on the host and in a guest. */
export interface BenchmarkCommand {
  argv: string[];
  env: Record<string, string>;
  /** Standard input. */
  input: string;
}

export interface Benchmark {
  name: BenchmarkName;
  /** Programs that must be on PATH, with the Debian package that has each. */
  needs: readonly { program: string; package: string }[];
  /** The most that one run may take before it counts as hung. */
  timeLimitMs: (input: RunInput) => number;
  command: (input: RunInput) => BenchmarkCommand;
  /**
   * Reads standard output of a run that ended with 0.
   * @throws LodgeError `benchmark-output` for a failed residual check and for output that is not understood
   */
  parse: (stdout: string, input: RunInput) => Measured;
}

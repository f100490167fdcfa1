/** HPL and MPIRandomAccess, by HPC Challenge: one run gives both. Pure. */

import { LodgeError } from '../../errors.ts';
import type { StudySizes } from '../samples.ts';
import type { Benchmark, RunInput } from './benchmark.ts';
import { mpiCommand, mpiNeeds } from './mpi.ts';
import { outputError } from './output.ts';
import { keptOffTransparentPages, pageEnvironment } from './pages.ts';
import { pinnedCpus } from './placement.ts';

type HplSize = StudySizes['hpl'][number];

/** The most of RandomAccess's table that may hold a wrong value: the benchmark's own rule. */
const mostErrors = 0.01;

function sizeOf({ sizes, cores }: RunInput): HplSize {
  const size = sizes.hpl[cores];
  if (size === undefined) throw new LodgeError('internal', `the study has no size of HPL for ${cores} cores`);
  return size;
}

/**
 * HPL solves its system so often in one run, and the best counts. The first time, OpenBLAS touches buffers that it has
 * not used before: some hundred page faults, which are nothing to a large system, and a sixth of the time of a small
 * one in a guest in which a page fault costs a quarter of a millisecond (docs/guides/study.md).
 */
export const hplSolves = 2;

/**
 * The input file of HPL in the form that hpcc reads: two lines of title, then one value a line, what follows it being
 * for people. Order of the lines: /usr/share/doc/hpcc/examples/_hpccinf.txt. Apart from N, NB, P and Q the values are
 * those of that example. The last four lines would name further sizes for PTRANS.
 */
export function hpccInput({ n, nb, p, q }: HplSize): string {
  const lines: [string | number, string][] = [
    ['HPL.out', 'file'],
    [8, 'where to write: a file'],
    [hplSolves, 'number of orders'],
    [Array(hplSolves).fill(n).join(' '), 'N, order of the matrix, once for each time'],
    [1, 'number of block sizes'],
    [nb, 'NB, block size'],
    [0, 'processes by rows'],
    [1, 'number of grids'],
    [p, 'P, rows of the grid'],
    [q, 'Q, columns of the grid'],
    ['16.0', 'threshold of the residual'],
    [1, 'number of panel factorizations'],
    [2, 'right-looking'],
    [1, 'number of stopping criteria'],
    [4, 'columns at which the recursion ends'],
    [1, 'number of divisions'],
    [2, 'panels in the recursion'],
    [1, 'number of recursive factorizations'],
    [1, 'Crout'],
    [1, 'number of broadcasts'],
    [1, 'one ring, modified'],
    [1, 'number of lookahead depths'],
    [1, 'depth'],
    [2, 'swapping: mixed'],
    [64, 'swapping threshold'],
    [0, 'L1 transposed'],
    [0, 'U transposed'],
    [1, 'equilibration'],
    [8, 'alignment in doubles'],
    ['-', 'separator'],
    [0, 'further orders for PTRANS'],
    [0, 'none'],
    [0, 'further block sizes for PTRANS'],
    [0, 'none'],
  ];
  const text = lines.map(([value, meaning]) => `${String(value).padEnd(12)} ${meaning}\n`).join('');
  return `HPL as lodge study runs it\nwithin HPC Challenge\n${text}`;
}

export const hpcc: Benchmark = {
  name: 'hpcc',
  needs: [{ program: 'hpcc', package: 'hpcc' }, ...mpiNeeds],

  // By the slowest that is worth waiting for, an emulated CPU: 0.1 GFLOPS a core in HPL, 2 N^2 updates at 1 MUP/s in
  // each of RandomAccess's variants, verification included.
  timeLimitMs: (input) => {
    const { n } = sizeOf(input);
    const hplSeconds = (hplSolves * (2 / 3) * n ** 3) / (1e8 * input.cores);
    return Math.ceil(1000 * (300 + hplSeconds + (12 * n ** 2) / 1e6));
  },

  command: (input) => {
    const size = sizeOf(input);
    const command = mpiCommand({
      ranks: input.cores,
      cpus: pinnedCpus(input),
      argv: ['hpcc'],
      rankEnv: pageEnvironment(input.pages.own, input.programsDir).env,
      inputFile: 'hpccinf.txt',
      input: hpccInput(size),
      resultsFile: 'hpccoutf.txt',
      env: { OPENBLAS_NUM_THREADS: '1' },
    });
    return keptOffTransparentPages(command, input);
  },

  parse: (stdout, input) => {
    const size = sizeOf(input);
    const fail = (problem: string) => outputError('hpcc', problem, stdout);
    const summary = readSummary(stdout, fail);
    const number = (key: string): number => {
      const text = summary.get(key);
      if (text === undefined) throw fail(`the summary has no ${key}`);
      const value = /^-?\d/.test(text) ? Number(text) : Number.NaN;
      if (!Number.isFinite(value)) throw fail(`${key} is '${text}', which is no number`);
      return value;
    };
    const rate = (key: string): number => {
      const value = number(key);
      if (value <= 0) throw fail(`${key} is ${value}`);
      return value;
    };

    if (number('Success') !== 1) throw fail('it says itself that it did not succeed');
    const asked = {
      CommWorldProcs: input.cores,
      HPL_N: size.n,
      HPL_NB: size.nb,
      HPL_nprow: size.p,
      HPL_npcol: size.q,
    };
    for (const [key, value] of Object.entries(asked)) {
      if (number(key) !== value) throw fail(`${key} is ${number(key)}, not ${value} as asked`);
    }
    checkResiduals(stdout, fail);
    const errors = number('MPIRandomAccess_ErrorsFraction');
    if (!(errors >= 0 && errors <= mostErrors)) {
      throw fail(`MPIRandomAccess left a part of ${errors} of its table wrong; ${mostErrors} is allowed`);
    }
    return {
      // Six digits are told, and six are kept.
      'hpl-gflops': Number((rate('HPL_Tflops') * 1000).toPrecision(6)),
      'randomaccess-gups': rate('MPIRandomAccess_GUPs'),
    };
  },
};

type Fail = (problem: string) => LodgeError;

/** The pairs between the marks of the summary section, of which there must be one: hpcc appends to an older file. */
function readSummary(stdout: string, fail: Fail): Map<string, string> {
  const lines = section(stdout, 'Summary', fail);
  const pairs = new Map<string, string>();
  for (const line of lines) {
    const at = line.indexOf('=');
    if (at <= 0) throw fail(`the summary has the line '${line.slice(0, 80)}'`);
    const key = line.slice(0, at);
    if (pairs.has(key)) throw fail(`the summary tells ${key} twice`);
    pairs.set(key, line.slice(at + 1));
  }
  return pairs;
}

/** Each system that HPL solved has a line with the scaled residual, and the verdict at its end. */
function checkResiduals(stdout: string, fail: Fail): void {
  const checks = section(stdout, 'HPL', fail).filter((line) => line.startsWith('||Ax-b||'));
  if (checks.length === 0) throw fail('HPL did not check its residual');
  for (const line of checks) {
    const match = /=\s*(\d\S*) \.+ PASSED$/.exec(line.trimEnd());
    if (match === null || !Number.isFinite(Number(match[1]))) {
      throw fail(`HPL failed its residual check: ${line.trim()}`);
    }
  }
}

/** The lines between the marks of a section. */
function section(stdout: string, name: string, fail: Fail): string[] {
  const lines = stdout.split('\n').map((line) => line.trimEnd());
  const only = (mark: string) => {
    const first = lines.indexOf(mark);
    if (first < 0) throw fail(`there is no line '${mark}'`);
    if (lines.indexOf(mark, first + 1) >= 0) throw fail(`there is more than one line '${mark}'`);
    return first;
  };
  const begin = only(`Begin of ${name} section.`);
  const end = only(`End of ${name} section.`);
  if (end < begin) throw fail(`the ${name} section ends before it begins`);
  return lines.slice(begin + 1, end);
}

/** Runs the cells of a study in blocks, writes each run down, and goes on where it stopped. */

import { LodgeError } from '../errors.ts';
import type { Store } from '../image/store.ts';
import { builtProgramsDir } from '../installation.ts';
import { seededRandom, shuffle } from '../random.ts';
import type { BenchmarkCommand, RunInput } from './benchmarks/benchmark.ts';
import { benchmarks } from './benchmarks/benchmarks.ts';
import { readYardstick, wrap } from './benchmarks/yardstick.ts';
import { type Cell, keyOfCell } from './cells.ts';
import { groupsOf, orderOfBlock } from './design.ts';
import { isAnotherStudyRunning, type StudyDirectory } from './directory.ts';
import type { EnvironmentResult, EnvironmentRun } from './environment.ts';
import { runInGuest } from './guest.ts';
import { type ImageTree, inTree } from './image-tree.ts';
import { flagsOf } from './judge-run.ts';
import { runNative } from './native.ts';
import { keyOfRun, type Measured, type Sample, type Study } from './samples.ts';
import { workBytes } from './sizes.ts';
import { runBySlurm, srunLine } from './slurm.ts';
import { leastRepeats, mostRepeats, type StudySpec } from './spec.ts';
import { isCellNarrow } from './verdicts.ts';

export interface Progress {
  /** Runs done and at least to do, warm-ups included. */
  done: number;
  total: number;
  cell: Cell;
  isWarmUp: boolean;
  repeat: number;
  /** Undefined until there is something to go by. */
  leftMs: number | undefined;
}

export interface RunnerOptions {
  study: Study;
  spec: StudySpec;
  directory: StudyDirectory;
  store: Store;
  /** The files of the study's image, for native runs; the host's own when undefined. */
  tree: ImageTree | undefined;
  /** pCPUs for pinned runs, by number of cores. */
  pinnedCpus: Readonly<Record<number, number[]>>;
  /** The NUMA node of each pCPU. */
  nodeOfCpu: ReadonlyMap<number, number>;
  /** Ends the study after this moment; what was running is not written down. */
  signal: AbortSignal;
  onRun: (progress: Progress) => void;
  onSample: (sample: Sample) => void;
}

/** After so many failures one after the other, a cell is not tried again. */
const failuresToGiveUp = 2;

/** Before so many repeats, an interval that happens to be narrow is too often narrow by chance. */
const fewestToStop = 5;

/** What booting alone may take. */
const bootLimitMs = 600_000;

/**
 * Runs what is still to be run. Each sample is on the disk before the next run begins.
 * @throws LodgeError `disk-full`, `host-io` when a sample cannot be written; the signal's reason
 */
export async function runStudy(options: RunnerOptions): Promise<void> {
  const { study, spec } = options;
  const done = new Set(study.samples.map(keyOfRun));
  const groups = groupsOf(study.head.cells);
  const warmUps = spec['warm-ups'];
  const least = leastRepeats(spec);
  for (let block = -warmUps; block < mostRepeats(spec); block++) {
    const isWarmUp = block < 0;
    const repeat = isWarmUp ? block + warmUps : block;
    const open =
      block < Math.max(least, fewestToStop)
        ? groups
        : groups.filter((group) => !group.every((cell) => isCellNarrow(study, cell, spec.precision)));
    // A stream of its own for each block: a study that goes on has the order it would have had.
    const random = seededRandom(study.head.seed, `block ${block}`);
    for (const cell of orderOfBlock(open, (list) => shuffle(list, random))) {
      options.signal.throwIfAborted();
      if (done.has(keyOfRun({ cell, isWarmUp, repeat })) || isGivenUp(cell, study.samples)) continue;
      options.onRun({
        ...tally(study, spec, done),
        cell,
        isWarmUp,
        repeat,
      });
      const sample = await measure(cell, isWarmUp, repeat, options);
      options.directory.add(sample);
      study.samples.push(sample);
      done.add(keyOfRun(sample));
      options.onSample(sample);
    }
  }
}

function isGivenUp(cell: Cell, samples: readonly Sample[]): boolean {
  const key = keyOfCell(cell);
  const last = samples.filter((sample) => keyOfCell(sample.cell) === key).slice(-failuresToGiveUp);
  return last.length === failuresToGiveUp && last.every(({ outcome }) => outcome === 'failed');
}

function tally(
  { head, samples }: Study,
  spec: StudySpec,
  done: ReadonlySet<string>,
): Pick<Progress, 'done' | 'total' | 'leftMs'> {
  const runs = spec['warm-ups'] + leastRepeats(spec);
  const elapsedMs = new Map<string, number[]>();
  for (const { cell, elapsedMs: ms } of samples) {
    const key = keyOfCell(cell);
    elapsedMs.set(key, [...(elapsedMs.get(key) ?? []), ms]);
  }
  const all = [...elapsedMs.values()].flat();
  const mean = (list: readonly number[]): number => list.reduce((sum, ms) => sum + ms, 0) / list.length;
  let leftMs = 0;
  for (const cell of head.cells) {
    const known = elapsedMs.get(keyOfCell(cell)) ?? [];
    leftMs +=
      Math.max(0, runs - known.length) * (known.length > 0 ? mean(known) : all.length > 0 ? mean(all) : 0);
  }
  return {
    done: done.size,
    total: Math.max(done.size + 1, head.cells.length * runs),
    leftMs: all.length < 3 ? undefined : leftMs,
  };
}

async function measure(
  cell: Cell,
  isWarmUp: boolean,
  repeat: number,
  options: RunnerOptions,
): Promise<Sample> {
  const { study, spec, signal, store, pinnedCpus } = options;
  const { sizes } = study.head;
  const programsDir = builtProgramsDir();
  const pinnedTo = cell.placement === 'mirror' ? (pinnedCpus[cell.cores] ?? []) : [];
  const input: RunInput = {
    cores: cell.cores,
    pages: cell.pages,
    placement: cell.placement,
    // A guest numbers its vCPUs from 0, each on its own pCPU.
    cpus: cell.environment === 'native' ? pinnedTo : pinnedTo.map((_, vcpu) => vcpu),
    sizes,
    programsDir,
  };
  const benchmark = cell.benchmark === 'boot' ? undefined : benchmarks[cell.benchmark];
  const startedAt = new Date();
  const startedMs = performance.now();
  const isAlone = !isAnotherStudyRunning();
  const base = { format: 1 as const, cell, repeat, isWarmUp, startedAt: startedAt.toISOString() };
  let argv: string[] = [];
  let found: Sample['found'] = { cpus: [...pinnedTo] };
  try {
    const command = benchmark === undefined ? undefined : commandOf(cell, benchmark.command(input), options);
    const node = nodeOf(cell, spec);
    argv = [...(node === undefined ? [] : srunLine(node, cell.cores)), ...(command?.argv ?? [])];
    const run: EnvironmentRun = {
      cell,
      image: study.head.image,
      command,
      pinnedTo,
      poolNodes: [...new Set(pinnedTo.map((cpu) => options.nodeOfCpu.get(cpu)!))],
      guestMemoryBytes: sizes.guestMemoryBytes[cell.cores]!,
      workBytes: workBytes(cell.benchmark, cell.cores, sizes),
      timeLimitMs: spec['run-timeout'] ?? benchmark?.timeLimitMs(input) ?? bootLimitMs,
      signal,
    };
    const result = await resultOf(run, spec, store);
    found = result.found;
    const measured: ReturnType<typeof readRun> =
      benchmark === undefined ? { values: { 'boot-ms': result.bootMs! } } : readRun(result, cell, input);
    if (measured.pages !== undefined) found = { ...found, ownPages: measured.pages };
    return {
      ...base,
      elapsedMs: performance.now() - startedMs,
      outcome: 'ok',
      measured: measured.values,
      found,
      argv,
      flags: flagsOf(cell, found, {
        workBytes: run.workBytes,
        isAlone: isAlone && !isAnotherStudyRunning(),
        earlier: study.samples,
      }),
    };
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    // A full disk or a fault of lodge's own would fail the same in every cell.
    if (!(error instanceof LodgeError) || error.code === 'disk-full') throw error;
    return {
      ...base,
      elapsedMs: performance.now() - startedMs,
      outcome: 'failed',
      measured: {},
      found,
      argv,
      error: [error.message, error.detail].filter((text) => text !== undefined).join('\n'),
      flags: [],
    };
  }
}

/** The node of Slurm that a cell's runs go to; undefined where this process starts them. */
function nodeOf({ environment }: Cell, { launcher, native, guest }: StudySpec): string | undefined {
  if (launcher !== 'slurm') return undefined;
  return environment === 'native' ? native : guest;
}

function resultOf(run: EnvironmentRun, spec: StudySpec, store: Store): Promise<EnvironmentResult> {
  const node = nodeOf(run.cell, spec);
  if (node !== undefined) return runBySlurm(run, node);
  return run.cell.environment === 'native' ? runNative(run) : runInGuest(run, store);
}

function commandOf(cell: Cell, command: BenchmarkCommand, { tree }: RunnerOptions): BenchmarkCommand {
  const programsDir = builtProgramsDir();
  const wrapped = wrap(command, programsDir);
  return cell.environment === 'native' && tree !== undefined ? inTree(wrapped, tree, programsDir) : wrapped;
}

function readRun(
  { code, stdout, errors }: EnvironmentResult,
  cell: Cell,
  input: RunInput,
): { values: Measured; pages?: NonNullable<Sample['found']['ownPages']> } {
  if (code !== 0) {
    throw new LodgeError('benchmark-output', `${cell.benchmark} ended with exit code ${code}`, {
      ...(errors.trim() === '' ? {} : { detail: errors.trim().split('\n').slice(-10).join('\n') }),
    });
  }
  const { stdout: own, end } = readYardstick(stdout);
  const values = benchmarks[cell.benchmark as Exclude<Cell['benchmark'], 'boot'>].parse(own, input);
  return end.pages === undefined ? { values } : { values, pages: end.pages };
}

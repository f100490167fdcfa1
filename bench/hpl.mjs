/**
 * HPL as `lodge study` runs it natively, against the same hpcc started by hand; and, if asked, in a user-mode guest
 * against native.
 *
 *   node bench/hpl.mjs [ROUNDS] [CORES] [uml]
 *
 * By hand is what a person would type: `mpiexec.openmpi -n CORES hpcc` in a directory with the same hpccinf.txt, one
 * thread of OpenBLAS for each rank, everything else as Open MPI has it by default. All are run in each round, in turns.
 */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { judge, lodge, median, mustRun, rounds, spread } from './measure.mjs';

const count = rounds(10);
const cores = Number(process.argv[3] ?? 1);
const hasGuest = process.argv[4] === 'uml' && cores === 1;
const work = mkdtempSync(join(tmpdir(), 'lodge-bench-'));

/** The study's own input for hpcc, from its source. */
async function inputFor(size) {
  const bundle = join(work, 'hpcc.mjs');
  const entry = new URL('../src/study/benchmarks/hpcc.ts', import.meta.url).pathname;
  await build({ entryPoints: [entry], bundle: true, platform: 'node', format: 'esm', outfile: bundle });
  const { hpccInput } = await import(bundle);
  return hpccInput(size);
}

/** GFLOPS by environment, from a study of one run of each. */
async function byStudy(round) {
  const directory = join(work, `study-${round}`);
  const spec = join(work, 'study.yaml');
  writeFileSync(
    spec,
    `size: quick\nbenchmarks: [hpcc]\nenvironments: [${hasGuest ? 'native, uml' : 'native'}]\npages: [4K/4K]\n` +
      `cores: [${cores}]\nwarm-ups: 0\nrepeats: 1\n`,
  );
  await mustRun(lodge, ['-q', 'study', '--spec', spec, '-o', directory]);
  const head = JSON.parse(readFileSync(join(directory, 'study.json'), 'utf8'));
  const lines = readFileSync(join(directory, 'results.jsonl'), 'utf8').trim().split('\n');
  const samples = lines.map((line) => JSON.parse(line));
  const of = (environment) =>
    samples.find(({ cell }) => cell.environment === environment)?.measured['hpl-gflops'];
  return { size: head.sizes.hpl[cores], native: of('native'), uml: of('uml') };
}

function byHand(input) {
  const directory = mkdtempSync(join(work, 'hand-'));
  writeFileSync(join(directory, 'hpccinf.txt'), input);
  const root = { OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' };
  // A shell's own settings would choose other kernels of OpenBLAS than the study does, which hands none on.
  const env = Object.entries(process.env).filter(([name]) => !name.startsWith('OPENBLAS_'));
  execFileSync('mpiexec.openmpi', ['-n', `${cores}`, 'hpcc'], {
    cwd: directory,
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...Object.fromEntries(env), ...root, OPENBLAS_NUM_THREADS: '1' },
  });
  const text = readFileSync(join(directory, 'hpccoutf.txt'), 'utf8');
  return Number(/^HPL_Tflops=(.*)$/m.exec(text)[1]) * 1000;
}

try {
  // The first run tells the size, and warms up.
  const { size } = await byStudy('first');
  const input = await inputFor(size);
  byHand(input);
  const values = { hand: [], native: [], uml: [] };
  for (let round = 0; round < count; round++) {
    const turns = [
      () => values.hand.push(byHand(input)),
      async () => {
        const { native, uml } = await byStudy(round);
        values.native.push(native);
        values.uml.push(uml);
      },
    ];
    if (round % 2 === 1) turns.reverse();
    for (const turn of turns) await turn();
    const last = Object.entries(values).map(([name, list]) => `${name} ${list.at(-1) ?? '–'}`);
    process.stderr.write(`round ${round + 1}: ${last.join(', ')} GFLOPS\n`);
  }
  process.stdout.write(`rounds: ${count}, N ${size.n}, ${size.p} x ${size.q}\n`);
  process.stdout.write(`by hand          GFLOPS  ${spread(values.hand)}\n`);
  process.stdout.write(`study, native    GFLOPS  ${spread(values.native)}\n`);
  const ratios = values.native.map((value, i) => value / values.hand[i]);
  const isMet = [
    judge('native : by hand', spread(ratios, 3), Math.abs(median(ratios) - 1) <= 0.03, '1 ± 0.03'),
  ];
  if (hasGuest) {
    process.stdout.write(`study, uml guest GFLOPS  ${spread(values.uml)}\n`);
    const overheads = values.native.map((value, i) => value / values.uml[i]);
    isMet.push(
      judge('time in a uml guest : native', spread(overheads, 3), median(overheads) <= 1.02, '1.02'),
    );
  }
  process.exitCode = isMet.every(Boolean) ? 0 : 1;
} finally {
  rmSync(work, { recursive: true, force: true });
}

// MPI programs as they are really run: the script around mpiexec, and hpcc itself on one core.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hpcc } from '../../../src/study/benchmarks/hpcc.ts';
import { type MpiRun, mpiCommand } from '../../../src/study/benchmarks/mpi.ts';
import { readYardstick, wrap } from '../../../src/study/benchmarks/yardstick.ts';
import { builtPrograms } from './built-programs.ts';
import { firstCpu, runInput } from './run-input.ts';

const has = (program: string) => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
const programsDir = builtPrograms();

let temporary: string;
beforeEach(() => {
  temporary = mkdtempSync(join(tmpdir(), 'lodge-test-mpi-'));
});
afterEach(() => rmSync(temporary, { recursive: true }));

/** Each rank runs `script`. */
function ranks(script: string, changes: Partial<MpiRun> = {}) {
  return mpiCommand({
    ranks: 2,
    argv: ['sh', '-c', script],
    rankEnv: {},
    inputFile: 'in.txt',
    input: "one\ntwo's\n",
    resultsFile: 'results.txt',
    env: {},
    ...changes,
  });
}

function run(command: ReturnType<typeof mpiCommand>, env: Record<string, string> = {}) {
  const { argv, input } = wrap(command, programsDir);
  const result = spawnSync(argv[0]!, argv.slice(1), {
    env: { ...process.env, ...command.env, ...env, TMPDIR: temporary },
    input,
    encoding: 'utf8',
    timeout: 100_000,
  });
  return { ...readYardstick(result.stdout), stderr: result.stderr };
}

describe.skipIf(!has('mpiexec.openmpi'))('MPI programs', () => {
  const first = 'test "$OMPI_COMM_WORLD_RANK" = 0 || exit 0;';

  it('get their input as a file; only their results come on standard output', { timeout: 120_000 }, () => {
    const result = run(ranks(`${first} echo noise; cat in.txt >results.txt`));
    expect(result).toMatchObject({ stdout: "one\ntwo's\n", end: { code: 0 } });
    expect(result.stderr).toContain('noise');
    expect(readdirSync(temporary)).toEqual([]);
  });

  it('run on their own CPUs with their own settings', { timeout: 120_000 }, () => {
    const script = `${first} { grep Cpus_allowed_list /proc/self/status; echo "$WORD"; } >results.txt`;
    const result = run(
      ranks(script, { cpus: [firstCpu(), firstCpu()], rankEnv: { WORD: "it's two words" } }),
    );
    expect(result.stdout).toBe(`Cpus_allowed_list:\t${firstCpu()}\nit's two words\n`);
  });

  it("are started here, within a scheduler's job as well", { timeout: 120_000 }, () => {
    const job = { SLURM_JOBID: '1', SLURM_JOB_ID: '1', SLURM_NODELIST: 'far', SLURM_TASKS_PER_NODE: '1' };
    const result = run(ranks(`${first} echo here >results.txt`, { ranks: 3 }), job);
    expect(result.stdout).toBe('here\n');
  });

  it('fail as a whole when one rank does, and print no old results', { timeout: 120_000 }, () => {
    const result = run(ranks(`${first} echo half >results.txt; exit 9`));
    expect(result).toMatchObject({ stdout: '', end: { code: 9 } });
    expect(readdirSync(temporary)).toEqual([]);
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('leave nothing after %s', { timeout: 120_000 }, async (signal) => {
    const sleep = `sleep 654.${process.pid}`;
    const { argv, env, input } = wrap(ranks(`echo started >&2; exec ${sleep}`), programsDir);
    const child = spawn(argv[0]!, argv.slice(1), { env: { ...process.env, ...env, TMPDIR: temporary } });
    child.stdin.end(input);
    await new Promise((resolve) => child.stderr.once('data', resolve));
    child.kill(signal);
    const code = await new Promise((resolve) => child.once('close', resolve));
    expect(code).not.toBe(0);
    expect(readdirSync(temporary)).toEqual([]);
    expect(spawnSync('pgrep', ['-fx', sleep]).status).toBe(1);
  });

  it.skipIf(!has('hpcc'))('include hpcc, whose results pass their checks', { timeout: 120_000 }, () => {
    const hpl = { 1: { n: 300, nb: 32, p: 1, q: 1 } };
    const input = runInput({ programsDir, cpus: [firstCpu()], sizes: { ...runInput().sizes, hpl } });
    const result = run(hpcc.command(input));
    expect(result.end.code).toBe(0);
    const measured = hpcc.parse(result.stdout, input);
    expect(measured['hpl-gflops']).toBeGreaterThan(0);
    expect(() => hpcc.parse(result.stdout, runInput())).toThrow(/HPL_N is 300/);
    expect(readdirSync(temporary)).toEqual([]);
  });
});

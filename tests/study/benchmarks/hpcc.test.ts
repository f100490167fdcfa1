import { describe, expect, it } from 'vitest';
import { hpcc, hpccInput } from '../../../src/study/benchmarks/hpcc.ts';
import { recorded, replaced, runInput } from './run-input.ts';

const one = recorded('hpcc-1.txt');
const two = recorded('hpcc-2.txt');

describe('what hpcc prints', () => {
  it('is read for one rank and for two', () => {
    expect(hpcc.parse(one, runInput())).toEqual({ 'hpl-gflops': 30.9581, 'randomaccess-gups': 0.0784531 });
    expect(hpcc.parse(two, runInput({ cores: 2 }))).toEqual({
      'hpl-gflops': 20.2421,
      'randomaccess-gups': 0.0366396,
    });
  });

  it.each<[string, string | RegExp, string, RegExp]>([
    ['a failed residual', '...... PASSED', '...... FAILED', /residual/],
    ['a residual that is no number', /= +[\d.]+ \.{6} PASSED/, '= nan ...... PASSED', /residual/],
    ['no residual check', /^\|\|Ax-b\|\|.*\n/m, '', /did not check its residual/],
    [
      'too many errors',
      'MPIRandomAccess_ErrorsFraction=0',
      'MPIRandomAccess_ErrorsFraction=0.011',
      /0\.011 of its table/,
    ],
    [
      'errors that are no number',
      'MPIRandomAccess_ErrorsFraction=0',
      'MPIRandomAccess_ErrorsFraction=-nan',
      /-nan/,
    ],
    ['no success', 'Success=1', 'Success=0', /did not succeed/],
    ['another order', /^HPL_N=600$/m, 'HPL_N=599', /HPL_N is 599, not 600/],
    ['another block size', /^HPL_NB=64$/m, 'HPL_NB=80', /HPL_NB/],
    ['another grid', /^HPL_npcol=1$/m, 'HPL_npcol=2', /HPL_npcol/],
    ['other ranks', 'CommWorldProcs=1', 'CommWorldProcs=2', /CommWorldProcs/],
    ['a rate that is no number', /^HPL_Tflops=.*$/m, 'HPL_Tflops=nan', /HPL_Tflops is 'nan'/],
    ['an infinite rate', /^HPL_Tflops=.*$/m, 'HPL_Tflops=inf', /HPL_Tflops is 'inf'/],
    ['a rate that overflows', /^HPL_Tflops=.*$/m, 'HPL_Tflops=1e999', /no number/],
    ['no rate', /^HPL_Tflops=.*\n/m, '', /no HPL_Tflops/],
    [
      'a rate of nothing',
      /^MPIRandomAccess_GUPs=.*$/m,
      'MPIRandomAccess_GUPs=0',
      /MPIRandomAccess_GUPs is 0/,
    ],
    ['no end', 'End of Summary section.', '', /no line 'End of Summary/],
    ['a key told twice', /^Success=1$/m, 'Success=1\nSuccess=1', /twice/],
    [
      'another line in the summary',
      /^Success=1$/m,
      'Success=1\nsegmentation fault',
      /the line 'segmentation/,
    ],
  ])('is refused with %s', (_, pattern, by, message) => {
    expect(() => hpcc.parse(replaced(one, pattern, by), runInput())).toThrow(
      expect.objectContaining({ code: 'benchmark-output', message: expect.stringMatching(message) }),
    );
  });

  it('allows the errors that RandomAccess allows itself', () => {
    const some = replaced(one, 'MPIRandomAccess_ErrorsFraction=0', 'MPIRandomAccess_ErrorsFraction=0.01');
    expect(hpcc.parse(some, runInput())).toHaveProperty('randomaccess-gups');
  });

  it('is refused when an older run stands before it', () => {
    expect(() => hpcc.parse(one + one, runInput())).toThrow(/more than one line/);
  });

  it('is refused wherever it is cut off', () => {
    const end = one.indexOf('End of Summary section.') + 'End of Summary section.'.length;
    for (let length = 0; length < end; length += 97) {
      expect(() => hpcc.parse(one.slice(0, length), runInput()), `after ${length}`).toThrow(
        expect.objectContaining({ code: 'benchmark-output' }),
      );
    }
  });
});

describe('how hpcc is run', () => {
  it('has HPL of the size of that number of cores, in the order that hpcc reads', () => {
    const values = hpccInput({ n: 12_000, nb: 200, p: 2, q: 4 })
      .split('\n')
      .map((line) => line.split(' ')[0]);
    expect(values.slice(2, 11)).toEqual(['HPL.out', '8', '2', '12000', '1', '200', '0', '1', '2']);
    expect(values.slice(11, 13)).toEqual(['4', '16.0']);
    // Two lines of title, 29 of HPL, the separator, four for PTRANS; then the end of the last.
    expect(values).toHaveLength(37);
  });

  it('has HPL solve it twice, so that the first touch of buffers does not count', () => {
    const lines = hpccInput({ n: 960, nb: 192, p: 1, q: 1 }).split('\n');
    expect(lines.slice(4, 6)).toEqual([
      expect.stringMatching(/^2 .*number of orders$/),
      expect.stringMatching(/^960 960 .*N, order/),
    ]);
  });

  it('puts each rank on the CPU that is its own', () => {
    const { argv, env } = hpcc.command(runInput({ cores: 2, pages: { own: '2M' } }));
    expect(argv[0]).toBe('sh');
    const mpiexec = argv.slice(argv.indexOf('mpiexec.openmpi'));
    expect(mpiexec).toEqual([
      'mpiexec.openmpi',
      '--host',
      'localhost:2',
      '-n',
      '2',
      '--bind-to',
      'none',
      'sh',
      '-c',
      expect.stringMatching(
        /^shift "\$OMPI_COMM_WORLD_LOCAL_RANK"; exec taskset -c "\$1" env GLIBC_TUNABLES=\S*hugetlb=2097152\S* hpcc$/,
      ),
      'rank',
      '4',
      '6',
    ]);
    expect(env).toMatchObject({ OPENBLAS_NUM_THREADS: '1', OMPI_ALLOW_RUN_AS_ROOT: '1' });
    // Open MPI's launcher would take huge pages as well.
    expect(env).not.toHaveProperty('GLIBC_TUNABLES');
  });

  it('leaves ranks to the scheduler when asked, and keeps them off huge pages', () => {
    const { argv } = hpcc.command(runInput({ placement: 'free' }));
    expect(argv.slice(0, 5)).toEqual(['/opt/lodge/programs/yardstick', '-x', '-t', '--', 'sh']);
    expect(argv.slice(-3)).toEqual(['--bind-to', 'none', 'hpcc']);
  });

  it('needs a size and enough CPUs', () => {
    expect(() => hpcc.command(runInput({ cores: 4 }))).toThrow(/no size of HPL for 4 cores/);
    expect(() => hpcc.command(runInput({ cores: 2, cpus: [0] }))).toThrow(/only 1 CPUs/);
  });
});

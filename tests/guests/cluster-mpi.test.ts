/** MPI over the guests of a cluster. It has a file of its own because it takes its time: others run beside it. */

import { readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hpccInput } from '../../src/study/benchmarks/hpcc.ts';
import { Runtime, run } from './lodge.ts';

describe('a cluster', () => {
  let here: Runtime;

  beforeAll(() => {
    here = new Runtime();
  });

  afterAll(async () => {
    if (here.files().length > 0) await here.lodge(['down', 'mpi']);
    expect(await here.close()).toEqual([]);
  });

  const write = (name: string, text: string): string => {
    const file = join(here.work, name);
    writeFileSync(file, text);
    return file;
  };

  // With kernels of their own it takes minutes; namespaces have the same network, names and keys.
  const accelerator = process.env.LODGE_TEST_FULL === '1' ? 'uml' : 'netns';

  it('runs HPC Challenge over four guests, with no further set-up', async () => {
    const file = write(
      'mpi.yaml',
      `defaults: {accelerator: ${accelerator}, memory: 160M}\nguests:\n  v[01-04]:\n`,
    );
    await here.done(['up', file]);
    expect(await here.done(['exec', 'v03', '--', 'cat', '/etc/lodge/hostfile'])).toBe(
      'v01 slots=1\nv02 slots=1\nv03 slots=1\nv04 slots=1\n',
    );
    const inside = ['exec', 'v02', '--', 'mpiexec.openmpi', '--hostfile', '/etc/lodge/hostfile', 'hostname'];
    expect((await here.lodge(inside)).stdout.toString().split('\n').sort()).toEqual([
      '',
      'v01',
      'v02',
      'v03',
      'v04',
    ]);
    write('hpccinf.txt', hpccInput({ n: 80, nb: 20, p: 2, q: 2 }));
    const command = ['mpiexec.openmpi', '--hostfile', '/etc/lodge/hostfile', 'hpcc'];
    const { code, stderr } = await here.lodge(['run', '--cluster', 'mpi', '--', ...command], {
      timeoutMs: 1_500_000,
    });
    expect(code, stderr).toBe(0);
    const output = readFileSync(join(here.work, 'hpccoutf.txt'), 'utf8');
    // As many as the input has sizes.
    expect(output).toMatch(/ 2 tests completed and passed residual checks,\n +0 tests completed and failed/);
    expect(output).toMatch(/^Success=1$/m);
    expect(output).toMatch(/^CommWorldProcs=4$/m);
    await here.done(['down']);
    expect(here.files()).toEqual([]);
  }, 2_000_000);

  // Hosts that Slurm's tests have are called as nodes of such a Slurm are; this one is not.
  it('has a Slurm of its own on this machine', async () => {
    const file = write('own.yaml', 'guests:\n  a: {accelerator: netns}\n');
    const { conf } = JSON.parse(await here.done(['--json', 'slurm', 'up', file])) as { conf: string };
    const { code, stdout, stderr } = await run(['srun', '-Q', '-w', 'n01', 'hostname'], {
      env: { SLURM_CONF: conf },
    });
    expect({ code, stdout: stdout.toString(), stderr }).toEqual({
      code: 0,
      stdout: `${hostname()}\n`,
      stderr: '',
    });
    await here.done(['slurm', 'down', 'own']);
    expect(here.files()).toEqual([]);
  });
});

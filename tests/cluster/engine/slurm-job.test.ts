import { describe, expect, test } from 'vitest';
import {
  agentStepArgv,
  jobMemory,
  killWaitMs,
  siteEnvironment,
  slurmFault,
  slurmJobOf,
  taskShare,
  withoutJob,
} from '../../../src/cluster/engine/slurm-job.ts';
import { LodgeError } from '../../../src/errors.ts';

describe('the job of an environment', () => {
  test('is none outside of a job', () => {
    expect(slurmJobOf({ PATH: '/bin' })).toBeUndefined();
    expect(slurmJobOf({ SLURM_JOB_ID: '../x', SLURM_JOB_NODELIST: 'n01' })).toBeUndefined();
  });

  test('has its hosts in the order of Slurm', () => {
    const job = slurmJobOf({ SLURM_JOB_ID: '12', SLURM_JOB_NODELIST: 'n[02-03,01],login' });
    expect(job).toEqual({ id: '12', hosts: ['n02', 'n03', 'n01', 'login'], isInStep: false });
  });

  test('tells steps of srun from the script and the shell of the job', () => {
    const env = { SLURM_JOB_ID: '12', SLURM_JOB_NODELIST: 'n01' };
    expect(slurmJobOf({ ...env, SLURM_STEP_ID: '0' })?.isInStep).toBe(true);
    // SLURM_BATCH_SCRIPT and SLURM_INTERACTIVE_STEP of slurm.h.
    expect(slurmJobOf({ ...env, SLURM_STEP_ID: '4294967291' })?.isInStep).toBe(false);
    expect(slurmJobOf({ ...env, SLURM_STEP_ID: '4294967290' })?.isInStep).toBe(false);
  });

  test("is the outer one where a Slurm of one's own has set variables", () => {
    const env = {
      LODGE_JOB: '12:n[01-02]',
      SLURM_JOB_ID: '3',
      SLURM_JOB_NODELIST: 'v01',
      SLURM_STEP_ID: '0',
    };
    expect(slurmJobOf(env)).toEqual({ id: '12', hosts: ['n01', 'n02'], isInStep: false });
  });

  test('without hosts is refused', () => {
    expect(() => slurmJobOf({ SLURM_JOB_ID: '12' })).toThrow(LodgeError);
  });

  test('with hosts that cannot be read is refused as one, and where they were read is told', () => {
    const env = { SLURM_JOB_ID: '12', SLURM_JOB_NODELIST: 'n[01-' };
    expect(() => slurmJobOf(env)).toThrow(
      expect.objectContaining({
        code: 'no-allocation',
        where: 'SLURM_JOB_NODELIST',
        message: "job 12 of Slurm: 'n[01-' is not a list of names: its brackets do not match",
      }),
    );
  });
});

test('srun gets nothing of the job but its number', () => {
  const env = {
    PATH: '/bin',
    SLURM_CONF: '/etc/c',
    SLURM_JOB_ID: '1',
    SLURM_MEM_PER_CPU: '5',
    SALLOC_X: '1',
    PMI_FD: '3',
  };
  expect(withoutJob(env)).toEqual({ PATH: '/bin', SLURM_CONF: '/etc/c' });
  const argv = agentStepArgv({ job: '7', hosts: ['n01', 'n02'], log: '/h/log', argv: ['lodge', 'agent'] });
  expect(argv.slice(0, 2)).toEqual(['srun', '--jobid=7']);
  expect(argv).toContain('--overlap');
  expect(argv).toContain('--nodelist=n[01-02]');
  expect(argv.slice(-3)).toEqual(['--', 'lodge', 'agent']);
  // What srun would take for the number of the job.
  expect(agentStepArgv({ job: '7', hosts: ['n01'], log: '/h/%j/log', argv: ['x'] })).toContain(
    '--output=/h/%%j/log',
  );
});

test('the memory of a job is read from what scontrol shows', () => {
  const text =
    'JobId=1 TRES=cpu=3,mem=3G Nodes=n[01-02] CPU_IDs=0-1 Mem=1024 GRES= Nodes=n03 CPU_IDs=0 Mem=512 GRES= Nodes=n04 CPU_IDs=0 Mem=0 GRES=';
  expect([...jobMemory(text)]).toEqual([
    ['n01', 2 ** 30],
    ['n02', 2 ** 30],
    ['n03', 2 ** 29],
  ]);
});

describe('the share of a task', () => {
  const env = { SLURM_JOB_ID: '1', SLURMD_NODENAME: 'n01' };

  test('is nothing outside of a host of a job', () => {
    expect(taskShare({ SLURM_JOB_ID: '1', SLURM_MEM_PER_NODE: '100' })).toEqual({});
  });

  test('of memory by host is divided among the tasks there', () => {
    const shared = { ...env, SLURM_MEM_PER_NODE: '1000', SLURM_STEP_TASKS_PER_NODE: '4(x2),1' };
    expect(taskShare({ ...shared, SLURM_NODEID: '1' })).toEqual({ memoryBytes: 250 * 2 ** 20 });
    expect(taskShare({ ...shared, SLURM_NODEID: '2' })).toEqual({ memoryBytes: 1000 * 2 ** 20 });
  });

  test('of memory by CPU is that of its CPUs', () => {
    expect(taskShare({ ...env, SLURM_MEM_PER_CPU: '100', SLURM_CPUS_PER_TASK: '3' })).toEqual({
      cpus: 3,
      memoryBytes: 300 * 2 ** 20,
    });
  });

  test('is not told where Slurm gives all', () => {
    expect(taskShare({ ...env, SLURM_MEM_PER_NODE: '0' })).toEqual({});
  });
});

test.each([
  ['srun: error: Unable to contact slurm controller (connect failure)', 'slurm-unavailable'],
  ['srun: error: If munged is up, restart with --num-threads=10', 'slurm-unavailable'],
  ['srun: error: Unable to confirm allocation for job 9: Invalid job id specified', 'no-allocation'],
  ['srun: error: something new', 'slurm-unavailable'],
])('%s is told as %s, with what was said', (text, code) => {
  const error = slurmFault(`${text}\n`);
  expect(error.code).toBe(code);
  expect(error.detail).toBe(text);
});

test("the Slurm of the job is asked by its own configuration, also where one's own is used", () => {
  expect(siteEnvironment({ SLURM_CONF: '/etc/c', SLURM_JOB_ID: '1' })).toEqual({ SLURM_CONF: '/etc/c' });
  const own = { SLURM_CONF: '/tmp/own', LODGE_JOB: '1:n01' };
  expect(siteEnvironment(own)).toEqual({ LODGE_JOB: '1:n01' });
  expect(siteEnvironment({ ...own, LODGE_JOB_CONF: '/etc/c' }).SLURM_CONF).toBe('/etc/c');
});

test('the time between the signals of a job that ends is that of the configuration', () => {
  expect(killWaitMs('KillOnBadExit           = 0\nKillWait                = 30 sec\nLaunch = x\n')).toBe(
    30_000,
  );
  expect(killWaitMs('OtherKillWait = 3 sec\n')).toBeUndefined();
});

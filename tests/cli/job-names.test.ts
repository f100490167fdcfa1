import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { hostClusterNamed, jobClusterNamed } from '../../src/cli/job-names.ts';
import {
  type JobCluster,
  makeJobDir,
  writeAgent,
  writeJobCluster,
} from '../../src/cluster/engine/rendezvous.ts';
import { describeError } from '../../src/errors.ts';
import { requireGuestHere } from '../../src/server/locate.ts';

const variables = ['LODGE_DATA_DIR', 'LODGE_RUNTIME_DIR', 'SLURM_JOB_ID', 'SLURM_JOB_NODELIST'] as const;
const previous = variables.map((name) => [name, process.env[name]] as const);
let place: string;

beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'lodge-names-'));
  process.env.LODGE_DATA_DIR = join(place, 'data');
  process.env.LODGE_RUNTIME_DIR = join(place, 'run');
  process.env.SLURM_JOB_ID = '7';
  process.env.SLURM_JOB_NODELIST = 'n[01-02]';
  const dir = makeJobDir('7', 'ground');
  const agent = { version: 1, host: 'n01', address: '127.0.0.1', port: 1, pid: 1 } as const;
  writeAgent(dir, { ...agent, guestsDir: '/tmp/none', startedAtMs: 0 });
  for (const name of ['lab', 'net']) {
    const guests = [{ name: 'v01', fullName: `${name}.v01` }];
    writeJobCluster(dir, { version: 1, plan: { name, guests }, hostOfGuest: {} } as unknown as JobCluster);
  }
});

afterEach(() => {
  for (const [name, value] of previous) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  rmSync(place, { recursive: true });
});

function told(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return describeError(error);
  }
  return 'nothing';
}

it('tells the clusters over the hosts of the job that could have been meant', () => {
  expect(jobClusterNamed(undefined)).toBeUndefined();
  expect(told(() => hostClusterNamed(undefined))).toBe(
    'lodge: there are several clusters [no-such-cluster]\n  fix: name one of them: lab, net',
  );
  expect(jobClusterNamed('lab')?.plan.name).toBe('lab');
  expect(told(() => hostClusterNamed('nets'))).toContain("did you mean 'net'?");
  expect(told(() => hostClusterNamed('other'))).toContain('clusters: lab, net');
});

it('tells the guests on the hosts of the job that could have been meant', () => {
  expect(told(() => requireGuestHere('lab.v02'))).toBe(
    "lodge: there is no guest named 'lab.v02' [no-such-guest]\n  fix: did you mean 'lab.v01'?",
  );
});

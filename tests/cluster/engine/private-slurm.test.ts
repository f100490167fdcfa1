import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  guestReaches,
  guestScript,
  type PrivateSlurm,
  planPorts,
  privateConf,
} from '../../../src/cluster/engine/private-slurm.ts';
import { LodgeError } from '../../../src/errors.ts';
import { temporaryDirectory } from '../../image/samples.ts';

const slurm: PrivateSlurm = {
  name: 'lab',
  user: 'alice',
  dir: '/tmp/lodge-1-s-lab',
  controller: { name: 'n01', address: '10.0.0.1', port: 10_000 },
  natives: [
    { name: 'n01', address: '10.0.0.1', port: 10_001, cpus: 4, memoryMiB: 4000 },
    { name: 'n02', address: '10.0.0.2', port: 10_002, cpus: 4, memoryMiB: 4000 },
  ],
  guests: [{ name: 'v01', address: '10.0.0.1', port: 10_003, cpus: 2, memoryMiB: 400 }],
  srunPorts: [10_004, 10_103],
};

test('hosts and guests are nodes side by side', () => {
  const lines = privateConf(slurm).split('\n');
  expect(lines).toContain(
    'NodeName=v01 NodeHostname=v01 NodeAddr=10.0.0.1 Port=10003 CPUs=2 RealMemory=400 State=UNKNOWN',
  );
  expect(lines).toContain('PartitionName=all Nodes=n01,n02,v01 MaxTime=INFINITE State=UP Default=YES');
  expect(lines).toContain('PartitionName=native Nodes=n01,n02 MaxTime=INFINITE State=UP');
  expect(lines).toContain('PartitionName=virtual Nodes=v01 MaxTime=INFINITE State=UP');
  expect(lines).toContain('AuthInfo=socket=/tmp/lodge-1-s-lab/munge.sock');
  expect(guestScript(slurm.dir, slurm.guests[0]!)).toContain(
    'slurmd -N v01 -f /tmp/lodge-1-s-lab/slurm.conf',
  );
});

test('guests reach the daemons and the callers, each address by itself', () => {
  const rules = guestReaches(slurm, ['10.0.0.9']);
  expect(rules).toContainEqual({ protocol: 'tcp', destination: '10.0.0.1/32', ports: [10_000, 10_000] });
  for (const address of ['10.0.0.1', '10.0.0.2', '10.0.0.9']) {
    expect(rules).toContainEqual({ protocol: 'tcp', destination: `${address}/32`, ports: [10_004, 10_103] });
    expect(rules).toContainEqual({ protocol: 'tcp', destination: `${address}/32`, ports: [10_001, 10_003] });
  }
  expect(rules.every(({ destination }) => destination.endsWith('/32'))).toBe(true);
});

test('ports are each other’s neighbours, never the same, and other ones for another seed', () => {
  const plan = planPorts(2, 3, 12_345);
  const all = [plan.controller, ...plan.natives, ...plan.guests, ...plan.srun];
  expect(new Set(all).size).toBe(all.length);
  expect(Math.min(...all)).toBeGreaterThanOrEqual(10_000);
  expect(Math.max(...all)).toBeLessThanOrEqual(16_000);
  expect(planPorts(2, 3, 12_346).controller).not.toBe(plan.controller);
  expect(() => planPorts(1, 6000, 1)).toThrow(LodgeError);
});

const dir = temporaryDirectory();

test('a guest has joined when its slurmd listens, and not when that goes into the background', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  const programs = join(dir, 'bin');
  mkdirSync(programs);
  const program = (name: string, text: string): void =>
    writeFileSync(join(programs, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  const listen = `require('node:net').createServer().listen(${port}, '127.0.0.1', () => { require('node:fs').writeFileSync('told', 'listening'); setTimeout(() => process.exit(), 3000) })`;
  // Its socket is there, as that of one that was killed is, and its number is another's.
  program('munged', 'echo begun >munge-told');
  const socket = createServer();
  await new Promise<void>((resolve) => socket.listen(join(dir, 'munge.sock'), resolve));
  writeFileSync(join(dir, 'munged.pid'), `${process.pid}\n`);
  program('slurmd', `(sleep 0.5; exec node -e "${listen}") >/dev/null 2>&1 &`);
  const env = { ...process.env, PATH: `${programs}:${process.env.PATH}` };
  execFileSync('/bin/sh', ['-c', guestScript(dir, { name: 'v01', port })], { env });
  await new Promise((resolve) => socket.close(resolve));
  expect(readFileSync(join(dir, 'told'), 'utf8')).toBe('listening');
  expect(readFileSync(join(dir, 'munge-told'), 'utf8')).toBe('begun\n');
});

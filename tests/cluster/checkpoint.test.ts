import { mkdtempSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  beginCheckpoint,
  type CheckpointRecord,
  discardCheckpoint,
  finishCheckpoint,
  readCheckpoint,
  readSecret,
  requireReplaceable,
  stateFileOf,
  writeFabric,
} from '../../src/cluster/checkpoint/files.ts';
import { forkName, planRestore, requireSavable } from '../../src/cluster/checkpoint/plan.ts';
import type { GuestPlan } from '../../src/guest/plan.ts';
import { cluster } from './sample.ts';

const plan = cluster('guests: {"v[1-2]": }\nfabric: {lan: {members: [v1, v2]}}\n');

/** As much of a guest's plan as is looked at. */
function guestPlan(name: string, more: Partial<GuestPlan> = {}): GuestPlan {
  return {
    name: `lab.${name}`,
    hostname: name,
    id: '0123456789abcdef',
    driver: 'qemu',
    accelerator: 'tcg',
    dir: `/run/guests/lab.${name}`,
    argv: [
      'qemu-system-x86_64',
      '-name',
      `guest=lab.${name},debug-threads=on`,
      '-pidfile',
      `/run/guests/lab.${name}/vmm.pid`,
      '-S',
    ],
    cluster: { name: 'lab', digest: 'd' },
    isHostRoot: false,
    beside: [],
    ...more,
  } as GuestPlan;
}

const record: CheckpointRecord = {
  version: 1,
  takenAt: '2026-01-01T00:00:00.000Z',
  cluster: plan,
  guests: { v1: guestPlan('v1'), v2: guestPlan('v2') },
};

let base: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'lodge-checkpoint-'));
});
afterEach(() => rmSync(base, { recursive: true }));

async function written(dir: string): Promise<void> {
  const part = beginCheckpoint(dir);
  for (const name of ['v1', 'v2']) writeFileSync(stateFileOf(part, name), 'state');
  writeFabric(part, undefined, plan.fabric, new Uint8Array([1]));
  await finishCheckpoint(part, dir, { record, secret: Buffer.alloc(32, 7) });
}

describe('a checkpoint on disk', () => {
  it('appears whole, for its owner alone, and is read back', async () => {
    const dir = join(base, 'saved');
    await written(dir);
    expect(readdirSync(base)).toEqual(['saved']);
    expect(statSync(dir).mode & 0o077).toBe(0);
    expect(readCheckpoint(dir)).toEqual({ ...record, fabric: plan.fabric, dir });
    expect(readSecret(dir)).toBe(`${'07'.repeat(32)}\n`);
  });

  it('is never written over anything', async () => {
    const dir = join(base, 'saved');
    await written(dir);
    expect(() => beginCheckpoint(dir)).toThrow(/something at this place/);
  });

  it('takes the place of an older one of the same cluster alone, where that is asked', async () => {
    const dir = join(base, 'saved');
    await written(dir);
    const part = beginCheckpoint(dir, { replaces: plan.name });
    for (const name of ['v1', 'v2']) writeFileSync(stateFileOf(part, name), 'state');
    writeFabric(part, undefined, plan.fabric, new Uint8Array([2]));
    const newer = { ...record, takenAt: 'later' };
    // Until it is whole, the older one is there.
    expect(readCheckpoint(dir).takenAt).toBe(record.takenAt);
    await finishCheckpoint(part, dir, { record: newer, secret: Buffer.alloc(32), isReplacing: true });
    expect(readCheckpoint(dir).takenAt).toBe('later');
    expect(readdirSync(base)).toEqual(['saved']);
    expect(() => requireReplaceable(dir, 'other')).toThrow(/no checkpoint of 'other'/);
    expect(() => requireReplaceable(base, plan.name)).toThrow(/no checkpoint/);
    expect(() => requireReplaceable(join(base, 'none/saved'), plan.name)).toThrow(/no such directory/);
    expect(() => requireReplaceable(join(base, 'new'), plan.name)).not.toThrow();
  });

  it('leaves nothing when it is given up', () => {
    discardCheckpoint(beginCheckpoint(join(base, 'saved')));
    expect(readdirSync(base)).toEqual([]);
  });

  it.each([
    ['v2.state', (path: string) => rmSync(path)],
    ['fabric.state', (path: string) => rmSync(path)],
    ['checkpoint.json', (path: string) => truncateSync(path, 10)],
  ])('with a damaged %s is refused', async (name, damage) => {
    const dir = join(base, 'saved');
    await written(dir);
    damage(join(dir, name));
    expect(() => readCheckpoint(dir)).toThrow(name);
  });
});

describe('a cluster that is restored', () => {
  const restored = (name: string) =>
    planRestore({
      checkpoint: { ...record, fabric: plan.fabric, dir: '/saved' },
      name,
      guestDir: (full) => `/other/${full}`,
      newId: () => 'fedcba9876543210',
    });

  it('has the same guests and links under its own name', () => {
    const { cluster: made, fabric, guests } = restored('fork');
    expect(made.guests.map(({ fullName, digest }) => [fullName, digest])).toEqual(
      plan.guests.map(({ name, digest }) => [`fork.${name}`, digest]),
    );
    expect(fabric.name).toBe('fork');
    expect(made.fabric).toEqual(fabric);
    expect(fabric.networks[0]!.ports.map(({ end }) => end)).toMatchObject([
      { guest: 'fork.v1', socketPath: '/other/fork.v1/net0.sock' },
      { guest: 'fork.v2', socketPath: '/other/fork.v2/net0.sock' },
    ]);
    expect(guests[0]).toMatchObject({
      name: 'fork.v1',
      hostname: 'v1',
      id: 'fedcba9876543210',
      cluster: { name: 'fork', digest: 'd' },
      savedState: '/saved/v1.state',
      argv: [
        'qemu-system-x86_64',
        '-name',
        'guest=fork.v1,debug-threads=on',
        '-pidfile',
        '/other/fork.v1/vmm.pid',
        '-S',
        '-incoming',
        'defer',
      ],
    });
  });

  it('is the same when its name is', () => {
    expect(restored('lab').cluster.guests).toEqual(plan.guests);
  });
});

describe('what cannot be saved', () => {
  it('is told of all guests at once', () => {
    const plans = new Map([
      ['v1', guestPlan('v1')],
      ['u1', guestPlan('u1', { driver: 'uml', accelerator: 'uml' })],
      ['u2', guestPlan('u2', { driver: 'uml', accelerator: 'uml' })],
      ['h1', guestPlan('h1', { isHostRoot: true })],
    ]);
    expect(() => requireSavable(plans)).toThrow(
      expect.objectContaining({
        code: 'checkpoint',
        detail: expect.stringMatching(/^u\[1-2\]: .* uml cannot be saved\nh1: its root is the host's/),
      }),
    );
    expect(() => requireSavable(new Map([['v1', guestPlan('v1')]]))).not.toThrow();
  });
});

it.each([
  ['lab', [], 'lab-2'],
  ['lab', ['lab', 'lab-2', 'lab-3'], 'lab-4'],
  ['lab-2', ['lab-2'], 'lab-3'],
])('a fork of %s beside %j is named %s', (name, taken, fork) => {
  expect(forkName(name, taken)).toBe(fork);
});

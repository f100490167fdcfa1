import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
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
  requireNoneLeft,
  requireReplaceable,
  stateFileOf,
  writeFabric,
} from '../../src/cluster/checkpoint/files.ts';
import { requireImages } from '../../src/cluster/checkpoint/images.ts';
import { forkName, planRestore, requireSavable } from '../../src/cluster/checkpoint/plan.ts';
import type { GuestPlan } from '../../src/guest/plan.ts';
import { notRunning } from '../../src/server/checkpoints.ts';
import { cluster, faultOf } from './sample.ts';

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
    objects: [],
    ...more,
  } as GuestPlan;
}

const record: CheckpointRecord = {
  version: 1,
  takenAt: '2026-01-01T00:00:00.000Z',
  cluster: plan,
  guests: { v1: guestPlan('v1'), v2: guestPlan('v2') },
  states: { v1: { bytes: 5, crc32: 1 }, v2: { bytes: 5, crc32: 2 } },
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

  it('that a killed one had put aside is told of, and goes when there is a newer one', async () => {
    const dir = join(base, 'saved');
    await written(dir);
    const old = join(base, '.saved.0123456789abcdef.old');
    renameSync(dir, old);
    for (const action of [() => readCheckpoint(dir), () => requireNoneLeft(dir)])
      expect(faultOf(action).fix).toContain(`mv ${old} ${dir}`);
    expect(() => requireNoneLeft(join(base, 'other'))).not.toThrow();
    expect(() => readCheckpoint(join(base, 'other'))).toThrow('there is no such directory');
    // A job that ends saves what it has.
    const part = beginCheckpoint(dir, { replaces: plan.name });
    for (const name of ['v1', 'v2']) writeFileSync(stateFileOf(part, name), 'state');
    writeFabric(part, undefined, plan.fabric, new Uint8Array([2]));
    expect(existsSync(old)).toBe(true);
    await finishCheckpoint(part, dir, { record, secret: Buffer.alloc(32), isReplacing: true });
    expect(readdirSync(base)).toEqual(['saved']);
  });

  it('needs a directory to be put in', () => {
    expect(() => beginCheckpoint(join(base, 'none/saved'))).toThrow(/no such directory to save/);
    // Its own name would do; the one that it has until it is whole would not.
    expect(faultOf(() => beginCheckpoint(join(base, 'x'.repeat(250)))).fix).toBe('name it shorter');
  });

  it('leaves nothing when it is given up', () => {
    discardCheckpoint(beginCheckpoint(join(base, 'saved')));
    expect(readdirSync(base)).toEqual([]);
  });

  it.each([
    ['v2.state', (path: string) => rmSync(path)],
    ['v1.state', (path: string) => truncateSync(path, 3)],
    ['fabric.state', (path: string) => rmSync(path)],
    ['checkpoint.json', (path: string) => truncateSync(path, 10)],
  ])('with a damaged %s is refused', async (name, damage) => {
    const dir = join(base, 'saved');
    await written(dir);
    damage(join(dir, name));
    expect(() => readCheckpoint(dir)).toThrow(`a damaged one: ${name}`);
  });

  it.each([
    'null',
    '[]',
    '{}',
    '{"version": 1}',
    '{"version": 1, "cluster": {"name": "lab"}, "guests": null}',
  ])('with %s for a record is refused', async (text) => {
    const dir = join(base, 'saved');
    await written(dir);
    writeFileSync(join(dir, 'checkpoint.json'), text);
    expect(() => readCheckpoint(dir)).toThrow('a damaged one: checkpoint.json');
  });

  it('with a damaged secret is refused', async () => {
    const dir = join(base, 'saved');
    await written(dir);
    writeFileSync(join(dir, 'secret'), '\n');
    expect(() => readSecret(dir)).toThrow('a damaged one: secret');
  });

  it.each(['checkpoint.json', 'fabric.json'])('with the %s of another version is refused', async (name) => {
    const dir = join(base, 'saved');
    await written(dir);
    const path = join(dir, name);
    const other = { ...(JSON.parse(readFileSync(path, 'utf8')) as object), version: 9 };
    for (const text of [JSON.stringify(other), ...(name === 'fabric.json' ? ['null'] : [])]) {
      writeFileSync(path, text);
      expect(() => readCheckpoint(dir)).toThrow('another version');
    }
  });
});

describe('a cluster that is restored', () => {
  const restored = (name: string) =>
    planRestore({
      checkpoint: { ...record, fabric: plan.fabric, dir: '/saved' },
      name,
      guestDir: (full) => `/other/${full}`,
      objectPath: (id) => `/store,1/objects/${id}`,
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
      savedState: { file: '/saved/v1.state', sum: { bytes: 5, crc32: 1 } },
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

describe('what a cluster goes on from', () => {
  const [image, kernel] = ['a'.repeat(64), 'b'.repeat(64)];
  const drive = `if=none,id=root,format=raw,readonly=on,file=/old,,1/objects/${image}/root.squashfs`;
  const saved = guestPlan('v1', {
    image: { name: 'box', kind: 'linux', id: image },
    objects: [image, kernel],
    agent: true,
    argv: ['-kernel', `/old,1/objects/${kernel}/vmlinux`, '-append', 'quiet', '-drive', drive],
  });
  const objects = { [image]: { kind: 'image', source: 'host files of /bin/busybox' } };

  const going = (plans: Partial<GuestPlan>) =>
    planRestore({
      checkpoint: { ...record, guests: { v1: { ...saved, ...plans } }, fabric: plan.fabric, dir: '/saved' },
      name: 'lab',
      guestDir: (full) => `/other/${full}`,
      objectPath: (id) => `/new,2/objects/${id}`,
      newId: () => 'fedcba9876543210',
    }).guests[0]!;

  it('is where the store is now, without what only boots a guest', () => {
    const rest = ['-S', '-incoming', 'defer'];
    const root = `if=none,id=root,format=raw,readonly=on,file=/new,,2/objects/${image}/root.squashfs`;
    expect(going({}).argv).toEqual(['-drive', root, ...rest]);
    expect(going({}).objects).toEqual([image]);
    // What has no agent may be a kernel that boots itself again.
    expect(going({ agent: false }).argv.slice(0, 4)).toEqual([
      ...['-kernel', `/new,2/objects/${kernel}/vmlinux`, '-append', 'quiet'],
    ]);
    expect(going({ agent: false }).objects).toEqual([image, kernel]);
  });

  const fault = (plans: GuestPlan[], here: string[], boxIs?: string) =>
    faultOf(() =>
      requireImages(new Map(plans.map((one) => [one.hostname, one])), objects, {
        hasObject: (id) => here.includes(id),
        hasFile: (path) => here.includes(path),
        contentOf: () => boxIs,
      }),
    );
  const both = [saved, { ...saved, hostname: 'v2' }].map((one, i) => ({ ...one, hostname: `v${i + 1}` }));

  it('is told by its name, with all that is missing', () => {
    const gone = fault(both, []);
    expect([gone.code, gone.message]).toEqual([
      'image-not-found',
      expect.stringContaining("no image 'box' in the store any more"),
    ]);
    expect(gone.detail).toBe(
      `v[1-2]: image 'box', content ${image}, made from host files of /bin/busybox\nv[1-2]: kernel, content ${kernel}`,
    );
    expect(gone.fix).toContain('lodge image import FILE --name box');
    expect(fault(both, [kernel], 'c'.repeat(64)).message).toContain("image 'box' is another one than");
    const files = { ...saved, objects: [], argv: ['-drive', 'if=ide,format=raw,file=/disks/a,,b=c.img'] };
    expect(fault([files], []).message).toContain("no file '/disks/a,b=c.img'");
  });

  it('is not missed when it is there', () => {
    expect(() => fault(both, [image, kernel])).toThrow('it was accepted');
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
  ['a-name-as-long-as-it-may-be-here', [], 'a-name-as-long-as-it-may-be-he-2'],
  ['a-name-as-long-as-it-may-be-a-xy', [], 'a-name-as-long-as-it-may-be-a-2'],
])('a fork of %s beside %j is named %s', (name, taken, fork) => {
  expect(forkName(name, taken)).toBe(fork);
});

it('guests that do not run are told by their status', () => {
  const lab = cluster("guests: {'v[1-4]': , w: }\nfabric: {lan: {members: ['v[1-4]', w]}}\n");
  const view = (name: string, status: 'running' | 'exited') => ({ name: `lab.${name}`, status });
  const views = [view('v1', 'running'), view('v2', 'exited'), view('v3', 'exited'), view('old', 'exited')];
  expect(notRunning(lab, views)).toEqual(['exited: v[2-3],old', 'missing: v4,w']);
  expect(notRunning({ ...lab, guests: lab.guests.slice(0, 1) }, views.slice(0, 1))).toEqual([]);
});

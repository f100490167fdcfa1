import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  beginCheckpoint,
  finishCheckpoint,
  readCheckpoint,
  readRecord,
  stateFileOf,
  writeFabric,
} from '../../src/cluster/checkpoint/files.ts';
import { matchHosts, renameTrunks } from '../../src/cluster/checkpoint/hosts.ts';
import { movedCluster, planRestore } from '../../src/cluster/checkpoint/plan.ts';
import { clusterOnHost } from '../../src/cluster/hosts.ts';
import { decodeCheckpoint } from '../../src/fabric/checkpoint.ts';
import type { GuestPlan } from '../../src/guest/plan.ts';
import { broadcast, frameOf, lan, macOf, planOf, portPlan, Rig, trunkPlan } from '../fabric/rig.ts';
import { cluster, faultOf } from './sample.ts';

const gibibyte = 2 ** 30;
const room = (name: string, gibibytes: number) => ({ name, cpus: 4, memoryBytes: gibibytes * gibibyte });
const part = (name: string, gibibytes: number) => ({ name, neededBytes: gibibytes * gibibyte });

describe('the parts of a checkpoint', () => {
  const matched = (parts: ReturnType<typeof part>[], rooms: ReturnType<typeof room>[]) =>
    Object.fromEntries(matchHosts(parts, rooms));

  it('go to hosts of their names, the others to those that are left', () => {
    expect(matched([part('n1', 1), part('n2', 1)], [room('n2', 1), room('n1', 1), room('n3', 9)])).toEqual({
      n1: 'n1',
      n2: 'n2',
    });
    expect(matched([part('n1', 1), part('n2', 2)], [room('n7', 1), room('n2', 3), room('n8', 2)])).toEqual({
      n1: 'n8',
      n2: 'n2',
    });
  });

  it('go by their sizes where names would not do', () => {
    expect(matched([part('n1', 4), part('n2', 1)], [room('n1', 2), room('n2', 5)])).toEqual({
      n1: 'n2',
      n2: 'n1',
    });
    expect(matched([part('n1', 4)], [room('n1', 2), room('n2', 5)])).toEqual({ n1: 'n2' });
  });

  it('find a way whenever there is one, each with a host of its own', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(sizes, sizes, fc.nat(4), (parts, rooms, shift) => {
        const saved = parts.map((size, i) => part(`n${i}`, size));
        const hosts = rooms.map((size, i) => room(`n${i + shift}`, size));
        const [big, roomy] = [parts, rooms].map((list) => list.toSorted((a, b) => b - a));
        const isPossible = big!.length <= roomy!.length && big!.every((size, i) => size <= roomy![i]!);
        if (!isPossible) {
          expect(faultOf(() => matchHosts(saved, hosts)).code).toBe('allocation-too-small');
          return;
        }
        const found = matchHosts(saved, hosts);
        expect(found.size).toBe(saved.length);
        expect(new Set(found.values()).size).toBe(saved.length);
        for (const { name, neededBytes } of saved) {
          const host = hosts.find((one) => one.name === found.get(name))!;
          expect(host.memoryBytes).toBeGreaterThanOrEqual(neededBytes);
        }
      }),
    );
  });

  it('are told with all sizes when they fit nowhere', () => {
    const few = faultOf(() => matchHosts([part('n1', 1), part('n2', 1)], [room('n1', 9)]));
    expect([few.code, few.fix]).toEqual(['allocation-too-small', expect.stringContaining('salloc -N2')]);
    const small = faultOf(() => matchHosts([part('n1', 1), part('n2', 3)], [room('n1', 2), room('n2', 2)]));
    expect(small.detail).toBe('parts: 1G, 3G\nhosts: n[1-2], 2G, 2G');
  });
});

describe('a part that goes on on another host', () => {
  it('has what was on its way, learnt and counted at the trunk that is now', async () => {
    const planWith = (host: string) => planOf(lan([portPlan(1), trunkPlan(`trunk.${host}`)]));
    const before = new Rig();
    await before.apply(planWith('n02'));
    before.end('trunk.n02').emit(frameOf(macOf(1), macOf(50), 'from away'));
    before.end(1).emit(frameOf(macOf(50), macOf(1), 'answer'));
    await before.service.ask('freeze', {});
    before.end('trunk.n02').emit(frameOf(macOf(1), macOf(50), 'later'));
    before.end(1).emit(frameOf(broadcast, macOf(1), 'to all'));
    const { bytes } = await before.service.ask('save', {});
    expect(renameTrunks(bytes, new Map([['n02', 'n02']]))).toBe(bytes);
    const names = new Map([['n02', 'n09']]);
    const renamed = renameTrunks(bytes, names);
    expect(decodeCheckpoint(renamed).links.map(({ name }) => name)).toEqual(['lan/v1', 'lan/trunk.n09']);

    const after = new Rig();
    await after.apply(planWith('n09'));
    await after.service.ask('freeze', {});
    await after.service.ask('load', { bytes: Uint8Array.from(renamed) });
    await after.service.ask('thaw', {});
    after.run(1);
    expect(after.end(1).texts).toEqual(['later']);
    expect(after.end('trunk.n09').texts).toEqual(['to all']);
    const [, link] = await after.service.ask('links', {});
    expect(link).toMatchObject({ name: 'lan/trunk.n09', out: { frames: 2 }, in: { deliveredFrames: 2 } });
    const { endpoints } = await after.service.ask('matrix', {});
    expect(JSON.stringify(endpoints)).not.toContain('n02');
  });

  const whole = cluster('name: lab\nguests: {"v[1-3]": }\nfabric: {lan: {members: ["v[1-3]"]}}\n');
  const saved = { v1: 'n01', v2: 'n01', v3: 'n02' };
  const onSaved = (host: string) =>
    clusterOnHost(whole, new Map(Object.entries(saved)), { host, guestsDir: `/tmp/old.${host}/guests` });
  const guest = (name: string) =>
    ({
      name: `lab.${name}`,
      hostname: name,
      dir: `/tmp/old/guests/lab.${name}`,
      argv: [],
      objects: [],
    }) as unknown as GuestPlan;

  it('is what the plan of the whole says of that host, under any name', () => {
    const names = new Map([
      ['n01', 'n08'],
      ['n02', 'n09'],
    ]);
    for (const name of ['lab', 'fork']) {
      const hostOfGuest = new Map(Object.entries(saved).map(([one, host]) => [one, names.get(host)!]));
      const expected = clusterOnHost(
        movedCluster(whole, name, (one) => `/x/${one}`, '4711'),
        hostOfGuest,
        {
          host: 'n09',
          guestsDir: '/tmp/new/guests',
        },
      );
      const { fabric, guests } = planRestore({
        checkpoint: {
          version: 2,
          takenAt: '',
          cluster: whole,
          dir: '/saved',
          guests: { v3: guest('v3') },
          fabric: onSaved('n02').fabric,
        },
        name,
        guestDir: (one) => `/tmp/new/guests/${one}`,
        objectPath: (id) => `/store/objects/${id}`,
        newId: () => '0123456789abcdef',
        job: { id: '4711', hosts: names },
      });
      expect({ ...fabric, digest: expected.fabric.digest }).toEqual(expected.fabric);
      expect(guests.map((one) => [one.name, one.savedState?.file])).toEqual([
        [`${name}.v3`, '/saved/v3.state'],
      ]);
    }
  });

  it('is read with its own guests and fabric, and refused as that of one host', async () => {
    const base = mkdtempSync(join(tmpdir(), 'lodge-checkpoint-'));
    try {
      const dir = join(base, 'saved');
      const unfinished = beginCheckpoint(dir, { hosts: ['n01', 'n02'] });
      for (const host of ['n01', 'n02']) {
        writeFabric(unfinished, host, onSaved(host).fabric, new Uint8Array([1]));
      }
      for (const name of Object.keys(saved)) writeFileSync(stateFileOf(unfinished, name), 'state');
      const guests = { v1: guest('v1'), v2: guest('v2'), v3: guest('v3') };
      const hosts = { n01: ['v1', 'v2'], n02: ['v3'] };
      const record = { version: 2 as const, takenAt: 'now', cluster: whole, guests, hosts };
      await finishCheckpoint(unfinished, dir, { record, secret: Buffer.alloc(32) });
      expect(readRecord(dir).hosts).toEqual(hosts);
      expect(readCheckpoint(dir, 'n02')).toMatchObject({ fabric: onSaved('n02').fabric });
      expect(Object.keys(readCheckpoint(dir, 'n02').guests)).toEqual(['v3']);
      expect(faultOf(() => readCheckpoint(dir)).fix).toContain('salloc -N2');
      rmSync(join(dir, 'hosts/n02/fabric.state'));
      expect(() => readRecord(dir)).toThrow('fabric.state is missing');
      mkdirSync(join(base, 'other'));
      expect(() => beginCheckpoint(join(base, 'other'), { hosts: ['n01'] })).toThrow(
        /something at this place/,
      );
    } finally {
      rmSync(base, { recursive: true });
    }
  });
});

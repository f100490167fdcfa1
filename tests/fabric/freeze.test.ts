import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LodgeError } from '../../src/errors.ts';
import { decodeCheckpoint } from '../../src/fabric/checkpoint.ts';
import { broadcast, frameOf, lan, macOf, planOf, portPlan, Rig, stream, trunkPlan } from './rig.ts';

const plan = () =>
  planOf(
    lan([
      portPlan(1, { out: { delayMs: 20, bandwidthBitsPerSecond: 8e6, loss: 0.2 }, macs: 3 }),
      portPlan(2, { in: { delayMs: 1, jitterMs: 1 } }),
      portPlan(3, { in: { delayMs: 30 } }),
      trunkPlan('host2'),
    ]),
  );

async function busy(): Promise<Rig> {
  const rig = new Rig();
  await rig.apply(plan());
  rig.end(1).emit(frameOf(macOf(3), macOf(40), 'nested'));
  for (let i = 0; i < 20; i++) rig.end(1).emit(frameOf(macOf(2), macOf(1), `${i}`, 0x88b5, 500));
  rig.run(25);
  rig.end(2).emit(frameOf(broadcast, macOf(2), 'all'));
  rig.end(1).emit(frameOf(macOf(3), macOf(1), 'late'));
  rig.end('host2').emit(frameOf(macOf(1), macOf(50), 'from away'));
  return rig;
}

/** What each guest got, with times from a moment on. */
function heard(rig: Rig, sinceNs: number): unknown[] {
  return [1, 2, 3].map((guest) =>
    rig.end(guest).got.map(({ atNs, frame }) => [atNs - sinceNs, frame.toString('latin1')]),
  );
}

async function freezeAndSave(rig: Rig): Promise<Uint8Array<ArrayBuffer>> {
  await rig.service.ask('freeze', {});
  return (await rig.service.ask('save', {})).bytes;
}

/** A digest of all that is saved. Rates, which are scaled, may differ in their last bits. */
function stateIn(bytes: Uint8Array): string {
  const saved = decodeCheckpoint(bytes);
  for (const row of saved.matrix) row.bytesPerSecond = Math.round(row.bytesPerSecond);
  return createHash('sha256').update(JSON.stringify(saved)).digest('hex');
}

async function stateOf(rig: Rig): Promise<string> {
  return stateIn((await rig.service.ask('save', {})).bytes);
}

describe('a frozen fabric', () => {
  it('takes nothing in, delivers nothing, and goes on where it stood', async () => {
    const [rig, other] = [await busy(), await busy()];
    await rig.service.ask('freeze', {});
    await rig.service.ask('freeze', {});
    expect([1, 2, 3].every((guest) => rig.end(guest).isPaused)).toBe(true);
    const before = [1, 2, 3].map((guest) => rig.end(guest).got.length);
    rig.run(1e6);
    expect([1, 2, 3].map((guest) => rig.end(guest).got.length)).toEqual(before);
    await rig.service.ask('thaw', {});
    expect(rig.end(1).isPaused).toBe(false);
    rig.run(100);
    other.run(100);
    const later = (all: Rig, shiftNs: number) =>
      [1, 2, 3].map((guest) =>
        all
          .end(guest)
          .got.map(({ atNs, frame }) => [atNs > 25e6 ? atNs - shiftNs : atNs, frame.toString('hex')]),
      );
    expect(later(rig, 1e12)).toEqual(later(other, 0));
  });

  it('can be saved and taken back elsewhere: each frame comes once, at its time, and chance goes on', async () => {
    const rig = await busy();
    const atNs = rig.nowNs;
    const bytes = await freezeAndSave(rig);
    const other = new Rig();
    await other.apply(plan());
    other.run(777);
    await other.service.ask('freeze', {});
    await other.service.ask('load', { bytes });
    expect(await other.service.ask('links', {})).toEqual(await rig.service.ask('links', {}));
    const [a, b] = [await rig.service.ask('matrix', {}), await other.service.ask('matrix', {})];
    expect([b.frames, b.bytes]).toEqual([a.frames, a.bytes]);
    for (const end of rig.ends.values()) end.got.length = 0;
    const otherNs = other.nowNs;
    for (const all of [rig, other]) {
      await all.service.ask('thaw', {});
      for (let i = 0; i < 20; i++) all.end(1).emit(frameOf(macOf(2), macOf(1), `more ${i}`));
      all.run(200);
      all.end(2).emit(frameOf(macOf(40), macOf(2), 'to nested'));
      all.run(200);
      expect(all.service.fabric.pool.usedBytes).toBe(0);
    }
    const round = (all: unknown[]) =>
      JSON.parse(JSON.stringify(all), (_key, value) =>
        typeof value === 'number' ? Math.round(value / 1e5) : value,
      );
    expect(round(heard(other, otherNs)).flat().length).toBeGreaterThan(20);
    const texts = (all: Rig) => [1, 2, 3].map((guest) => all.end(guest).texts.toSorted());
    expect(texts(other)).toEqual(texts(rig));
    // Ticks of the two clocks lie differently.
    for (const guest of [1, 2, 3]) {
      const [left, right] = [rig, other].map((all) =>
        all
          .end(guest)
          .got.map((one) => one.atNs)
          .sort((x, y) => x - y),
      );
      for (const [i, time] of left!.entries()) {
        expect(Math.abs(time - atNs - (right![i]! - otherNs))).toBeLessThan(4 * 2 ** 15);
      }
    }
    expect(other.end('host2').texts).toEqual(rig.end('host2').texts);
  });

  it('saves the same again after it was loaded', async () => {
    const rig = await busy();
    const bytes = await freezeAndSave(rig);
    await rig.service.ask('load', { bytes });
    expect(await stateOf(rig)).toBe(stateIn(bytes));
  });

  it('keeps shapes, cuts and moves that are not in the plan', async () => {
    const rig = await busy();
    await rig.service.ask('cut', { link: 'lan/v3', direction: 'in' });
    await rig.service.ask('shape', { link: 'lan/v2', direction: 'out', shape: { loss: 0.5 } });
    const bytes = await freezeAndSave(rig);
    const other = new Rig();
    await other.apply(plan());
    await other.service.ask('freeze', {});
    await other.service.ask('load', { bytes });
    expect((await other.link('lan/v3')).in.isCut).toBe(true);
    expect((await other.link('lan/v2')).out.shape).toEqual({ loss: 0.5 });
  });

  it('takes in what waits in sockets when asked to, without delivering it', async () => {
    const rig = new Rig();
    await rig.apply(planOf(lan([portPlan(1), portPlan(2)])));
    await rig.service.ask('freeze', {});
    const end = rig.end(1);
    // What an end does that was resumed.
    end.resume = () => {
      end.isPaused = false;
      setImmediate(() => end.emit(frameOf(macOf(2), macOf(1), 'one')));
      setImmediate(() => setImmediate(() => rig.emitMany(1, [frameOf(macOf(2), macOf(1), 'two')])));
    };
    const { bytes } = await rig.service.ask('save', { drainMs: 1000 });
    expect([rig.end(2).got.length, end.isPaused]).toEqual([0, true]);
    expect(decodeCheckpoint(bytes).events).toHaveLength(2);
    end.resume = () => {};
    await rig.service.ask('thaw', {});
    rig.run(1);
    expect(rig.end(2).texts).toEqual(['one', 'two']);
  });

  it('gives guests what they had not read', async () => {
    const rig = new Rig();
    await rig.apply(planOf(lan([portPlan(1), portPlan(2)])));
    const unread = [frameOf(macOf(2), macOf(1), 'first'), frameOf(macOf(2), macOf(1), 'second')];
    for (const frame of unread) rig.end(1).emit(frame);
    Object.assign(rig.end(2), { waiting: () => stream(...unread) });
    const bytes = await freezeAndSave(rig);
    const other = new Rig();
    await other.apply(planOf(lan([portPlan(1), portPlan(2)])));
    await other.service.ask('freeze', {});
    await other.service.ask('load', { bytes });
    await other.service.ask('thaw', {});
    other.run(1);
    expect(other.end(2).texts).toEqual(['first', 'second']);
    expect((await other.link('lan/v2')).in.deliveredFrames).toBe(2);
  });

  it('is neither saved nor loaded while it runs', async () => {
    const rig = await busy();
    await expect(rig.service.ask('save', {})).rejects.toMatchObject({ code: 'fabric-unavailable' });
    await expect(rig.service.ask('load', { bytes: new Uint8Array(4) })).rejects.toMatchObject({
      code: 'fabric-unavailable',
    });
  });
});

/** Makes the sum at the end right. */
function reseal(bytes: Uint8Array): void {
  const end = bytes.length - 4;
  if (end >= 0) Buffer.from(bytes.buffer).writeUInt32LE(crc32(bytes.subarray(0, end)), end);
}

describe('a checkpoint that is not right', () => {
  it('is refused whatever is wrong with it, and nothing is changed', async () => {
    const rig = await busy();
    const bytes = await freezeAndSave(rig);
    let before = await stateOf(rig);
    const change = fc.record({ at: fc.nat(bytes.length - 1), to: fc.nat(255), cut: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
        let damaged = Uint8Array.from(bytes);
        for (const { at, to, cut } of changes) {
          damaged[at % damaged.length] = to;
          if (cut) damaged = damaged.slice(0, Math.max(1, at));
        }
        // As somebody would who means harm: else the sum would find all of it.
        reseal(damaged);
        const error = await rig.service.ask('load', { bytes: damaged }).then(
          () => undefined,
          (reason: unknown) => reason,
        );
        if (error === undefined) {
          // It could be read: then it is a checkpoint, if another one.
          await rig.service.ask('load', { bytes });
          before = await stateOf(rig);
          return;
        }
        expect(error).toBeInstanceOf(LodgeError);
        expect(['checkpoint-unreadable', 'spec-value', 'not-enough-memory']).toContain(
          (error as LodgeError).code,
        );
        expect(await stateOf(rig)).toBe(before);
      }),
      { numRuns: 300 },
    );
  });

  it('is refused when a bit of it has changed', async () => {
    const rig = await busy();
    const bytes = await freezeAndSave(rig);
    for (let at = 0; at < bytes.length; at += 97) {
      const damaged = Uint8Array.from(bytes);
      damaged[at]! ^= 1;
      await expect(rig.service.ask('load', { bytes: damaged })).rejects.toMatchObject({
        code: 'checkpoint-unreadable',
      });
    }
  });

  it('is read of the first version, which had no sum', async () => {
    const rig = await busy();
    const bytes = await freezeAndSave(rig);
    const first = bytes.slice(0, -4);
    first[8] = 1;
    const before = await stateOf(rig);
    await rig.service.ask('load', { bytes: first });
    expect(await stateOf(rig)).toBe(before);
  });

  it('is refused for links that are not there, and more frames than there is memory', async () => {
    const rig = await busy();
    const bytes = await freezeAndSave(rig);
    const other = new Rig();
    await other.apply(planOf(lan([portPlan(1)])));
    await other.service.ask('freeze', {});
    await expect(other.service.ask('load', { bytes })).rejects.toMatchObject({
      code: 'checkpoint-unreadable',
    });
    const small = new Rig({}, 2 ** 20);
    const large = new Rig();
    const far = () => planOf(lan([portPlan(1, { out: { delayMs: 1000 } }), portPlan(2)]));
    for (const all of [small, large]) await all.apply(far());
    for (let i = 0; i < 1000; i++) large.end(1).emit(frameOf(macOf(2), macOf(1), '', 0x88b5, 1500));
    const saved = await freezeAndSave(large);
    await small.service.ask('freeze', {});
    await expect(small.service.ask('load', { bytes: saved })).rejects.toMatchObject({
      code: 'not-enough-memory',
    });
    expect(small.service.fabric.pool.usedBytes).toBe(0);
  });
});

import { describe, expect, it } from 'vitest';
import type { Observer } from '../../src/fabric/observer.ts';
import type { Shape } from '../../src/fabric/plan.ts';
import { broadcast, frameOf, lan, macOf, planOf, portPlan, Rig, textOf } from './rig.ts';

const tickMs = 2 ** 15 / 1e6;

async function pair(out: Shape, into: Shape = {}): Promise<Rig> {
  const rig = new Rig();
  await rig.apply(planOf(lan([portPlan(1, { out }), portPlan(2, { in: into })])));
  return rig;
}

/** Milliseconds at which guest 2 got its frames. */
function times(rig: Rig): number[] {
  return rig.end(2).got.map(({ atNs }) => atNs / 1e6);
}

function send(rig: Rig, count: number, bytes = 1000): void {
  for (let i = 0; i < count; i++) rig.end(1).emit(frameOf(macOf(2), macOf(1), `${i}`, 0x88b5, bytes));
}

describe('shapes at work', () => {
  it('add up: rate, then delay, on each direction of the way', async () => {
    const rig = await pair(
      { bandwidthBitsPerSecond: 8e6, delayMs: 10 },
      { bandwidthBitsPerSecond: 4e6, delayMs: 5 },
    );
    send(rig, 3);
    rig.run(100);
    // 1 ms each, then 10; 2 ms each, then 5.
    for (const [i, expected] of [18, 20, 22].entries()) {
      expect(times(rig)[i]).toBeGreaterThanOrEqual(expected);
      expect(times(rig)[i]).toBeLessThan(expected + 2 * tickMs);
    }
    expect(rig.end(2).texts).toEqual(['0', '1', '2']);
  });

  it('keep the order of frames where there is no jitter, and the frames where there is', async () => {
    const still = await pair({ delayMs: 3, bandwidthBitsPerSecond: 1e9, loss: 0.1 }, { delayMs: 2 });
    const shaky = await pair({ delayMs: 3, jitterMs: 3 });
    for (const rig of [still, shaky]) {
      for (let i = 0; i < 50; i++) {
        send(rig, 1);
        rig.run(0.1);
      }
      rig.run(100);
    }
    const sent = still.end(2).got.map(({ atNs }) => atNs);
    expect(sent).toEqual([...sent].sort((a, b) => a - b));
    expect(shaky.end(2).got).toHaveLength(50);
  });

  it('lose, double and reorder the same frames in each run of the same seed', async () => {
    const shape = { delayMs: 2, loss: 0.2, duplicate: 0.2, reorder: 0.2, jitterMs: 0.5 };
    const results: string[][] = [];
    for (const seed of [1, 1, 2]) {
      const rig = new Rig();
      await rig.apply({ ...planOf(lan([portPlan(1, { out: shape }), portPlan(2)])), seed });
      send(rig, 100);
      rig.run(100);
      results.push(rig.end(2).texts);
      const { out } = await rig.link('lan/v1');
      expect(out.deliveredFrames).toBe(rig.end(2).got.length);
      expect(out.dropped.loss).toBeGreaterThan(0);
    }
    expect(results[0]).toEqual(results[1]);
    expect(results[0]).not.toEqual(results[2]);
    expect(new Set(results[0]).size).toBeLessThan(results[0]!.length);
  });

  it('queue so many bytes, and show them', async () => {
    const rig = await pair({ bandwidthBitsPerSecond: 8e6, queueBytes: 10_000 });
    send(rig, 30);
    const { out } = await rig.link('lan/v1');
    expect([out.queueBytes, out.heldFrames, out.dropped]).toEqual([10_000, 10, { queue: 20 }]);
    rig.run(5);
    expect((await rig.link('lan/v1')).out.queueBytes).toBe(5000);
    rig.run(100);
    expect(rig.end(2).got).toHaveLength(10);
    expect(rig.service.fabric.pool.usedBytes).toBe(0);
  });

  it('change while frames are on their way: queued anew at the new rate, in order, never later than the new delay', async () => {
    const rig = await pair({ bandwidthBitsPerSecond: 8e3, delayMs: 500, queueBytes: 1e6 });
    send(rig, 5);
    rig.run(10);
    // At 1000 bytes per second the last would come after 5.5 s.
    await rig.service.ask('shape', {
      link: 'lan/v1',
      direction: 'out',
      shape: { bandwidthBitsPerSecond: 8e6, delayMs: 1 },
    });
    send(rig, 2);
    rig.run(8.2);
    expect(rig.end(2).texts).toEqual(['0', '1', '2', '3', '4', '0', '1']);
    await rig.service.ask('shape', { link: 'lan/v1', shape: {} });
    send(rig, 1);
    expect(rig.end(2).got).toHaveLength(8);
  });

  it('do not let a frame without delay overtake those before it', async () => {
    const rig = await pair({ delayMs: 50 });
    send(rig, 3);
    await rig.service.ask('shape', { link: 'lan/v1', direction: 'out', shape: {} });
    rig.end(1).emit(frameOf(macOf(2), macOf(1), 'last'));
    rig.emitMany(1, [frameOf(macOf(2), macOf(1), 'later')]);
    rig.run(1);
    expect(rig.end(2).texts).toEqual(['0', '1', '2', 'last', 'later']);
  });

  it('are refused when they cannot be, with nothing changed', async () => {
    const rig = await pair({ delayMs: 7 });
    for (const shape of [
      { delayMs: -1 },
      { loss: 1.1 },
      { bandwidthBitsPerSecond: 0 },
      { jitterMs: Number.NaN },
      { delayMs: Number.POSITIVE_INFINITY },
    ]) {
      await expect(rig.service.ask('shape', { link: 'lan/v1', shape })).rejects.toMatchObject({
        code: 'spec-value',
      });
    }
    await expect(rig.service.ask('shape', { link: 'lan/v9', shape: {} })).rejects.toMatchObject({
      code: 'usage',
    });
    expect((await rig.link('lan/v1')).out.shape).toEqual({ delayMs: 7 });
  });

  it('hold a frame for everybody once, however many it is for', async () => {
    const rig = new Rig();
    await rig.apply(
      planOf(lan(Array.from({ length: 100 }, (_, i) => portPlan(i + 1, { in: { delayMs: 5 } })))),
    );
    rig.end(1).emit(frameOf(broadcast, macOf(1), 'all'));
    expect(rig.service.fabric.wheel.count).toBe(99);
    expect(rig.service.fabric.pool.usedBytes).toBe(256);
    rig.run(10);
    expect(rig.end(100).texts).toEqual(['all']);
    expect(rig.service.fabric.pool.usedBytes).toBe(0);
  });

  it('cannot use up the memory: some is left for other links', async () => {
    const rig = new Rig({}, 4 * 2 ** 20);
    const slow = { delayMs: 60_000 };
    await rig.apply(
      planOf(lan([portPlan(1, { out: slow }), portPlan(2, { out: slow }), portPlan(3, { out: slow })])),
    );
    for (const guest of [1, 2]) {
      for (let i = 0; i < 4000; i++) rig.end(guest).emit(frameOf(macOf(3), macOf(guest), '', 0x88b5, 1500));
    }
    const { pool } = rig.service.fabric;
    expect(pool.freeBytes).toBeGreaterThan(pool.limitBytes / 5);
    expect((await rig.link('lan/v1')).out.dropped.memory).toBe(4000 - 1024);
    rig.end(3).emit(frameOf(macOf(1), macOf(3), 'still'));
    rig.run(60_001);
    expect(rig.end(1).texts).toEqual(['still']);
    expect(pool.usedBytes).toBe(0);
  });
});

describe('an observer', () => {
  it('sees what the guest at the link would see, with the time of day', async () => {
    const seen: unknown[] = [];
    const observer = (name: string): Observer => ({
      observe: (seconds, nanoseconds, buffer, offset, length) => {
        seen.push([name, seconds, nanoseconds, textOf(buffer.subarray(offset, offset + length))]);
      },
    });
    let closed = 0;
    const rig = new Rig({
      openCapture: () => ({
        out: observer('out'),
        in: observer('in'),
        close: async () => {
          closed++;
        },
      }),
    });
    await rig.apply(
      planOf(lan([portPlan(1, { out: { loss: 1, delayMs: 3 }, in: { delayMs: 4 } }), portPlan(2)])),
    );
    const capture = { directory: '/nowhere', snapLengthBytes: 100, files: 1, fileBytes: 1e6 };
    await rig.service.ask('capture-start', { link: 'lan/v1', capture });
    rig.run(1);
    rig.end(1).emit(frameOf(macOf(2), macOf(1), 'lost'));
    rig.emitMany(2, [frameOf(macOf(1), macOf(2), 'comes')]);
    const leaves = Math.ceil((5e6 + 1) / 2 ** 15) * 2 ** 15;
    rig.run(10);
    expect(seen).toEqual([
      ['out', 1_700_000_000, 1_000_000, 'lost'],
      ['in', 1_700_000_000, leaves, 'comes'],
    ]);
    expect((await rig.link('lan/v1')).capture).toEqual(capture);
    await rig.service.ask('capture-stop', { link: 'lan/v1' });
    rig.end(1).emit(frameOf(macOf(2), macOf(1), 'unseen'));
    expect([seen.length, closed, (await rig.link('lan/v1')).capture]).toEqual([2, 1, undefined]);
  });
});

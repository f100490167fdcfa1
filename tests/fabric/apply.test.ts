import { describe, expect, it } from 'vitest';
import type { FabricPlan, PortPlan } from '../../src/fabric/plan.ts';
import {
  broadcast,
  FakeEnd,
  frameOf,
  lan,
  linkPlan,
  macOf,
  planOf,
  portPlan,
  Rig,
  trunkPlan,
} from './rig.ts';

describe('applying a plan', () => {
  it('changes nothing when it is the same', async () => {
    const rig = new Rig();
    const plan = () => planOf(lan([portPlan(1, { out: { delayMs: 5 } }), portPlan(2)]));
    expect(await rig.apply(plan())).toEqual({ added: ['lan/v1', 'lan/v2'], removed: [], changed: [] });
    const before = rig.end(1);
    before.emit(frameOf(macOf(2), macOf(1), 'on its way'));
    expect(await rig.apply(plan())).toEqual({ added: [], removed: [], changed: [] });
    expect(rig.end(1)).toBe(before);
    rig.run(6);
    expect(rig.end(2).texts).toEqual(['on its way']);
  });

  it('adds, removes and changes, and leaves the rest as it was', async () => {
    const rig = new Rig();
    await rig.apply(planOf(lan([portPlan(1, { out: { delayMs: 5 } }), portPlan(2), portPlan(3)])));
    rig.end(1).emit(frameOf(macOf(2), macOf(1), 'stays'));
    rig.end(1).emit(frameOf(macOf(3), macOf(1), 'for one who leaves'));
    const removed = rig.end(3);
    const result = await rig.apply(
      planOf(lan([portPlan(1, { out: { delayMs: 5 } }), portPlan(2, { in: { delayMs: 1 } }), portPlan(4)])),
    );
    expect(result).toEqual({ added: ['lan/v4'], removed: ['lan/v3'], changed: ['lan/v2'] });
    expect(removed.isStopped).toBe(true);
    rig.run(10);
    expect(rig.end(2).texts).toEqual(['stays', 'for one who leaves']);
    rig.end(4).emit(frameOf(broadcast, macOf(4), 'new here'));
    rig.run(10);
    expect(rig.end(2).texts.at(-1)).toBe('new here');
    expect(removed.texts).toEqual([]);
  });

  it('releases what was on a link that goes', async () => {
    const rig = new Rig();
    await rig.apply(planOf(lan([portPlan(1, { out: { delayMs: 500 } }), portPlan(2)])));
    rig.end(1).emit(frameOf(macOf(2), macOf(1)));
    expect(rig.service.fabric.pool.usedBytes).toBeGreaterThan(0);
    await rig.apply(planOf(lan([portPlan(2)])));
    expect(rig.service.fabric.pool.usedBytes).toBe(0);
    await rig.apply(planOf());
    expect(await rig.service.ask('status', {})).toMatchObject({
      links: 0,
      ports: 0,
      switches: 0,
      heldFrames: 0,
    });
    // Numbers are used again, and what they meant before is forgotten.
    await rig.apply(planOf(lan([portPlan(7), portPlan(8)])));
    rig.end(7).emit(frameOf(macOf(2), macOf(7), 'to one who is gone'));
    rig.run(1000);
    expect(rig.end(8).texts).toEqual(['to one who is gone']);
    expect((await rig.link('lan/v8')).port!.macs).toEqual([macOf(8)]);
  });

  it('takes back what was changed while it ran', async () => {
    const rig = new Rig();
    const plan = planOf(lan([portPlan(1), portPlan(2)]));
    await rig.apply(plan);
    await rig.service.ask('cut', { link: 'lan/v1' });
    await rig.service.ask('shape', { link: 'lan/v2', shape: { delayMs: 9 } });
    expect((await rig.apply(plan)).changed).toEqual(['lan/v1', 'lan/v2']);
    rig.end(1).emit(frameOf(macOf(2), macOf(1), 'whole'));
    expect(rig.end(2).texts).toEqual(['whole']);
    expect(rig.events.map(({ link, kind }) => `${link} ${kind}`)).toEqual([
      'lan/v1 connected',
      'lan/v2 connected',
      'lan/v1 cut',
      'lan/v1 healed',
    ]);
  });

  it('connects a port anew when another guest or socket is there', async () => {
    const rig = new Rig();
    await rig.apply(planOf(lan([portPlan(1), portPlan(2)])));
    const before = rig.end(1);
    const result = await rig.apply(planOf(lan([portPlan(1, { socketPath: '/elsewhere' }), portPlan(2)])));
    expect(result).toEqual({ added: ['lan/v1'], removed: ['lan/v1'], changed: [] });
    expect([before.isStopped, rig.end(1) === before]).toEqual([true, false]);
    rig.end(2).emit(frameOf(macOf(1), macOf(2), 'hello'));
    expect(rig.end(1).texts).toEqual(['hello']);
  });

  it('changes the graph of switches under frames on their way', async () => {
    const rig = new Rig();
    const plan = (switches: string[], links: [number, number][], at: number[]): FabricPlan =>
      planOf({
        ...lan(at.map((index, i) => portPlan(i + 1, { switch: index }))),
        switches,
        links: links.map(([a, b]) => ({
          link: linkPlan(`lan/${switches[a]}-${switches[b]}`, { out: { delayMs: 5 }, in: { delayMs: 5 } }),
          a,
          b,
        })),
      });
    await rig.apply(plan(['a', 'b'], [[0, 1]], [0, 1]));
    rig.end(1).emit(frameOf(macOf(2), macOf(1), 'first'));
    // b is now behind c, and the order of switches is another.
    await rig.apply(
      plan(
        ['c', 'b', 'a'],
        [
          [2, 1],
          [2, 0],
          [0, 1],
        ],
        [2, 1],
      ),
    );
    rig.run(6);
    expect(rig.end(2).texts).toEqual(['first']);
    await rig.apply(
      plan(
        ['c', 'b', 'a'],
        [
          [2, 0],
          [0, 1],
        ],
        [2, 1],
      ),
    );
    rig.end(1).emit(frameOf(macOf(2), macOf(1), 'by c'));
    rig.run(9);
    expect(rig.end(2).texts).toEqual(['first']);
    rig.run(2);
    expect(rig.end(2).texts).toEqual(['first', 'by c']);
    await rig.apply(plan(['c', 'a'], [[1, 0]], [1, 0]));
    rig.end(1).emit(frameOf(macOf(2), macOf(1), 'at c'));
    rig.run(6);
    expect(rig.end(2).texts.at(-1)).toBe('at c');
  });

  it('begins, replaces and ends captures, never two of one link at once', async () => {
    const log: string[] = [];
    const rig = new Rig({
      openCapture: (plan, link) => {
        const name = `${link} ${plan.directory}`;
        if (plan.directory === 'full') throw new Error('no room');
        log.push(`open ${name}`);
        const observer = { observe: () => {} };
        const close = async () => {
          await new Promise((resolve) => setImmediate(resolve));
          log.push(`close ${name}`);
        };
        return { out: observer, in: observer, close };
      },
    });
    const plan = (directory?: string, socketPath = '/a') => {
      const port = portPlan(1, { socketPath });
      const capture = { directory: directory!, snapLengthBytes: 100, files: 1, fileBytes: 1e6 };
      return planOf(
        lan([{ ...port, link: { ...port.link, ...(directory === undefined ? {} : { capture }) } }]),
      );
    };
    await rig.apply(plan('one'));
    await rig.apply(plan('one'));
    expect(log.splice(0)).toEqual(['open lan/v1 one']);
    await rig.apply(plan('two'));
    await rig.apply(plan('two', '/b'));
    expect(log.splice(0)).toEqual([
      'close lan/v1 one',
      'open lan/v1 two',
      'close lan/v1 two',
      'open lan/v1 two',
    ]);
    await rig.apply(plan('full'));
    expect(rig.events.at(-1)).toMatchObject({ kind: 'capture-failed', link: 'lan/v1', detail: 'no room' });
    await expect(rig.apply(plan('full', '/c'))).rejects.toThrow('no room');
    expect(log.splice(0)).toEqual(['close lan/v1 two']);
    await rig.apply(plan());
    expect((await rig.link('lan/v1')).capture).toBeUndefined();
  });

  it('does all or nothing', async () => {
    const opened: FakeEnd[] = [];
    const rig = new Rig({
      openEnd: (plan) => {
        if (plan.end.kind === 'trunk') throw new Error('no trunk here');
        const end = new FakeEnd(() => 0);
        rig.ends.set(plan.link.name, end);
        opened.push(end);
        return end;
      },
    });
    await rig.apply(planOf(lan([portPlan(1), portPlan(2)])));
    const before = await rig.service.ask('links', {});
    const bad = planOf(lan([portPlan(2, { in: { delayMs: 1 } }), portPlan(3), trunkPlan('host2')]));
    await expect(rig.apply(bad)).rejects.toThrow('no trunk here');
    expect(await rig.service.ask('links', {})).toEqual(before);
    expect(opened.map(({ isStopped }) => isStopped)).toEqual([false, false, true]);
  });

  it('refuses plans that cannot be', async () => {
    const rig = new Rig();
    const port = (change: Partial<PortPlan>) => planOf(lan([{ ...portPlan(1), ...change }]));
    const limits = { macs: 1, broadcastsPerSecond: 10 };
    const end = portPlan(1).end;
    if (end.kind !== 'guest') throw new Error('a guest');
    const bad: [string, FabricPlan][] = [
      ['no switch', planOf({ ...lan([]), switches: [] })],
      ['called', planOf(lan([portPlan(1), portPlan(1)]))],
      ['called', planOf(lan([]), lan([]))],
      ['twice', planOf(lan([portPlan(1), { ...portPlan(2), end }]))],
      ['no address', port({ end: { ...end, interface: { ...end.interface, mac: '01:00:00:00:00:01' } } })],
      ['no address', port({ end: { ...end, interface: { ...end.interface, mac: 'x' } } })],
      ['at no switch', port({ switch: 1 })],
      ['at least one', port({ limits: { ...limits, macs: 0 } })],
      ['broadcasts', port({ limits: { ...limits, broadcastsPerSecond: -1 } })],
      ['loss', port({ link: linkPlan('lan/v1', { in: { loss: 2 } }) })],
      ['MTU', planOf({ ...lan([]), mtuBytes: 70_000 })],
      ['join', planOf({ ...lan([]), links: [{ link: linkPlan('lan/x'), a: 0, b: 0 }] })],
      ['same name', planOf({ ...lan([]), switches: ['a', 'a'] })],
    ];
    for (const [message, plan] of bad) {
      await expect(rig.apply(plan), message).rejects.toMatchObject({
        code: 'spec-value',
        message: expect.stringContaining(message),
      });
    }
    expect(await rig.service.ask('status', {})).toMatchObject({ links: 0 });
  });
});

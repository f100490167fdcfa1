import { describe, expect, it } from 'vitest';
import { broadcast, frameOf, lan, linkPlan, macOf, planOf, portPlan, Rig, trunkPlan } from './rig.ts';

async function lanOf(...options: Parameters<typeof portPlan>[1][]): Promise<Rig> {
  const rig = new Rig();
  await rig.apply(planOf(lan(options.map((option, index) => portPlan(index + 1, option)))));
  return rig;
}

/** Of each guest's end, the texts of the frames it got. */
function heard(rig: Rig, ...guests: number[]): string[][] {
  return guests.map((guest) => rig.end(guest).texts);
}

describe('a LAN', () => {
  it('brings a frame to whom it is for, known from the plan, and to nobody else', async () => {
    const rig = await lanOf({}, {}, {});
    rig.end(1).emit(frameOf(macOf(3), macOf(1), 'hello'));
    rig.end(3).emit(frameOf(macOf(1), macOf(3), 'back'));
    expect(heard(rig, 1, 2, 3)).toEqual([['back'], [], ['hello']]);
  });

  it('brings broadcasts, multicasts and frames to unknown addresses to everybody else', async () => {
    const rig = await lanOf({}, {}, {});
    rig.end(1).emit(frameOf(broadcast, macOf(1), 'all'));
    rig.end(2).emit(frameOf('01:00:5e:00:00:01', macOf(2), 'group'));
    rig.end(2).emit(frameOf(macOf(99), macOf(2), 'who'));
    expect(heard(rig, 1, 2, 3)).toEqual([['group', 'who'], ['all'], ['all', 'group', 'who']]);
  });

  it('drops what is for the sender itself', async () => {
    const rig = await lanOf({ macs: 2 }, {});
    rig.end(1).emit(frameOf(macOf(2), macOf(50), 'from behind'));
    rig.end(1).emit(frameOf(macOf(50), macOf(1), 'to behind'));
    expect(heard(rig, 1, 2)).toEqual([[], ['from behind']]);
    expect((await rig.link('lan/v1')).out.dropped).toEqual({ 'own-port': 1 });
  });

  it('hands frames of one pair on in one piece, and others in their order', async () => {
    const rig = await lanOf({}, {}, {});
    const [a, b] = [frameOf(macOf(2), macOf(1), 'to 2'), frameOf(macOf(3), macOf(1), 'to 3')];
    const sent = [a, a, a, b, a, frameOf(broadcast, macOf(1), 'all'), b, b];
    expect(rig.emitMany(1, sent)).toBe(sent.length * 64);
    expect(rig.end(2).texts).toEqual(['to 2', 'to 2', 'to 2', 'to 2', 'all']);
    expect(rig.end(3).texts).toEqual(['to 3', 'all', 'to 3', 'to 3']);
    expect([rig.end(2).runs, rig.end(3).runs]).toEqual([2, 2]);
    const { out } = await rig.link('lan/v1');
    expect([out.frames, out.bytes, out.deliveredFrames]).toEqual([8, 480, 8]);
    expect((await rig.link('lan/v2')).in).toMatchObject({
      frames: 5,
      deliveredFrames: 5,
      deliveredBytes: 300,
    });
  });

  it('counts what a guest does not take', async () => {
    const rig = await lanOf({}, {});
    rig.end(2).room = 3;
    rig.emitMany(
      1,
      Array.from({ length: 5 }, () => frameOf(macOf(2), macOf(1))),
    );
    rig.end(1).emit(frameOf(broadcast, macOf(1)));
    const { in: to } = await rig.link('lan/v2');
    expect([to.frames, to.deliveredFrames, to.deliveredBytes, to.dropped]).toEqual([
      6,
      3,
      180,
      { overflow: 3 },
    ]);
  });

  it('counts what is for a guest that is away', async () => {
    const rig = await lanOf({}, {});
    rig.end(2).sink.disconnected('gone');
    rig.emitMany(1, [frameOf(macOf(2), macOf(1)), frameOf(macOf(2), macOf(1))]);
    expect((await rig.link('lan/v2')).in.dropped).toEqual({ detached: 2 });
    expect(rig.end(2).got).toEqual([]);
    rig.end(2).sink.connected();
    rig.emitMany(1, [frameOf(macOf(2), macOf(1))]);
    expect(rig.end(2).got).toHaveLength(1);
  });

  it('takes the answer that an end gives at once, after the frame that is answered', async () => {
    const rig = await lanOf({}, {}, {});
    const answering = rig.end(2);
    const send = answering.send.bind(answering);
    answering.send = (buffer, offset, length) => {
      answering.emit(frameOf(broadcast, macOf(2), 'answer'));
      return send(buffer, offset, length);
    };
    rig.end(1).emit(frameOf(broadcast, macOf(1), 'question'));
    rig.emitMany(1, [frameOf(macOf(2), macOf(1), 'one'), frameOf(macOf(3), macOf(1), 'two')]);
    expect(heard(rig, 1, 2, 3)).toEqual([[], ['question', 'one'], ['question', 'two']]);
    await new Promise((resolve) => setImmediate(resolve));
    expect(heard(rig, 1, 3)).toEqual([
      ['answer', 'answer'],
      ['question', 'two', 'answer', 'answer'],
    ]);
  });

  it('is apart from other networks, whatever address is used', async () => {
    const rig = new Rig();
    await rig.apply(
      planOf(lan([portPlan(1), portPlan(2)]), lan([portPlan(1, {}, 'wan'), portPlan(3, {}, 'wan')], 'wan')),
    );
    rig.end(1).emit(frameOf(macOf(3), macOf(1), 'to 3'));
    rig.end(1).emit(frameOf(broadcast, macOf(1), 'all'));
    rig.end(3, 'wan').emit(frameOf(macOf(1), macOf(3), 'to 1'));
    expect(rig.end(2).texts).toEqual(['to 3', 'all']);
    expect(rig.end(3, 'wan').texts).toEqual([]);
    expect([rig.end(1).texts, rig.end(1, 'wan').texts]).toEqual([[], ['to 1']]);
  });
});

describe('what a guest may not do', () => {
  it('is dropped, counted and told, with frames of all lengths', async () => {
    const rig = await lanOf({}, {});
    const { sink } = rig.end(1);
    const good = frameOf(macOf(2), macOf(1), '', 0x88b5, 1518);
    for (const bytes of [0, 1, 13]) sink.frame(Buffer.alloc(bytes), 0, bytes);
    sink.frame(frameOf(macOf(2), macOf(1), '', 0x88b5, 1519), 0, 1519);
    sink.frame(Buffer.alloc(70_000), 0, 70_000);
    rig.emitMany(1, [good, Buffer.alloc(5), good, frameOf(macOf(2), macOf(1), '', 0x88b5, 3000), good]);
    rig.end(1).emit(frameOf(macOf(2), '01:00:5e:00:00:01'));
    rig.end(1).emit(frameOf(macOf(2), '00:00:00:00:00:00'));
    expect(rig.end(2).got.map(({ frame }) => frame.length)).toEqual([1518, 1518, 1518]);
    const { out } = await rig.link('lan/v1');
    expect(out.dropped).toEqual({ runt: 4, giant: 3, malformed: 2 });
    expect(out.frames).toBe(12);
    const told = rig.events.filter(({ kind }) => kind === 'dropping');
    expect(told.map(({ link, reason, count }) => [link, reason, count])).toEqual([
      ['lan/v1', 'runt', 1],
      ['lan/v1', 'giant', 1],
      ['lan/v1', 'malformed', 1],
    ]);
    rig.run(10_001);
    sink.frame(good, 0, 3);
    expect(rig.events.at(-1)).toMatchObject({ reason: 'runt', count: 4 });
  });

  it('speaks with no address but its own', async () => {
    const rig = await lanOf({}, {}, {});
    rig.end(1).emit(frameOf(macOf(3), macOf(2), 'as 2'));
    rig.end(1).emit(frameOf(macOf(3), macOf(77), 'as 77'));
    rig.end(1).emit(frameOf(broadcast, macOf(2), 'as 2', 0x8035));
    expect(rig.end(3).texts).toEqual([]);
    expect((await rig.link('lan/v1')).out.dropped).toEqual({ spoofed: 3 });
    // And takes nobody's traffic by it.
    rig.end(3).emit(frameOf(macOf(2), macOf(3), 'to 2'));
    expect(heard(rig, 1, 2)).toEqual([[], ['to 2']]);
  });

  it('has as many addresses as it may, and gets room when one was silent for long', async () => {
    const rig = await lanOf({ macs: 3 }, {});
    for (const from of [60, 61, 62, 63]) rig.end(1).emit(frameOf(macOf(2), macOf(from), `${from}`));
    rig.end(1).emit(frameOf(macOf(2), macOf(1), 'own'));
    expect(rig.end(2).texts).toEqual(['60', '61', 'own']);
    expect((await rig.link('lan/v1')).out.dropped).toEqual({ 'mac-limit': 2 });
    expect((await rig.link('lan/v1')).port!.macs).toEqual([macOf(1), macOf(60), macOf(61)]);
    rig.run(200_000);
    rig.end(1).emit(frameOf(macOf(2), macOf(61), '61 again'));
    rig.run(150_000);
    rig.end(1).emit(frameOf(macOf(2), macOf(62), '62 at last'));
    rig.end(1).emit(frameOf(macOf(2), macOf(63), '63'));
    expect((await rig.link('lan/v1')).port!.macs).toEqual([macOf(1), macOf(61), macOf(62)]);
    // What was forgotten is unknown: to everybody.
    rig.end(2).emit(frameOf(macOf(61), macOf(2), 'to 61'));
    expect(rig.end(1).texts).toEqual(['to 61']);
  });

  it('sends as many broadcasts as it may', async () => {
    const rig = await lanOf({ broadcastsPerSecond: 100 }, {});
    for (let i = 0; i < 50; i++)
      rig.end(1).emit(frameOf(i % 2 === 0 ? broadcast : macOf(99), macOf(1), `${i}`));
    expect(rig.end(2).got).toHaveLength(32);
    rig.run(100);
    for (let i = 0; i < 50; i++) rig.end(1).emit(frameOf(broadcast, macOf(1)));
    expect(rig.end(2).got).toHaveLength(42);
    rig.end(1).emit(frameOf(macOf(2), macOf(1), 'to one'));
    expect(rig.end(2).texts.at(-1)).toBe('to one');
    expect((await rig.link('lan/v1')).out.dropped).toEqual({ storm: 58 });
  });
});

describe('addresses that move', () => {
  it('are those of nested guests, and are found at the new port', async () => {
    const rig = await lanOf({ macs: 4 }, { macs: 4 }, {});
    rig.end(1).emit(frameOf(macOf(3), macOf(80)));
    rig.end(3).emit(frameOf(macOf(80), macOf(3), 'first'));
    rig.end(2).emit(frameOf(broadcast, macOf(80), '', 0x8035));
    rig.end(3).emit(frameOf(macOf(80), macOf(3), 'second'));
    expect(rig.end(1).texts).toContain('first');
    expect(rig.end(1).texts).not.toContain('second');
    expect(rig.end(2).texts).toEqual(['second']);
    // The old port's memory of its last source is not used any more.
    rig.end(1).emit(frameOf(macOf(3), macOf(80)));
    rig.end(3).emit(frameOf(macOf(80), macOf(3), 'third'));
    expect(rig.end(1).texts.at(-1)).toBe('third');
  });

  it('go behind a trunk with a guest that migrates, and come back with it', async () => {
    const rig = new Rig();
    await rig.apply(planOf(lan([portPlan(1), portPlan(2), trunkPlan('host2')])));
    const trunk = rig.end('host2');
    trunk.emit(frameOf(macOf(1), macOf(2), 'not yours'));
    expect(rig.end(1).texts).toEqual([]);
    trunk.emit(frameOf(broadcast, macOf(2), 'here I am', 0x8035));
    rig.end(1).emit(frameOf(macOf(2), macOf(1), 'to the new place'));
    expect(trunk.texts).toEqual(['to the new place']);
    expect(rig.end(2).texts).toEqual(['here I am']);
    rig.end(2).emit(frameOf(broadcast, macOf(2), 'back', 0x8035));
    rig.end(1).emit(frameOf(macOf(2), macOf(1), 'to the old place'));
    expect(rig.end(2).texts.at(-1)).toBe('to the old place');
    // Without announcement, when nothing is at its own port.
    rig.end(2).sink.disconnected('migrated');
    trunk.emit(frameOf(macOf(1), macOf(2), 'moved'));
    expect(rig.end(1).texts.at(-1)).toBe('moved');
  });

  it('never make a frame go from trunk to trunk', async () => {
    const rig = new Rig();
    await rig.apply(planOf(lan([portPlan(1), trunkPlan('host2'), trunkPlan('host3')])));
    const [two, three] = [rig.end('host2'), rig.end('host3')];
    three.emit(frameOf(macOf(1), macOf(90), 'from 3'));
    two.emit(frameOf(broadcast, macOf(91), 'all'));
    two.emit(frameOf(macOf(90), macOf(91), 'to 90'));
    two.emit(frameOf(macOf(92), macOf(91), 'to nobody'));
    expect([rig.end(1).texts, two.texts, three.texts]).toEqual([['from 3', 'all', 'to nobody'], [], []]);
    rig.end(1).emit(frameOf(broadcast, macOf(1), 'mine'));
    expect([two.texts, three.texts]).toEqual([['mine'], ['mine']]);
  });
});

/** Four switches in a ring, a guest at each. */
function ring(options: Parameters<typeof portPlan>[1] = {}) {
  const switches = ['s0', 's1', 's2', 's3'];
  return planOf({
    ...lan([0, 1, 2, 3].map((at) => portPlan(at + 1, { ...options, switch: at }))),
    switches,
    links: [0, 1, 2, 3].map((at) => ({
      link: linkPlan(`lan/s${at}-s${(at + 1) % 4}`, { out: { delayMs: 1 }, in: { delayMs: 1 } }),
      a: at,
      b: (at + 1) % 4,
    })),
  });
}

describe('a graph of switches', () => {
  it('brings frames along shortest paths, link by link', async () => {
    const rig = new Rig();
    await rig.apply(ring());
    rig.end(1).emit(frameOf(macOf(3), macOf(1), 'two hops'));
    rig.end(1).emit(frameOf(macOf(2), macOf(1), 'one hop'));
    rig.run(1.05);
    expect(heard(rig, 2, 3, 4)).toEqual([['one hop'], [], []]);
    rig.run(1);
    expect(heard(rig, 2, 3, 4)).toEqual([['one hop'], ['two hops'], []]);
  });

  it('brings a broadcast to each guest once, in a ring', async () => {
    const rig = new Rig();
    await rig.apply(ring());
    rig.end(2).emit(frameOf(broadcast, macOf(2), 'all'));
    rig.run(50);
    expect(heard(rig, 1, 2, 3, 4)).toEqual([['all'], [], ['all'], ['all']]);
    expect(rig.service.fabric.pool.usedBytes).toBe(0);
  });

  it('goes round a link that is cut, and says when no way is left', async () => {
    const rig = new Rig();
    await rig.apply(ring());
    await rig.service.ask('cut', { link: 'lan/s0-s1' });
    rig.end(1).emit(frameOf(macOf(2), macOf(1), 'round'));
    rig.run(3.1);
    expect(rig.end(2).texts).toEqual(['round']);
    await rig.service.ask('cut', { link: 'lan/s3-s0' });
    rig.end(1).emit(frameOf(macOf(2), macOf(1), 'lost'));
    rig.end(1).emit(frameOf(broadcast, macOf(1), 'alone'));
    rig.run(10);
    expect(heard(rig, 2, 3, 4)).toEqual([['round'], [], []]);
    expect((await rig.link('lan/v1')).out.dropped).toEqual({ unreachable: 1 });
    await rig.service.ask('heal', { link: 'lan/s0-s1' });
    rig.end(1).emit(frameOf(macOf(2), macOf(1), 'again'));
    rig.run(1.1);
    expect(rig.end(2).texts).toEqual(['round', 'again']);
  });

  it('loses frames at a link that is cut in one direction only', async () => {
    const rig = new Rig();
    await rig.apply(ring());
    await rig.service.ask('cut', { link: 'lan/s0-s1', direction: 'out' });
    rig.end(1).emit(frameOf(macOf(2), macOf(1), 'lost'));
    rig.end(2).emit(frameOf(macOf(1), macOf(2), 'arrives'));
    rig.run(5);
    expect(heard(rig, 1, 2)).toEqual([['arrives'], []]);
    expect((await rig.link('lan/s0-s1')).out.dropped).toEqual({ cut: 1 });
  });

  it('finds a port that was moved to another switch', async () => {
    const rig = new Rig();
    await rig.apply(ring());
    await rig.service.ask('move', { link: 'lan/v3', switch: 's0' });
    rig.end(1).emit(frameOf(macOf(3), macOf(1), 'near'));
    rig.end(3).emit(frameOf(macOf(1), macOf(3), 'by'));
    expect(heard(rig, 1, 3)).toEqual([['by'], ['near']]);
    rig.end(2).emit(frameOf(broadcast, macOf(2), 'all'));
    rig.run(5);
    expect(heard(rig, 1, 3, 4)).toEqual([['by', 'all'], ['near', 'all'], ['all']]);
    await expect(rig.service.ask('move', { link: 'lan/v3', switch: 'sx' })).rejects.toMatchObject({
      code: 'usage',
    });
    await expect(rig.service.ask('move', { link: 'lan/s0-s1', switch: 's0' })).rejects.toMatchObject({
      code: 'usage',
    });
  });

  it('carries a broadcast through a long chain without delays', async () => {
    const count = 5000;
    const rig = new Rig();
    await rig.apply(
      planOf({
        ...lan([portPlan(1, { switch: 0 }), portPlan(2, { switch: count - 1 })]),
        switches: Array.from({ length: count }, (_, at) => `s${at}`),
        links: Array.from({ length: count - 1 }, (_, at) => ({
          link: linkPlan(`lan/s${at}-s${at + 1}`),
          a: at,
          b: at + 1,
        })),
      }),
    );
    rig.end(1).emit(frameOf(broadcast, macOf(1), 'far'));
    rig.end(2).emit(frameOf(macOf(1), macOf(2), 'back'));
    expect(heard(rig, 1, 2)).toEqual([['back'], ['far']]);
  });
});

describe('the traffic matrix', () => {
  it('counts what was let in, by pair, and broadcasts once', async () => {
    const rig = await lanOf({ out: { loss: 1 } }, {}, {});
    rig.emitMany(2, [frameOf(macOf(3), macOf(2)), frameOf(macOf(3), macOf(2)), frameOf(broadcast, macOf(2))]);
    rig.end(1).emit(frameOf(macOf(2), macOf(1), '', 0x88b5, 100));
    rig.end(1).emit(frameOf(macOf(2), macOf(3), 'spoofed'));
    const matrix = await rig.service.ask('matrix', {});
    const name = (index: number) => matrix.endpoints[index]?.guest ?? 'all';
    const cells = [...matrix.source].map((source, i) => [
      name(source),
      name(matrix.destination[i]!),
      matrix.frames[i],
      matrix.bytes[i],
    ]);
    expect(cells).toEqual([
      ['v2', 'v3', 2, 120],
      ['v2', 'all', 1, 60],
      ['v1', 'v2', 1, 100],
    ]);
  });

  it('tells addresses behind a trunk apart', async () => {
    const rig = new Rig();
    await rig.apply(planOf(lan([portPlan(1), trunkPlan('host2')])));
    rig.end('host2').emit(frameOf(macOf(1), macOf(70)));
    rig.end('host2').emit(frameOf(macOf(1), macOf(71)));
    rig.end(1).emit(frameOf(macOf(71), macOf(1)));
    const matrix = await rig.service.ask('matrix', {});
    const name = (index: number) => matrix.endpoints[index]!.guest ?? matrix.endpoints[index]!.mac;
    const pairs = [...matrix.source].map((source, i) => [name(source), name(matrix.destination[i]!)]);
    expect(pairs).toEqual([
      [macOf(70), 'v1'],
      [macOf(71), 'v1'],
      ['v1', macOf(71)],
    ]);
  });

  it('reads windows and begins them again', async () => {
    const rig = await lanOf({}, {});
    const send = () => rig.end(1).emit(frameOf(macOf(2), macOf(1)));
    send();
    rig.run(100);
    await rig.service.ask('matrix', { window: 'w', reset: true });
    send();
    send();
    const matrix = await rig.service.ask('matrix', { window: 'w' });
    expect([matrix.sinceNs, [...matrix.frames]]).toEqual([100e6, [2]]);
  });

  it('has eight windows, and says which there are', async () => {
    const rig = await lanOf({});
    const begin = (window: string) => rig.service.ask('matrix', { window, reset: true });
    for (let i = 1; i <= 8; i++) await begin(`w${i}`);
    await begin('w1');
    await expect(begin('w9')).rejects.toMatchObject({
      code: 'usage',
      fix: 'use one of them again: w1, w2, w3, w4, w5, w6, w7, w8',
    });
  });
});

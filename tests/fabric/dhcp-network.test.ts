import { describe, expect, it } from 'vitest';
import type { DhcpPlan, NetworkPlan, PortPlan } from '../../src/fabric/plan.ts';
import { dhcpRequest } from './packets.ts';
import { frameOf, lan, linkPlan, macOf, planOf, portPlan, Rig, trunkPlan } from './rig.ts';

const dhcp: DhcpPlan = { address: '10.1.255.254', mac: '02:4c:01:ff:ff:fe' };
const discover = (guest: number): Buffer => dhcpRequest({ type: 1, from: macOf(guest) });
const withDhcp = (ports: PortPlan[]): NetworkPlan => ({ ...lan(ports), dhcp });

/** The address that an answer tells, and to whom it goes. */
function told(frame: Buffer): { to: string; address: string; type: number } {
  const to = frame.subarray(0, 6).toString('hex').match(/../g)!.join(':');
  return { to, address: [...frame.subarray(42 + 16, 42 + 20)].join('.'), type: frame[42 + 242]! };
}

describe('a network that answers DHCP', () => {
  it('offers a member its planned address; others see the question only', async () => {
    const rig = new Rig();
    await rig.apply(planOf(withDhcp([portPlan(1), portPlan(2)])));
    rig.end(1).emit(discover(1));
    expect(rig.end(1).got.map(({ frame }) => told(frame))).toEqual([
      { to: macOf(1), address: '10.1.0.1', type: 2 },
    ]);
    expect(rig.end(2).got.map(({ frame }) => frame)).toEqual([discover(1)]);
    rig.end(2).emit(discover(2));
    expect(told(rig.end(2).got.at(-1)!.frame)).toEqual({ to: macOf(2), address: '10.1.0.2', type: 2 });
  });

  it('answers in the order and the time of its links', async () => {
    const rig = new Rig();
    const slow = { out: { delayMs: 10 }, in: { delayMs: 7 } };
    await rig.apply(planOf(withDhcp([portPlan(1, slow), portPlan(2)])));
    rig.end(1).emit(discover(1));
    rig.run(16.9);
    expect(rig.end(1).got).toEqual([]);
    rig.run(0.2);
    expect(rig.end(1).got.map(({ atNs }) => Math.round(atNs / 1e5))).toEqual([170]);
    const { in: back } = await rig.link('lan/v1');
    expect([back.frames, back.deliveredFrames]).toEqual([1, 1]);
  });

  it('is silent over a link that is cut or loses all, and to those it does not know', async () => {
    const rig = new Rig();
    await rig.apply(planOf(withDhcp([portPlan(1), portPlan(2, { macs: 2 }), trunkPlan('n2')])));
    await rig.service.ask('cut', { link: 'lan/v1' });
    rig.end(1).emit(discover(1));
    await rig.service.ask('heal', { link: 'lan/v1' });
    await rig.service.ask('shape', { link: 'lan/v1', direction: 'out', shape: { loss: 1 } });
    rig.end(1).emit(discover(1));
    // Of another address than its own, and of one on another host, which has answered there.
    rig.end(2).emit(discover(9));
    rig.end('n2').emit(discover(8));
    for (const end of [rig.end(1), rig.end(2)]) {
      expect(end.got.filter(({ frame }) => frame[42] === 2)).toEqual([]);
    }
    expect(rig.end('n2').got.map(({ frame }) => frame)).toEqual([discover(9)]);
  });

  it('does not answer without being planned to, nor when it was planned not to any more', async () => {
    const rig = new Rig();
    await rig.apply(planOf(lan([portPlan(1)])));
    rig.end(1).emit(discover(1));
    expect(rig.end(1).got).toEqual([]);
    await rig.apply(planOf(withDhcp([portPlan(1)])));
    rig.end(1).emit(discover(1));
    expect(rig.end(1).got).toHaveLength(1);
    await rig.apply(planOf(lan([portPlan(1)])));
    rig.end(1).emit(discover(1));
    expect(rig.end(1).got).toHaveLength(1);
  });

  it('answers at whichever switch a guest is, once', async () => {
    const rig = new Rig();
    const between = (a: number, b: number) => ({ link: linkPlan(`lan/s${a}-s${b}`), a, b });
    await rig.apply(
      planOf({
        ...withDhcp([portPlan(1, { switch: 2 }), portPlan(2, { switch: 0 })]),
        switches: ['s0', 's1', 's2'],
        links: [between(0, 1), between(1, 2), between(0, 2)],
      }),
    );
    rig.end(1).emit(discover(1));
    expect(rig.end(1).got.map(({ frame }) => told(frame).address)).toEqual(['10.1.0.1']);
    expect(rig.end(2).got.map(({ frame }) => frame)).toEqual([discover(1)]);
  });

  it('goes on with what comes in the same piece as a question', async () => {
    const rig = new Rig();
    await rig.apply(planOf(withDhcp([portPlan(1), portPlan(2)])));
    const frames = [frameOf(macOf(2), macOf(1), 'before'), discover(1), frameOf(macOf(2), macOf(1), 'after')];
    rig.emitMany(1, frames);
    expect(rig.end(2).got.map(({ frame }) => frame)).toEqual(frames);
    expect(rig.end(1).got.map(({ frame }) => told(frame).address)).toEqual(['10.1.0.1']);
  });

  it('is refused with an address that is none, before anything is changed', async () => {
    const rig = new Rig();
    await expect(
      rig.apply(planOf({ ...lan([portPlan(1)]), dhcp: { ...dhcp, address: '10.1' } })),
    ).rejects.toMatchObject({ code: 'spec-value' });
    expect(rig.ends.size).toBe(0);
  });
});

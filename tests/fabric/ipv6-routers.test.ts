import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isForIpv6Routers, showsIpv6Router } from '../../src/fabric/ipv6-routers.ts';
import { frameOf, lan, macOf, planOf, portPlan, Rig, trunkPlan } from './rig.ts';

const toRouters = '33:33:00:00:00:02';
const toReportTakers = '33:33:00:00:00:16';
const toAllNodes = '33:33:00:00:00:01';

/** A frame of IPv6 with ICMPv6 in it, as Linux sends them: reports and queries after a hop-by-hop header. */
function icmp(to: string, guest: number, message: string, hasOptions = false): Buffer {
  const payload = Buffer.from(`${hasOptions ? '3a00050200000100' : ''}${message}`, 'hex');
  const frame = frameOf(to, macOf(guest), '', 0x86dd, 54 + payload.length);
  frame[14] = 0x60;
  frame.writeUInt16BE(payload.length, 18);
  frame[20] = hasOptions ? 0 : 58;
  payload.copy(frame, 54);
  return frame;
}

const group = (last: string): string => `ff02${'00'.repeat(12)}${last.padStart(4, '0')}`;
/** Version 2: a record for each group. */
const report = (...groups: string[]): string =>
  `8f000000${'0000'}${groups.length.toString(16).padStart(4, '0')}${groups.map((one) => `04000000${group(one)}`).join('')}`;
const hostReport = report('1ff0');
const solicitation = `85000000${'00'.repeat(4)}`;
const advertisement = `86000000${'00'.repeat(12)}`;

const viewOf = (frame: Buffer): DataView => new DataView(frame.buffer, frame.byteOffset, frame.length);
const shows = (frame: Buffer): boolean => showsIpv6Router(viewOf(frame), 0, frame.length);

describe('a router of IPv6', () => {
  it.each([
    ['advertises itself', icmp(toAllNodes, 1, advertisement)],
    ['asks who is in which group', icmp(toAllNodes, 1, `82000000${'00'.repeat(20)}`, true)],
    ['is among all routers', icmp(toReportTakers, 1, report('2'), true)],
    ['takes reports', icmp(toReportTakers, 1, report('1ff0', '16'), true)],
    ['reports the older way', icmp('33:33:00:00:00:02', 1, `8300000000000000${group('2')}`, true)],
  ])('%s', (_what, frame) => {
    expect(shows(frame)).toBe(true);
  });

  it.each([
    ['reports its own groups', icmp(toReportTakers, 1, hostReport, true)],
    ['asks for routers', icmp(toRouters, 1, solicitation)],
    ['reports no group at all', icmp(toReportTakers, 1, report(), true)],
    [
      'claims more records than there are',
      icmp(toReportTakers, 1, `8f00000000000fff04000000${group('1ff0')}`, true),
    ],
    ['speaks IPv4', frameOf('01:00:5e:00:00:16', macOf(1), '', 0x0800, 90)],
  ])('is not who %s', (_what, frame) => {
    expect(shows(frame)).toBe(false);
  });

  it.each([
    ['a report', icmp(toReportTakers, 1, report('1ff0', '2'), true)],
    ['a report of the older kind', icmp(toRouters, 1, `8300000000000000${group('2')}`, true)],
    ['an advertisement', icmp(toAllNodes, 1, advertisement)],
    // One whose hop-by-hop header leads beyond any frame, to what another one has left there.
    ['a header that is longer than the frame', icmp(toReportTakers, 1, report('2'), true).fill(0xff, 55, 56)],
  ])('is looked for in %s as far as the frame goes, whatever lies behind', (_what, frame) => {
    for (let length = 0; length <= frame.length; length++) {
      const seen = [0, 0x82, 0x86, 0xff].map((behind) => {
        const memory = Buffer.alloc(4096, behind);
        frame.copy(memory, 100, 0, length);
        return showsIpv6Router(viewOf(memory), 100, length);
      });
      const rest = Buffer.alloc(4096);
      frame.copy(rest, 100);
      expect([...seen, showsIpv6Router(viewOf(rest), 100, length)]).toEqual(Array(5).fill(seen[0]!));
    }
  });

  it('is told for any bytes, without a fault', () => {
    const anyIcmp = fc
      .uint8Array({ maxLength: 200 })
      .map((bytes) => icmp(toReportTakers, 1, Buffer.from(bytes).toString('hex'), true));
    fc.assert(
      fc.property(anyIcmp, (frame) => {
        const memory = Buffer.alloc(frame.length + 2100);
        frame.copy(memory);
        for (const length of [frame.length, frame.length >> 1]) {
          const isToRouters = isForIpv6Routers(viewOf(memory), 0, length);
          expect(isToRouters).toBe(length >= 54);
          expect(typeof showsIpv6Router(viewOf(memory), 0, length)).toBe('boolean');
        }
      }),
    );
  });
});

describe('a network', () => {
  const counts = (rig: Rig, ...ends: (number | string)[]): number[] =>
    ends.map((end) => rig.end(end).got.length);

  it('brings what is for routers of IPv6 to them alone, once they have shown themselves', async () => {
    const rig = new Rig();
    await rig.apply(planOf(lan([portPlan(1), portPlan(2), portPlan(3)])));
    rig.end(1).emit(icmp(toReportTakers, 1, hostReport, true));
    rig.end(1).emit(icmp(toRouters, 1, solicitation));
    expect(counts(rig, 1, 2, 3)).toEqual([0, 0, 0]);
    // Who routes says so at once; and who only advertises, by that.
    rig.end(3).emit(icmp(toReportTakers, 3, report('2'), true));
    rig.end(1).emit(icmp(toRouters, 1, solicitation));
    expect(counts(rig, 1, 2, 3)).toEqual([0, 0, 1]);
    rig.end(2).emit(icmp(toAllNodes, 2, advertisement));
    rig.end(1).emit(icmp(toRouters, 1, solicitation));
    expect(counts(rig, 1, 2, 3)).toEqual([1, 1, 3]);
  });

  it('takes guests that ran before it did for routers: they showed it to another fabric', async () => {
    const rig = new Rig();
    const plan = planOf(lan([portPlan(1), portPlan(2)]));
    await rig.service.ask('apply', { plan, guestsRan: true });
    rig.end(1).emit(icmp(toRouters, 1, solicitation));
    expect(counts(rig, 1, 2)).toEqual([0, 1]);
  });

  it('brings all other groups to everybody, and of those two what is not IPv6', async () => {
    const rig = new Rig();
    await rig.apply(planOf(lan([portPlan(1), portPlan(2)])));
    rig.end(1).emit(icmp(toAllNodes, 1, advertisement));
    rig.end(1).emit(icmp('33:33:ff:00:00:03', 1, `87000000${'00'.repeat(20)}`));
    rig.end(1).emit(frameOf(toRouters, macOf(1), 'of another kind'));
    expect(counts(rig, 2)).toEqual([3]);
  });

  it('brings it to other hosts and over other switches, to routers there', async () => {
    const rig = new Rig();
    const network = lan([
      portPlan(1),
      portPlan(2, { switch: 1 }),
      portPlan(3, { switch: 1 }),
      trunkPlan('n02'),
    ]);
    network.switches = ['a', 'b'];
    network.links = [{ link: { name: 'lan/a-b', out: {}, in: {}, isCut: false }, a: 0, b: 1 }];
    await rig.apply(planOf(network));
    rig.end(3).emit(icmp(toReportTakers, 3, report('2'), true));
    rig.end(1).emit(icmp(toRouters, 1, solicitation));
    expect(counts(rig, 2, 3, 'n02')).toEqual([0, 1, 2]);
    rig.end('n02').emit(icmp(toRouters, 77, solicitation));
    expect(counts(rig, 1, 2, 3, 'n02')).toEqual([0, 0, 2, 2]);
  });
});

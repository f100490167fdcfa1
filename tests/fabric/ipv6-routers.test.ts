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

  it('is looked for within a frame alone, whatever it holds', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 200 }), fc.nat(200), (bytes, length) => {
        const memory = new DataView(new ArrayBuffer(70_000));
        const frame = new Uint8Array(memory.buffer, 100, bytes.length);
        frame.set(bytes);
        if (bytes.length > 20) {
          memory.setUint16(112, 0x86dd);
          if (bytes[20]! > 128) frame[20] = 0;
        }
        const within = Math.min(length, bytes.length);
        const seen = [showsIpv6Router(memory, 100, within), isForIpv6Routers(memory, 100, within)];
        // What lies behind it, which was another's, changes nothing.
        new Uint8Array(memory.buffer, 100 + within).fill(0xff);
        expect([showsIpv6Router(memory, 100, within), isForIpv6Routers(memory, 100, within)]).toEqual(seen);
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

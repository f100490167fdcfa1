import { describe, expect, it } from 'vitest';
import { bridgedPorts } from '../../../src/fabric/bridge/devices.ts';
import { devicesOf, linkStates } from '../../../src/fabric/bridge/statistics.ts';
import { outline } from '../../cluster/sample.ts';

const { fabric } = outline(`name: lab
guests: {'v[1-2]': {accelerator: tcg}}
fabric: {lan: {members: {v1: {out: {loss: 1%}}, v2: }, bridge: true, bandwidth: 8Mbit}}
`);
const ports = bridgedPorts(fabric);
const { tap, bridge } = ports[0]!;
const out = `v${tap.slice(1)}`;

// As `ip -json -statistics link show` and `tc -json -statistics qdisc show` of iproute2 6.1 write them.
const links = [
  { ifname: 'lo', flags: ['LOOPBACK'] },
  { ifname: bridge, flags: ['UP', 'LOWER_UP'] },
  {
    ifname: tap,
    master: bridge,
    flags: ['BROADCAST', 'UP', 'LOWER_UP'],
    stats64: {
      rx: { bytes: 5000, packets: 50, dropped: 0 },
      tx: { bytes: 3000, packets: 30, dropped: 2 },
    },
  },
];
const queues = [
  { kind: 'noqueue', handle: '0:', dev: bridge, root: true, drops: 0 },
  { kind: 'netem', handle: '2:', dev: out, parent: '1:1', drops: 4, backlog: 0, qlen: 0 },
  { kind: 'tbf', handle: '1:', dev: out, root: true, drops: 5, backlog: 0, qlen: 0 },
  { kind: 'tbf', handle: '1:', dev: tap, root: true, drops: 7, backlog: 1500, qlen: 1 },
];

describe('what the kernel tells of bridges', () => {
  it('is read as devices, their bridges, and the queues that are ours', () => {
    const { masters, queues: kinds } = devicesOf(links, queues);
    expect(masters.get(tap)).toBe(bridge);
    expect([...kinds]).toEqual([
      [out, ['tbf', 'netem']],
      [tap, ['tbf']],
    ]);
  });

  it('is the state of links, out being what the guest sends', () => {
    const [one, other] = linkStates(ports, links, queues);
    expect(one).toMatchObject({
      name: 'lan/v1',
      port: { isConnected: true, switch: 'lan', macs: ['02:4c:01:00:00:01'] },
      out: { frames: 50, bytes: 5000, deliveredFrames: 45, dropped: { loss: 5 } },
      in: {
        frames: 37,
        deliveredFrames: 30,
        dropped: { queue: 7, overflow: 2 },
        queueBytes: 1500,
        heldFrames: 1,
      },
    });
    expect(one!.out.shape).toMatchObject({ bandwidthBitsPerSecond: 8e6, loss: 0.01 });
    expect(other).toMatchObject({
      name: 'lan/v2',
      port: { isConnected: false },
      out: { frames: 0, dropped: {} },
    });
  });
});

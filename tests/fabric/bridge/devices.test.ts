import { describe, expect, it } from 'vitest';
import {
  bridgedPorts,
  type Devices,
  joiningCommands,
  networkCommands,
  onlyBridges,
  plannedDevices,
  portCommands,
  withoutBridges,
} from '../../../src/fabric/bridge/devices.ts';
import type { FabricPlan } from '../../../src/fabric/plan.ts';
import { outline } from '../../cluster/sample.ts';

const fabricOf = (lan: string, members = '{v1: , v2: }'): FabricPlan =>
  outline(`name: lab
guests: {'v[1-2]': {accelerator: tcg}}
fabric:
  lan: {members: ${members}, ${lan}}
  wan: {members: [v1]}
`).fabric;

const nothing: Devices = { masters: new Map(), queues: new Map() };

function found(masters: Record<string, string | undefined>, queues: Record<string, string[]> = {}): Devices {
  return { masters: new Map(Object.entries(masters)), queues: new Map(Object.entries(queues)) };
}

const plain = fabricOf('bridge: true');
const [first, second] = bridgedPorts(plain).map(({ tap }) => tap) as [string, string];
const { device } = plain.networks[0]!.bridge!;
const [own, out, joined] = ['m', 'v', 'w'].map((letter) => `${letter}${first.slice(1)}`) as [
  string,
  string,
  string,
];

describe('the devices of bridges', () => {
  it('are made once, and those of networks that are gone are taken away', () => {
    expect(networkCommands(plain, nothing)).toEqual([
      `link add name ${device} type bridge stp_state 0 mcast_snooping 0`,
      `link set dev ${device} up`,
    ]);
    expect(networkCommands(plain, found({ lo: undefined, [device]: undefined, [first]: device }))).toEqual(
      [],
    );
    const old = found({
      lo: undefined,
      'b-00': undefined,
      'm-11': undefined,
      'v-11': 'm-11',
      't-11': 'm-11',
    });
    expect(networkCommands(fabricOf('bridge: false'), old)).toEqual([
      'link del dev b-00',
      'link del dev m-11',
      'link del dev v-11',
    ]);
  });

  it('are in the plan: the worker of the fabric has the other networks', () => {
    expect(withoutBridges(plain).networks.map(({ name }) => name)).toEqual(['wan']);
    expect(onlyBridges(plain).networks.map(({ name }) => name)).toEqual(['lan']);
    expect(plannedDevices(plain)).toContain(joined);
  });

  it('join a bridge of the host by a veth, once', () => {
    const fabric = fabricOf('bridge: br0, mtu: 9000');
    const { joins } = fabric.networks[0]!.bridge!;
    const inside = `u${device.slice(1)}`;
    expect(joiningCommands(fabric, nothing, 77)).toEqual({
      host: [
        `link add name ${joins!.device} mtu 9000 type veth peer name ${inside} mtu 9000 netns 77`,
        `link set dev ${joins!.device} master br0 up`,
      ],
      inside: [`link set dev ${inside} master ${device} up`],
    });
    expect(joiningCommands(fabric, found({ [inside]: device }), 77)).toEqual({ host: [], inside: [] });
    expect(joiningCommands(plain, nothing, 77)).toEqual({ host: [], inside: [] });
  });
});

describe('a port on a bridge', () => {
  const there = found({ [device]: undefined, [first]: device });

  it('is kept to its address, and nothing is done for guests that have no device', () => {
    expect(portCommands(bridgedPorts(plain), there)).toEqual({
      ip: [`link set dev ${first} up`],
      bridge: [
        `fdb replace 02:4c:01:00:00:01 dev ${first} master static`,
        `link set dev ${first} learning off locked on`,
      ],
      tc: [],
    });
  });

  it('that is cut is down', () => {
    const fabric = fabricOf('bridge: true');
    fabric.networks[0]!.ports[0]!.link.isCut = true;
    expect(portCommands(bridgedPorts(fabric), there).ip).toEqual([`link set dev ${first} down`]);
  });

  it('has frames to the guest wait at its device, and those from it at a bridge of its own', () => {
    const fabric = fabricOf(
      'bridge: true, bandwidth: 10Mbit',
      '{v1: {out: {bandwidth: 8bit, queue: 2K}}, v2: }',
    );
    const { ip, tc } = portCommands(bridgedPorts(fabric), there);
    expect(ip).toEqual([
      `link add name ${own} type bridge stp_state 0 mcast_snooping 0`,
      `link set dev ${own} up`,
      `link add name ${out} mtu 1500 type veth peer name ${joined} mtu 1500`,
      `link set dev ${first} master ${own}`,
      `link set dev ${out} master ${own} up`,
      `link set dev ${joined} master ${device} up`,
      `link set dev ${first} up`,
    ]);
    expect(tc).toEqual([
      // Never less than two frames, or none would ever pass.
      `qdisc replace dev ${out} root handle 1: tbf rate 8bit burst 3036b limit 2048b`,
      `qdisc replace dev ${first} root handle 1: tbf rate 10000000bit burst 6250b limit 125000b`,
    ]);
    const again = portCommands(
      bridgedPorts(fabric),
      found(
        { [first]: own, [own]: undefined, [out]: own, [joined]: device },
        { [out]: ['tbf'], [first]: ['tbf'] },
      ),
    );
    expect(again.ip.filter((line) => line.startsWith('link add'))).toEqual([]);
    // In their places: what waits goes on waiting.
    expect(again.tc).toEqual(tc);
  });

  it('whose shape is taken away has no queue, and its own bridge stays', () => {
    const state = found(
      { [first]: device, [own]: undefined, [out]: own, [joined]: device },
      { [out]: ['tbf', 'netem'], [first]: ['netem'] },
    );
    const { ip, tc } = portCommands(bridgedPorts(plain), state);
    expect(tc).toEqual([`qdisc del dev ${out} root`, `qdisc del dev ${first} root`]);
    // The device of a guest that was started again is on the network's bridge.
    expect(ip).toContain(`link set dev ${first} master ${own}`);
  });

  it('has a rate around delay and loss, made anew when the kinds change', () => {
    const fabric = fabricOf(
      'bridge: true, bandwidth: 1Gbit, delay: 2.5ms, jitter: 500us, loss: 0.1%, duplicate: 1%, reorder: 2%',
    );
    expect(portCommands(bridgedPorts(fabric), found({ [second]: device })).tc).toEqual([
      expect.stringMatching(
        /^qdisc replace dev v-\w+ root handle 1: tbf rate 1000000000bit burst 625000b limit \d+b$/,
      ),
      `qdisc replace dev v${second.slice(1)} parent 1:1 handle 2: netem limit 100000 delay 2500us 500us loss 0.1% duplicate 1% reorder 2%`,
      expect.stringMatching(/^qdisc replace dev t-\w+ root handle 1: tbf /),
    ]);
    const lossy = fabricOf('bridge: true, loss: 3%');
    const before = found({ [first]: device }, { [out]: ['tbf'] });
    expect(portCommands(bridgedPorts(lossy), before).tc).toEqual([
      `qdisc del dev ${out} root`,
      `qdisc replace dev ${out} root handle 2: netem limit 100000 loss 3%`,
    ]);
  });
});

import { describe, expect, it } from 'vitest';
import { clusterOnHost, fabricOnHost } from '../../src/cluster/hosts.ts';
import { checkPlan } from '../../src/fabric/check-plan.ts';
import { cluster, faultOf } from './sample.ts';

const plan = cluster(`
name: lab
guests: {'v[1-4]': , w: }
fabric:
  lan: {members: ['v[1-4]'], delay: 5ms, uplink: {allow: ['tcp 192.0.2.1/32:80']}}
  own: {members: [v4, w]}
`);
const hostOfGuest = new Map([
  ['v1', 'n01'],
  ['v2', 'n01'],
  ['v3', 'n02'],
  ['v4', 'n03'],
  ['w', 'n03'],
]);
const partOf = (host: string) => fabricOnHost(plan.fabric, hostOfGuest, { host, guestsDir: `/run/${host}` });
const linkNames = (host: string) =>
  partOf(host).networks.map(({ ports }) => ports.map(({ link }) => link.name));

describe('the part of a cluster on a host', () => {
  it('has its own guests, and a trunk to each other host of a network', () => {
    expect(linkNames('n01')).toEqual([['lan/v1', 'lan/v2', 'lan/uplink', 'lan/trunk.n02', 'lan/trunk.n03']]);
    expect(linkNames('n02')).toEqual([['lan/v3', 'lan/trunk.n01', 'lan/trunk.n03']]);
    // A network whose members are all on one host has no trunk.
    expect(linkNames('n03')).toEqual([
      ['lan/v4', 'lan/trunk.n01', 'lan/trunk.n02'],
      ['own/v4', 'own/w'],
    ]);
    expect(
      clusterOnHost(plan, hostOfGuest, { host: 'n03', guestsDir: '/' }).guests.map((one) => one.name),
    ).toEqual(['v4', 'w']);
  });

  it('knows whose addresses are behind a trunk, and that of the way out', () => {
    const [network] = partOf('n02').networks;
    expect(network!.ports[1]!.end).toEqual({
      kind: 'trunk',
      host: 'n01',
      members: [
        { mac: '02:4c:01:00:00:01', link: 'lan/v1', guest: 'lab.v1' },
        { mac: '02:4c:01:00:00:02', link: 'lan/v2', guest: 'lab.v2' },
        { mac: '02:4c:01:ff:ff:fe', link: 'lan/uplink' },
      ],
    });
  });

  it('has sockets where guests are on that host, shapes as they were, and the same digest as all others', () => {
    const [port] = partOf('n02').networks[0]!.ports;
    expect(port!.end).toMatchObject({ socketPath: '/run/n02/lab.v3/net0.sock' });
    expect(port!.link.out.delayMs).toBe(5);
    const digests = new Set(['n01', 'n02', 'n03'].map((host) => partOf(host).digest));
    expect([digests.size, digests.has(undefined)]).toEqual([1, false]);
    for (const host of ['n01', 'n02', 'n03']) expect(() => checkPlan(partOf(host))).not.toThrow();
  });

  it('of one host alone is the whole', () => {
    const all = new Map([...hostOfGuest.keys()].map((name) => [name, 'n01']));
    const { digest: _, ...part } = fabricOnHost(plan.fabric, all, { host: 'n01', guestsDir: '/run/g' });
    expect(part).toEqual(plan.fabric);
  });

  it('cannot be one of a network of several switches', () => {
    const ring = cluster(
      'name: lab\nguests: {"v[1-3]": }\nfabric: {lan: {members: ["v[1-3]"], topology: ring}}\n',
    );
    const fault = faultOf(() => fabricOnHost(ring.fabric, hostOfGuest, { host: 'n01', guestsDir: '/' }));
    expect(fault.code).toBe('spec-value');
    expect(fault.message).toContain(
      "network 'lan' has 3 switches, and its members are on several hosts: n01, n02",
    );
    const fault2 = faultOf(() => fabricOnHost(plan.fabric, new Map(), { host: 'n01', guestsDir: '/' }));
    expect(fault2.message).toBe("no host was chosen for 'lab.v1'");
  });
});

import { describe, expect, it } from 'vitest';
import { captureOf } from '../../src/cluster/captures.ts';
import { movedCluster } from '../../src/cluster/checkpoint/plan.ts';
import { hostfileText, hostsText, planGuestFiles } from '../../src/cluster/guest-files.ts';
import { type ClusterPlan, clusterNameOf, readClusterSpec } from '../../src/cluster/plan.ts';
import { checkClusterMemory } from '../../src/cluster/resources.ts';
import type { PortPlan } from '../../src/fabric/plan.ts';
import { cluster, faultOf, outline } from './sample.ts';

const lab = `
name: lab
seed: 7
image: host
defaults: {memory: 512M}
roles: {compute: {cpus: 4, memory: 1G}}
guests:
  v[01-03]: {role: compute}
  v04: {role: compute, cpus: 2}
  n[001-100]: {accelerator: tcg}
  router:
fabric:
  lan: {members: ['v[01-04]', router], subnet: 10.1.0.0/16, bandwidth: 10Gbit}
  wan:
    members: {router: {address: 10.2.0.9}, 'n[001-100]': {delay: 20ms}}
    delay: 40ms
    loss: 0.1%
    capture: true
    uplink: {allow: ['tcp 192.0.2.0/24:443']}
`;

function port(text: string, link: string): PortPlan {
  const ports = outline(text).fabric.networks.flatMap((network) => network.ports);
  return ports.find((one) => one.link.name === link)!;
}

describe('DHCP in a network', () => {
  const dhcpOf = (keys: string) =>
    outline(`guests: {'v[1-2]': }\nfabric: {lan: {members: ['v[1-2]']${keys}}}\n`).fabric.networks[0]!.dhcp;

  it('answers from the last address, or from the gateway, and tells what an uplink lets out', () => {
    const mac = '02:4c:01:ff:ff:fe';
    expect(dhcpOf('')).toEqual({ address: '10.1.255.254', mac });
    expect(
      dhcpOf(
        ", uplink: {gateway: 10.1.9.9, allow: ['udp 192.0.2.53:53', 'udp 192.0.2.0/24:53', 'tcp 192.0.2.54:53']}",
      ),
    ).toEqual({
      address: '10.1.9.9',
      mac,
      router: '10.1.9.9',
      nameservers: ['192.0.2.53'],
    });
    expect(dhcpOf(', dhcp: false')).toBeUndefined();
    expect(dhcpOf(', dhcp: false, subnet: 10.1.0.0/30')).toBeUndefined();
  });
});

describe('the guests of a cluster', () => {
  it('are planned in time also where there are tens of thousands', () => {
    const { guests } = outline(
      "guests: {'v[1-20000]': }\nfabric: {lan: {members: ['v[1-20000]'], uplink: {allow: ['icmp 192.0.2.1']}}}\n",
    );
    const routes = new Set(guests.flatMap((guest) => guest.routes.map(({ gateway }) => gateway)));
    expect([guests.length, ...routes]).toEqual([20_000, '10.1.255.254']);
  });

  it('inherit from defaults, role and what is said of themselves', () => {
    const { guests } = outline(lab);
    const shape = (name: string): unknown => {
      const { spec } = guests.find((guest) => guest.name === name)!;
      return [spec.cpus, spec.memory / 2 ** 20, spec.accelerator];
    };
    expect(guests).toHaveLength(105);
    expect(shape('v01')).toEqual([4, 1024, 'auto']);
    expect(shape('v04')).toEqual([2, 1024, 'auto']);
    expect(shape('n050')).toEqual([1, 512, 'tcg']);
    expect(shape('router')).toEqual([1, 512, 'auto']);
  });
  it('have interfaces in the order of the networks, with addresses and MACs of their own', () => {
    const { guests } = outline(lab);
    const all = guests.flatMap((guest) => guest.interfaces);
    expect(new Set(all.map((one) => one.mac)).size).toBe(all.length);
    expect(new Set(all.map((one) => one.address)).size).toBe(all.length);
    expect(guests.find((guest) => guest.name === 'router')!.interfaces).toEqual([
      { network: 'lan', name: 'eth0', mac: '02:4c:01:00:00:05', address: '10.1.0.5/16', mtuBytes: 1500 },
      { network: 'wan', name: 'eth1', mac: '02:4c:02:00:00:01', address: '10.2.0.9/16', mtuBytes: 1500 },
    ]);
    // The address that the router took is passed over.
    expect(guests.find((guest) => guest.name === 'n008')!.interfaces[0]!.address).toBe('10.2.0.8/16');
    expect(guests.find((guest) => guest.name === 'n009')!.interfaces[0]!.address).toBe('10.2.0.10/16');
  });
  it('are all in one LAN where no fabric is told', () => {
    const { fabric } = outline('guests: {"v[1-3]": {}}\n');
    expect(fabric.networks.map(({ name, subnet, ports }) => [name, subnet, ports.length])).toEqual([
      ['lan', '10.1.0.0/16', 3],
    ]);
  });
});

describe('the links of a cluster', () => {
  it('have the shape of their network: once on the way out, the rate in both directions', () => {
    expect(port(lab, 'lan/v01').link).toMatchObject({
      out: { bandwidthBitsPerSecond: 1e10 },
      in: { bandwidthBitsPerSecond: 1e10 },
      isCut: false,
    });
    expect(port(lab, 'wan/router').link).toMatchObject({ out: { delayMs: 40, loss: 0.001 }, in: {} });
    expect(port(lab, 'wan/n001').link).toMatchObject({
      out: { delayMs: 20, loss: 0.001 },
      in: {},
      capture: { directory: '/home/u/lab', files: 1 },
    });
  });
  it('may be told per direction, and what is 0 is taken away', () => {
    const text = `
guests: {v1: , v2: }
fabric:
  lan:
    members: {v1: {delay: 10ms, out: {loss: 1%}, in: {bandwidth: 1Mbit, delay: 50us}}, v2: {loss: 0%}}
    loss: 5%
    bandwidth: 1Gbit
    queue: 1M
`;
    expect(port(text, 'lan/v1').link).toMatchObject({
      out: { bandwidthBitsPerSecond: 1e9, queueBytes: 2 ** 20, delayMs: 10, loss: 0.01 },
      in: { bandwidthBitsPerSecond: 1e6, queueBytes: 2 ** 20, delayMs: 0.05 },
    });
    expect(port(text, 'lan/v2').link.out).toEqual({ bandwidthBitsPerSecond: 1e9, queueBytes: 2 ** 20 });
  });
  it('between switches have all of it, and members only the rate', () => {
    const text = `
guests: {"v[1-4]": }
fabric: {t: {members: ['v[1-4]'], topology: 'ring', delay: 1ms, bandwidth: 1Gbit}}
`;
    const [network] = outline(text).fabric.networks;
    expect(network!.links.map(({ link }) => link.name)).toEqual(['t/s1-s2', 't/s2-s3', 't/s3-s4', 't/s4-s1']);
    expect(network!.links[0]!.link.out).toMatchObject({ delayMs: 1, bandwidthBitsPerSecond: 1e9 });
    expect(network!.links[0]!.link.in).toEqual(network!.links[0]!.link.out);
    expect(network!.ports[0]!.link.out).toEqual({ bandwidthBitsPerSecond: 1e9, queueBytes: 4 * 2 ** 20 });
  });
  it('lead to the sockets in the directories of the guests', () => {
    expect(port(lab, 'wan/router').end).toMatchObject({
      kind: 'guest',
      guest: 'lab.router',
      socketPath: '/run/g/lab.router/net1.sock',
    });
    expect(port(lab, 'wan/uplink').end).toMatchObject({ kind: 'uplink', gateway: '10.2.255.254' });
  });
  it('join members to the switch they name', () => {
    const graph = '10|20|-1\n20|30|-1\n';
    const text = `
guests: {v1: , v2: }
fabric: {net: {members: {v1: {switch: as30}, v2: }, topology: 'as-graph:g.txt'}}
`;
    const [network] = outline(text, { 'g.txt': graph }).fabric.networks;
    expect(network!.ports.map((one) => network!.switches[one.switch])).toEqual(['as30', 'as20']);
  });
});

describe('a spec of a cluster with a fault', () => {
  it.each([
    ['no guests', 'guests: {}\n', 'lab.yaml:1:9', 'there are no guests'],
    ['two guests of one name', 'guests:\n  v[1-3]:\n  v2:\n', 'lab.yaml:3:3', "two guests named 'v2'"],
    [
      'an unknown role',
      'roles: {compute: {}}\nguests: {v1: {role: computer}}\n',
      'lab.yaml:2:21',
      "no role 'computer'",
    ],
    ['a bad name', 'guests:\n  V1:\n', 'lab.yaml:2:3', "'V1' cannot be the name"],
    ['a bad range', 'guests:\n  v[1-:\n', 'lab.yaml:2:3', 'its brackets do not match'],
    [
      'an unknown member',
      'guests: {v01: }\nfabric:\n  lan: {members: [v10]}\n',
      'lab.yaml:3:19',
      "a member 'v10'",
    ],
    [
      'a member that is twice there',
      "guests: {v1: }\nfabric:\n  lan: {members: [v1, 'v[1-1]']}\n",
      'lab.yaml:3:23',
      "'v1' is twice",
    ],
    [
      'a guest in no network',
      'guests:\n  v1:\n  v2:\nfabric: {lan: {members: [v1]}}\n',
      'lab.yaml:3:3',
      "'v2' is in no network",
    ],
    [
      'an address outside',
      'guests: {v1: }\nfabric:\n  lan:\n    members:\n      v1: {address: 10.9.0.1}\n',
      'lab.yaml:5:21',
      '10.9.0.1 is not in 10.1.0.0/16',
    ],
    [
      'the broadcast address',
      'guests: {v1: }\nfabric:\n  lan:\n    members:\n      v1: {address: 10.1.255.255}\n',
      'lab.yaml:5:21',
      'broadcast address',
    ],
    [
      'the network address',
      'guests: {v1: }\nfabric:\n  lan:\n    members:\n      v1: {address: 10.1.0.0}\n',
      'lab.yaml:5:21',
      'network address',
    ],
    [
      'an address twice',
      'guests: {v1: , v2: }\nfabric:\n  lan:\n    members:\n      v1: {address: 10.1.0.7}\n      v2: {address: 10.1.0.7}\n',
      'lab.yaml:6:21',
      'both v1 and v2',
    ],
    [
      "the gateway's address",
      "guests: {v1: }\nfabric:\n  lan:\n    members:\n      v1: {address: 10.1.255.254}\n    uplink: {allow: ['icmp 192.0.2.1']}\n",
      'lab.yaml:5:21',
      'both the gateway and v1',
    ],
    [
      'the address that DHCP answers from',
      'guests: {v1: }\nfabric:\n  lan:\n    members:\n      v1: {address: 10.1.255.254}\n',
      'lab.yaml:5:21',
      'both what answers DHCP (dhcp: false takes that away) and v1',
    ],
    [
      'no address left for DHCP',
      "guests: {'v[1-2]': }\nfabric:\n  a: {members: ['v[1-2]'], subnet: 10.1.0.0/30}\n",
      'lab.yaml:3:36',
      "has 2 addresses, and network 'a' needs 3, one of them to answer DHCP",
    ],
    [
      'the MAC of the gateway',
      "guests: {v1: }\nfabric:\n  lan:\n    members:\n      v1: {mac: '02:4c:01:ff:ff:fe'}\n    uplink: {allow: ['icmp 192.0.2.1']}\n",
      'lab.yaml:5:17',
      'both lan/uplink and lan/v1',
    ],
    [
      'one address for a range',
      "guests: {'v[1-2]': }\nfabric:\n  lan:\n    members:\n      v[1-2]: {address: 10.1.0.7}\n",
      'lab.yaml:5:25',
      'cannot have one address',
    ],
    [
      'a MAC twice',
      "guests: {v1: , v2: }\nfabric:\n  lan:\n    members:\n      v1: {mac: '02:00:00:00:00:01'}\n      v2: {mac: '02:00:00:00:00:01'}\n",
      'lab.yaml:6:17',
      'both lan/v1 and lan/v2',
    ],
    [
      'subnets that overlap',
      'guests: {v1: }\nfabric:\n  a: {members: [v1]}\n  b: {members: [v1], subnet: 10.1.128.0/24}\n',
      'lab.yaml:4:30',
      "overlaps that of 'a'",
    ],
    [
      'a subnet that is too small',
      "guests: {'v[1-3]': }\nfabric:\n  a: {members: ['v[1-3]'], subnet: 10.1.0.0/30}\n",
      'lab.yaml:3:36',
      'has 2 addresses',
    ],
    [
      'a topology that is too small',
      "guests: {'v[1-3]': }\nfabric:\n  a: {members: ['v[1-3]'], topology: 'fat-tree:k=2'}\n",
      'lab.yaml:3:38',
      'room for 2 members',
    ],
    [
      'a switch that is not there',
      'guests: {v1: }\nfabric:\n  a: {topology: "ring:4", members: {v1: {switch: s9}}}\n',
      'lab.yaml:3:50',
      "no switch 's9'",
    ],
    [
      'more jitter than delay',
      'guests: {v1: }\nfabric:\n  a: {members: [v1], delay: 1ms, jitter: 2ms}\n',
      'lab.yaml:3:42',
      'jitter (2ms)',
    ],
    [
      'a queue for nothing',
      'guests: {v1: }\nfabric:\n  a: {members: [v1], queue: 1M}\n',
      'lab.yaml:3:29',
      'queue without',
    ],
    [
      'a bandwidth without unit',
      'guests: {v1: }\nfabric:\n  a: {members: [v1], bandwidth: 10}\n',
      'lab.yaml:3:33',
      'not a bandwidth',
    ],
    [
      'a loss without sign',
      'guests: {v1: }\nfabric:\n  a: {members: [v1], loss: 0.1}\n',
      'lab.yaml:3:28',
      'not a percentage',
    ],
    ['an unknown key of a guest', 'guests: {v1: {cpu: 1}}\n', 'lab.yaml:1:15', "unknown key 'cpu'"],
    [
      'an unknown key of a member',
      'guests: {v1: }\nfabric: {a: {members: {v1: {dealy: 1ms}}}}\n',
      'lab.yaml:2:29',
      "unknown key 'dealy'",
    ],
    ['a bad value inherited from defaults', 'defaults: {cpus: 0}\nguests: {v1: }\n', 'lab.yaml:1:18', 'cpus'],
    [
      'a rule that is none',
      'guests: {v1: }\nfabric: {a: {members: [v1], uplink: {allow: [all]}}}\n',
      'lab.yaml:2:46',
      'rule',
    ],
    [
      'a way out that never lets anything out',
      'guests: {v1: }\nfabric: {a: {members: [v1], uplink: {allow: ["tcp 127.0.0.1:22"]}}}\n',
      'lab.yaml:2:46',
      'lets nothing out',
    ],
    [
      'a route by oneself',
      'guests: {v1: {routes: [10.9.0.0/16 via v1]}}\n',
      'lab.yaml:1:24',
      'its own address',
    ],
    [
      'a route to where one is',
      'guests: {v1: {routes: [10.1.0.0/16 via v2]}, v2: }\n',
      'lab.yaml:1:24',
      'it is in lan itself',
    ],
    ['a guest that is everywhere', 'guests: {localhost: }\n', 'lab.yaml:1:10', 'named localhost'],
    ['a range that runs backwards', "guests: {'v[5-1]': }\n", 'lab.yaml:1:10', 'v[5-1]'],
    [
      'more neighbours than there are switches',
      'guests: {v1: }\nfabric: {a: {members: [v1], topology: "random:switches=3,degree=7"}}\n',
      'lab.yaml:2:39',
      'random',
    ],
    [
      'a guest with the name of a link',
      "guests: {s1-s2: , 'v[1-3]': }\nfabric:\n  a: {members: [s1-s2, 'v[1-3]'], topology: ring}\n",
      'lab.yaml:3:16',
      'name of another link',
    ],
  ])('%s', (_, text, where, message) => {
    const fault = faultOf(() => outline(text));
    expect([fault.code.startsWith('spec-'), fault.where]).toEqual([true, where]);
    expect(`${fault.message} ${fault.detail ?? ''}`).toContain(message);
  });
  it('is told which name was meant', () => {
    expect(
      faultOf(() => outline('guests: {router: , v1: }\nfabric: {lan: {members: [v1, ruoter]}}\n')).fix,
    ).toBe("did you mean 'router'?");
    expect(faultOf(() => outline('guests: {v1: {acelerator: tcg}}\n')).fix).toBe(
      "did you mean 'accelerator'?",
    );
  });
  it('refuses members that no way joins', () => {
    const text = "guests: {'v[1-2]': }\nfabric:\n  a: {members: ['v[1-2]'], topology: 'as-graph:g'}\n";
    const fault = faultOf(() => outline(text, { g: '1|2|0\n3|4|0\n' }));
    expect([fault.where, fault.message]).toEqual([
      'lab.yaml:3:38',
      'nothing leads from v1 at as1 to v2 at as3',
    ]);
  });
});

describe('the name of a cluster', () => {
  it('is that of the file where none is told', () => {
    const spec = readClusterSpec('guests: {v1: }\n', 'f').value;
    expect(clusterNameOf(spec, '/a/ring-8.yaml')).toBe('ring-8');
    expect(faultOf(() => clusterNameOf(spec, '/a/My Lab.yaml')).fix).toContain('name: lab');
  });
});

describe('the end of its job', () => {
  it('saves it where the spec says, seen from the working directory', () => {
    const spec = 'name: lab\nguests: {v1: }\n';
    expect(cluster(spec).onEnd).toBeUndefined();
    expect(cluster(`${spec}on-end: {checkpoint: ../saved}\n`).onEnd).toEqual({ checkpoint: '/home/saved' });
    const named = cluster(`${spec}on-end: {checkpoint: /scratch/lab, within: 2m}\n`);
    expect(named.onEnd).toEqual({ checkpoint: '/scratch/lab', withinMs: 120_000 });
    expect(faultOf(() => cluster(`${spec}on-end: {checkpoint: x, within: 2}\n`)).code).toBe('spec-value');
    expect(faultOf(() => cluster(`${spec}on-end: {}\n`)).where).toBe('lab.yaml:3:9');
  });

  it('is not handed on to a cluster of another name that goes on from it', () => {
    const plan = cluster('name: lab\nguests: {v1: }\non-end: {checkpoint: saved}\n');
    expect(movedCluster(plan, 'lab', (name) => `/x/${name}`).onEnd).toEqual(plan.onEnd);
    expect(movedCluster(plan, 'fork', (name) => `/x/${name}`)).not.toHaveProperty('onEnd');
  });
});

describe('captures', () => {
  const keys = 'guests: {v1: }\nfabric: {lan: {members: {v1: {capture: {directory: KEPT}}}}}\n';
  const directoriesOf = ({ fabric }: ClusterPlan) =>
    fabric.networks.flatMap(({ ports }) => ports.map(({ link }) => link.capture?.directory));

  it('of two clusters into one directory have files of their own', () => {
    const [one, other] = ['lab', 'other'].map((name) => cluster(`name: ${name}\n${keys}`));
    expect(directoriesOf(one!)).toEqual(['/home/u/KEPT/lab']);
    expect(directoriesOf(other!)).toEqual(['/home/u/KEPT/other']);
  });

  it('go on beside those of the cluster that was saved', () => {
    const plan = cluster(`name: lab\n${keys.replace('KEPT', '/kept')}`);
    const moved = (name: string, job?: string) => movedCluster(plan, name, (guest) => `/x/${guest}`, job);
    expect(directoriesOf(moved('lab'))).toEqual(['/kept/lab']);
    expect(directoriesOf(moved('lab-2'))).toEqual(['/kept/lab-2']);
    expect(directoriesOf(moved('lab', '4711'))).toEqual(['/kept/lab.4711']);
  });

  it('of each job of Slurm have files of their own', () => {
    expect(captureOf(true, '/home/u', { cluster: 'lab', job: '4711' })?.directory).toBe('/home/u/lab.4711');
  });
});

describe('memory', () => {
  it('that is not there is refused with its sum', () => {
    const plan = cluster(
      'defaults: {memory: 1G}\nguests: {"v[1-30]": {accelerator: uml}, "q[1-2]": {accelerator: tcg}}\n',
    );
    const fault = faultOf(() => checkClusterMemory(plan.guests, { availableMemoryBytes: 8 * 2 ** 30 }));
    expect(fault.code).toBe('not-enough-memory');
    expect(fault.message).toContain('8G left');
    expect(fault.detail).toContain('30 uml of 1.0G + 2 tcg of 1.1G = 32.9G');
    expect(() => checkClusterMemory(plan.guests, { availableMemoryBytes: 33 * 2 ** 30 })).not.toThrow();
    expect(() =>
      checkClusterMemory(plan.guests, { availableMemoryBytes: 30 * 2 ** 30 }, 3 * 2 ** 30),
    ).not.toThrow();
  });
});

describe('names in guests', () => {
  it('lead to the address in a network that both are in', () => {
    const plan = cluster(lab);
    expect(hostsText(plan, ['wan'])).toContain('10.2.0.9 router router.lab router.wan\n');
    expect(hostsText(plan, ['lan'])).toContain('10.1.0.5 router router.lab router.lan\n');
    expect(hostsText(plan, ['lan'])).toContain('10.2.0.9 router.wan\n');
    // A guest that is reached through the router only.
    expect(hostsText(plan, ['lan'])).toContain('10.2.0.1 n001 n001.lab n001.wan\n');
  });
  it('are in the hostfile with as many slots as vCPUs', () => {
    expect(hostfileText(cluster('guests: {"v[1-2]": {cpus: 2}, w: }\n'))).toBe(
      'v1 slots=2\nv2 slots=2\nw slots=1\n',
    );
  });
  it('are another set of files when anybody comes or goes', () => {
    const digest = (text: string): string => planGuestFiles(cluster(text)).get('lab.v1')!.digest;
    expect(digest('guests: {"v[1-2]": }\n')).toBe(digest('guests: {"v[1-2]": {memory: 2G}}\n'));
    expect(digest('guests: {"v[1-2]": }\n')).not.toBe(digest('guests: {"v[1-3]": }\n'));
  });
});

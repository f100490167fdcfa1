import { describe, expect, it } from 'vitest';
import { diffCluster } from '../../src/cluster/diff.ts';
import { changedFabric } from '../../src/cluster/fabric-change.ts';
import { fabricOnHost } from '../../src/cluster/hosts.ts';
import { cluster, faultOf, outline } from './sample.ts';

const lab = (keys: string, members = '{v1: , v2: }') => `name: lab
guests: {'v[1-2]': {accelerator: tcg}}
fabric:
  lan: {members: ${members}${keys}}
`;

describe('a network that is a bridge of the kernel', () => {
  it('has devices with names of their own, and nobody who answers DHCP', () => {
    const { fabric, guests } = outline(lab(', bridge: true, subnet: 10.1.0.0/30'));
    const [network] = fabric.networks;
    expect(network).toMatchObject({ switches: ['lan'], links: [], bridge: { device: expect.any(String) } });
    expect(network).not.toHaveProperty('dhcp');
    expect(network!.bridge).not.toHaveProperty('joins');
    const bridges = guests.map((guest) => guest.interfaces[0]!.bridge!);
    expect(bridges.map(({ device }) => device)).toEqual([network!.bridge!.device, network!.bridge!.device]);
    const devices = [network!.bridge!.device, ...bridges.map(({ tap }) => tap)];
    expect(new Set(devices).size).toBe(3);
    for (const device of devices) expect(device).toMatch(/^[bt]-[0-9a-f]{12}$/);
  });

  it('may join one of the host, by a device that is this cluster’s alone', () => {
    const joins = (text: string) => outline(text).fabric.networks[0]!.bridge!.joins!;
    const one = joins(lab(', bridge: br0'));
    expect(one).toEqual({ bridge: 'br0', device: expect.stringMatching(/^lodge[0-9a-f]{10}$/) });
    expect(joins(lab(', bridge: br0').replace('name: lab', 'name: lab2')).device).not.toBe(one.device);
  });

  it.each([
    [', bridge: true, topology: ring', 'topology', 4],
    [", bridge: true, uplink: {allow: ['icmp 192.0.2.1']}", 'uplink', 4],
    [', bridge: br0, capture: true', 'capture', 4],
    [', bridge: true, limits: {macs: 2}', 'limits', 4],
    [', bridge: true, dhcp: true', 'DHCP', 4],
  ])('is refused with %s', (keys, what, line) => {
    const fault = faultOf(() => outline(lab(keys)));
    expect(fault).toMatchObject({ code: 'spec-value' });
    expect(fault.message).toContain(what);
    expect(fault.where).toMatch(new RegExp(`^lab\\.yaml:${line}:`));
    expect(fault.fix).toBeTruthy();
  });

  it.each(['capture: true', 'limits: {broadcasts: 5}', 'switch: s1'])(
    'is refused with a member of %s',
    (key) => {
      const fault = faultOf(() => outline(lab(', bridge: true', `{v1: {${key}}, v2: }`)));
      expect(fault).toMatchObject({
        code: 'spec-value',
        message: expect.stringContaining('bridge of the kernel'),
      });
    },
  );

  it('takes what says nothing, and no name that is none', () => {
    expect(outline(lab(', bridge: true, capture: false, dhcp: false')).fabric.networks).toHaveLength(1);
    expect(outline(lab(', bridge: false')).fabric.networks[0]).toHaveProperty('dhcp');
    for (const name of ["'a name'", "'0123456789abcdef'", "'../x'", "''"]) {
      expect(faultOf(() => outline(lab(`, bridge: ${name}`))).code).toBe('spec-value');
    }
  });

  it.each(['uml', 'netns'])('is refused to guests of %s, with their place', (kind) => {
    const fault = faultOf(() => outline(lab(', bridge: true').replace('tcg', kind)));
    expect(fault).toMatchObject({ code: 'driver-cannot', where: 'lab.yaml:2:34' });
    expect(fault.message).toContain(`'v1' is in network 'lan', and ${kind} cannot`);
    expect(outline(lab('').replace('tcg', kind)).guests).toHaveLength(2);
  });

  it('has its members started again when it becomes one, or is one no more', () => {
    const [plain, bridged] = [cluster(lab('')), cluster(lab(', bridge: true'))];
    const steps = (from: typeof plain, to: typeof plain) =>
      diffCluster(
        to,
        {
          guests: from.guests.map(({ fullName, digest }) => ({
            fullName,
            status: 'running' as const,
            digest,
          })),
          fabric: from.fabric,
        },
        new Map(),
      ).map(({ kind }) => kind);
    expect(steps(plain, bridged)).toEqual(['fabric', 'replace', 'replace']);
    expect(steps(bridged, plain)).toEqual(['fabric', 'replace', 'replace']);
    // A shape alone is changed while they run.
    expect(steps(bridged, cluster(lab(', bridge: true, bandwidth: 1Gbit')))).toEqual([
      'fabric',
      'keep',
      'keep',
    ]);
  });

  it('can be cut and shaped while it runs, and neither moved nor captured', () => {
    const { fabric } = outline(lab(', bridge: true'));
    const link = 'lan/v1';
    const after = changedFabric(fabric, { kind: 'cut', ask: { link } });
    expect(after.networks[0]!.ports.map((port) => port.link.isCut)).toEqual([true, false]);
    const capture = { directory: '/', snapLengthBytes: 64, files: 1, fileBytes: 1000 };
    for (const change of [
      { kind: 'move', ask: { link, switch: 'lan' } },
      { kind: 'capture-start', ask: { link, capture } },
    ] as const) {
      expect(faultOf(() => changedFabric(fabric, change))).toMatchObject({
        code: 'usage',
        message: expect.stringContaining('bridge of the kernel'),
      });
    }
  });

  it('is on one host when it is its own, and on all that the host’s bridge joins', () => {
    const hosts = new Map([
      ['v1', 'n01'],
      ['v2', 'n02'],
    ]);
    const part = { host: 'n01', guestsDir: '/g' };
    const fault = faultOf(() => fabricOnHost(outline(lab(', bridge: true')).fabric, hosts, part));
    expect(fault).toMatchObject({ code: 'spec-value', message: expect.stringContaining('n01, n02') });
    const { networks } = fabricOnHost(outline(lab(', bridge: br0')).fabric, hosts, part);
    expect(networks[0]!.ports.map(({ link }) => link.name)).toEqual(['lan/v1']);
  });
});

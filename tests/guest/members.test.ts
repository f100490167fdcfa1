/** Plans of guests with interfaces, and of guests that are namespaces of the host. */

import { describe, expect, it } from 'vitest';
import { checkValue } from '../../src/check-value.ts';
import { LodgeError } from '../../src/errors.ts';
import type { Membership } from '../../src/guest/interface.ts';
import { channelAddress, type GuestPlan } from '../../src/guest/plan.ts';
import { type PlanInput, planGuest } from '../../src/guest/planner.ts';
import { mountPoints } from '../../src/guest/resolve.ts';
import { fullNamePattern, type GuestSpecInput, guestSpecSchema } from '../../src/guest/spec.ts';
import type { Image } from '../../src/image/image.ts';
import type { Accelerator } from '../../src/machine/accelerators.ts';
import { mayLayerRoot } from '../../src/machine/accelerators.ts';
import { probeMachine } from '../../src/machine/probe.ts';
import { readMachineRecord, recordedSource } from '../../src/machine/record.ts';
import { sourceOf } from '../machine/recorded.ts';

const machine = await probeMachine(
  recordedSource(
    readMachineRecord(new URL('../fixtures/machines/two-socket-smt.json', import.meta.url).pathname),
  ),
);
const kernel = { id: 'k', release: '6.1', vmlinuxPath: '/store/vmlinux', source: 'debian' } as const;
const host: Image = { kind: 'linux', name: 'host', id: 'host', root: { kind: 'host' } };

const member: Membership = {
  name: 'lab.v01',
  hostname: 'v01',
  interfaces: [
    { network: 'lan', name: 'eth0', mac: '02:4c:00:00:00:01', address: '10.1.0.1/16', mtuBytes: 1500 },
    { network: 'wan', name: 'eth1', mac: '02:4c:01:00:00:01', address: '10.2.0.1/16', mtuBytes: 9000 },
  ],
  hosts: ['10.1.0.1 v01 lab.v01', '10.1.0.2 v02 lab.v02'],
  routes: [{ destination: '10.3.0.0/16', gateway: '10.2.0.9' }],
  forward: true,
  cluster: { name: 'lab', digest: 'abc' },
};

const layered = {
  agentPath: '/lodge/dist/agent',
  layered: true,
  hostMounts: ['/home', '/srv/x'],
  ownFiles: [],
};

function inputOf(
  accelerator: Accelerator,
  asked: GuestSpecInput = {},
  more: Partial<PlanInput> = {},
): PlanInput {
  return {
    spec: checkValue(asked, guestSpecSchema, () => 'spec'),
    name: member.name,
    id: '0123456789abcdef',
    dir: '/run/lodge/guests/lab.v01',
    image: host,
    accelerator,
    passedOver: [],
    ...(accelerator === 'netns'
      ? { namespaces: layered }
      : { boot: { kernel, initramfsPath: '/store/initramfs' } }),
    basics: machine,
    machine,
    user: { name: 'ada', uid: 1000, gid: 1000, groups: [1000], home: '/home/ada', shell: '/bin/bash' },
    cwd: '/scratch/run',
    takenCpus: [],
    objects: [],
    ...more,
  };
}

const accelerators = ['kvm', 'tcg', 'uml', 'netns'] as const;

/** The steps of a verb, in their order. */
const stepsOf = ({ setup }: GuestPlan, verb: string): string[][] =>
  setup.filter(([name]) => name === verb).map((step) => [...step]);

const written = (plan: GuestPlan, path: string): string | undefined =>
  plan.setup.find(([verb, target]) => verb === 'write' && target === path)?.[3];

describe('a guest with interfaces', () => {
  it.each(accelerators)(
    'under %s has them set up by address, after its root, and knows all members',
    (accelerator) => {
      const plan = planGuest(inputOf(accelerator, {}, { member }));
      expect(plan).toMatchObject({ name: 'lab.v01', hostname: 'v01', cluster: member.cluster });
      expect(plan.interfaces).toEqual(member.interfaces);
      const root = plan.setup.findIndex(([verb]) => verb === 'root');
      expect(plan.setup.slice(root).filter(([verb]) => /^(interface|address|up|route)$/.test(verb))).toEqual([
        ['up', 'lo'],
        ['interface', '02:4c:00:00:00:01', 'eth0', '1500'],
        ['address', 'eth0', '10.1.0.1/16'],
        ['up', 'eth0'],
        ['interface', '02:4c:01:00:00:01', 'eth1', '9000'],
        ['address', 'eth1', '10.2.0.1/16'],
        ['up', 'eth1'],
        ['route', '10.3.0.0/16', '10.2.0.9'],
      ]);
      expect(stepsOf(plan, 'hostname')).toEqual([['hostname', 'v01']]);
      expect(written(plan, '/etc/hostname')).toBe('v01\n');
      // Not 127.0.1.1: what asks for its own name is to get the address that others reach it at.
      expect(written(plan, '/etc/hosts')).toBe(
        '127.0.0.1 localhost\n::1 localhost\n10.1.0.1 v01 lab.v01\n10.1.0.2 v02 lab.v02\n',
      );
      expect(written(plan, '/proc/sys/net/ipv4/ip_forward')).toBe('1\n');
    },
  );

  it.each(accelerators)('under %s differs from one without by nothing else than these', (accelerator) => {
    const alone = planGuest(inputOf(accelerator));
    expect(alone).toMatchObject({ interfaces: [], hostname: 'lab.v01' });
    expect(alone.cluster).toBeUndefined();
    expect(alone.argv.join(' ')).not.toMatch(/net0|vec0/);
    expect(written(alone, '/etc/hosts')).toBe('127.0.0.1 localhost\n127.0.1.1 lab.v01\n::1 localhost\n');
    expect(alone.setup.some(([verb]) => verb === 'interface')).toBe(false);
    const plan = planGuest(inputOf(accelerator, {}, { member }));
    expect(plan.argv.filter((word) => !/net[01]|vec[01]|^-netdev$|^-device$/.test(word))).toEqual(
      alone.argv.filter((word) => word !== '-device'),
    );
  });

  it('under QEMU has streams to the keeper, and a card that firmware does not look at', () => {
    const { argv, wire } = planGuest(inputOf('kvm', {}, { member }));
    expect(wire).toBe('stream');
    expect(argv).toContain('stream,id=net1,server=off,addr.type=fd,addr.str=5');
    expect(argv).toContain('virtio-net-pci,netdev=net1,mac=02:4c:01:00:00:01,romfile=,host_mtu=9000');
  });

  it('on a bridge has a device of the kernel, which the kernel itself serves where it can', () => {
    const onBridge = {
      ...member,
      interfaces: member.interfaces.map((one, i) =>
        i === 0 ? one : { ...one, bridge: { device: 'b-1', tap: 't-1' } },
      ),
    };
    const { argv, notes } = planGuest(inputOf('kvm', {}, { member: onBridge }));
    expect(argv).toContain('stream,id=net0,server=off,addr.type=fd,addr.str=4');
    expect(argv).toContain('tap,id=net1,fd=5');
    expect(notes.some((note) => note.includes('without vhost'))).toBe(true);
    const served = planGuest(inputOf('kvm', {}, { member: onBridge, vhostNet: true }));
    expect(served.argv).toContain('tap,id=net1,fd=5,vhost=on');
    for (const kind of ['uml', 'netns'] as const) {
      expect(() => planGuest(inputOf(kind, {}, { member: onBridge }))).toThrow('bridge of the kernel');
    }
  });

  it('that has no agent gets a card that every system has a driver for, and is told so', () => {
    const image: Image = { kind: 'disk', name: 'd', path: '/d', format: 'raw', firmware: 'bios' };
    const plan = planGuest(inputOf('kvm', {}, { member, image }));
    expect(plan.argv).toContain('e1000,netdev=net0,mac=02:4c:00:00:00:01,romfile=');
    expect(plan.notes.some((note) => note.includes('e1000'))).toBe(true);
  });

  it('under user-mode Linux and netns has its frames as datagrams', () => {
    const uml = planGuest(inputOf('uml', {}, { member }));
    expect(uml.wire).toBe('datagrams');
    expect(uml.argv).toContain('vec0:transport=fd,fd=4,mac=02:4c:00:00:00:01,mtu=1500');
    expect(uml.argv).toContain('vec1:transport=fd,fd=5,mac=02:4c:01:00:00:01,mtu=9000');
    expect(planGuest(inputOf('netns', {}, { member })).wire).toBe('datagrams');
  });

  it('is refused with more than the keeper takes', () => {
    const interfaces = Array.from({ length: 33 }, () => member.interfaces[0]!);
    expect(() => planGuest(inputOf('uml', {}, { member: { ...member, interfaces } }))).toThrow(
      expect.objectContaining({ code: 'driver-cannot' }),
    );
  });
});

describe('a guest of namespaces', () => {
  it('has the agent as its program, and a channel without a ring', () => {
    const plan = planGuest(inputOf('netns'));
    expect(plan).toMatchObject({
      driver: 'netns',
      relay: true,
      contain: false,
      namespaces: { layered: true },
    });
    expect(plan.argv).toEqual(['/lodge/dist/agent', '--namespaces', '3', '/run/lodge/guests/lab.v01/']);
    expect(channelAddress(plan)).toEqual({ socketPath: '/run/lodge/guests/lab.v01/channel.sock' });
  });

  it('has the host’s root under a layer, with what is mounted in it, and its volumes from the host', () => {
    const plan = planGuest(inputOf('netns', { memory: '64M', volumes: ['/in:/mnt/in:ro'] }));
    const root = '/lodge/root';
    expect(stepsOf(plan, 'mount')).toEqual([
      ['mount', 'layer', '/lodge/layer', 'tmpfs', '', 'size=67108864,mode=755'],
      [
        ...['mount', 'root', root, 'overlay', ''],
        'lowerdir=/lodge/lower,upperdir=/lodge/layer/upper,workdir=/lodge/layer/work',
      ],
      ['mount', 'tmp', `${root}/tmp`, 'tmpfs', 'nosuid,nodev', 'size=67108864,mode=1777'],
      ['mount', '/lodge/read-only/home', `${root}/home`, '', 'bind', ''],
      ['mount', '/lodge/read-only/srv/x', `${root}/srv/x`, '', 'bind', ''],
    ]);
    expect(plan.volumeSetup).toEqual([
      ['mount', '/run/start/lodge/host/home/ada', '/home/ada', '', 'nosuid,nodev,bind,rec', ''],
      ['mount', '/run/start/lodge/read-only/in', '/mnt/in', '', 'nosuid,nodev,ro,bind,rec', ''],
      ['mount', '/run/start/lodge/host/scratch/run', '/scratch/run', '', 'nosuid,nodev,bind,rec', ''],
      // From here on nothing but these can be reached of the host.
      ['unmount', '/run/start'],
    ]);
  });

  it('of an ordinary user has the host’s root as it is, and writes nothing to it', () => {
    const namespaces = { ...layered, layered: false, ownFiles: ['/etc/hosts'] };
    const plan = planGuest(inputOf('netns', {}, { namespaces, member }));
    expect(plan.namespaces).toEqual({ layered: false });
    expect(stepsOf(plan, 'mount').slice(0, 1)).toEqual([
      ['mount', '/lodge/read-only', '/lodge/root', '', 'bind,rec', ''],
    ]);
    expect(written(plan, '/lodge/own/hosts')).toContain('10.1.0.2 v02');
    expect(plan.setup).toContainEqual(['mount', '/lodge/own/hosts', '/lodge/root/etc/hosts', '', 'bind', '']);
    // The host has no such file to put it over.
    expect(JSON.stringify(plan.setup)).not.toContain('/etc/hostname');
    const places = plan.setup.filter(([verb]) => verb === 'write').map(([, path]) => path);
    expect(places).toEqual(['/lodge/own/hosts', '/proc/sys/net/ipv4/ip_forward']);
    expect(plan.notes.some((note) => note.includes('read-only'))).toBe(true);
  });

  it('says what it does not keep to, and asks for no memory to be there', () => {
    const { notes } = planGuest(inputOf('netns', { memory: '100T' }));
    expect(notes.some((note) => note.includes('memory is not limited'))).toBe(true);
    expect(notes.some((note) => note.includes('all CPUs'))).toBe(true);
  });

  it('has pins, which are told to be weak', () => {
    const plan = planGuest(inputOf('netns', { cpus: 2, pin: true }));
    expect(plan.verifyPlacement).toBe(true);
    expect(plan.layout.vcpus.every(({ hostCpus }) => hostCpus.length > 0)).toBe(true);
    expect(plan.notes.some((note) => note.includes('undo its pins'))).toBe(true);
  });

  it.each<[string, GuestSpecInput, Partial<PlanInput>]>([
    ['another kernel', { kernel: '/k' }, {}],
    ['a kernel command line', { append: 'quiet' }, {}],
    ['pages', { pages: 'thp' }, {}],
    ['NUMA nodes', { numa: 'mirror' }, {}],
    ['a disk', {}, { image: { kind: 'disk', name: 'd', path: '/d', format: 'raw', firmware: 'bios' } }],
    [
      'another root',
      {},
      { image: { ...host, root: { kind: 'block', filesystem: 'squashfs', path: '/r' } } as Image },
    ],
  ])('is refused for %s, with a way out', (_, asked, more) => {
    let refusal: unknown;
    try {
      planGuest(inputOf('netns', asked, more));
    } catch (error) {
      refusal = error;
    }
    expect(refusal).toBeInstanceOf(LodgeError);
    expect(refusal).toMatchObject({ code: 'driver-cannot', fix: expect.stringContaining('accelerator') });
  });
});

describe('what is looked at for namespaces', () => {
  it('are the mounts of the host, parents first, and not those that a guest has of its own', () => {
    const line = (point: string, type = 'ext4') =>
      `36 35 98:0 / ${point} rw,noatime shared:1 - ${type} /dev/x rw`;
    const points = [
      '/',
      '/home/ada',
      '/home',
      '/proc',
      '/dev/shm',
      '/run/user/0',
      '/tmp/x',
      '/process',
      '/a\\040b',
      '/home',
    ];
    expect(
      mountPoints([...points.map((point) => line(point)), line('/net', 'autofs'), ''].join('\n')),
    ).toEqual(['/a b', '/home', '/home/ada', '/process']);
  });

  it('is whether the user may mount what they like', () => {
    const status = (capabilities: string) => sourceOf({ '/proc/self/status': `CapEff:\t${capabilities}\n` });
    expect(mayLayerRoot(status('000001ffffffffff'))).toBe(true);
    expect(mayLayerRoot(status('0000000000200000'))).toBe(true);
    expect(mayLayerRoot(status('00000000a80425fb'))).toBe(false);
    expect(mayLayerRoot(status('0000000000000000'))).toBe(false);
    expect(mayLayerRoot(sourceOf({}))).toBe(false);
  });
});

it('names of members have one dot, and none of them is a path', () => {
  for (const name of ['v01', 'lab.v01', 'a.b']) expect(fullNamePattern.test(name)).toBe(true);
  for (const name of [
    '',
    '.',
    '..',
    'lab.',
    '.v01',
    'lab..v01',
    'a.b.c',
    'lab.v01/x',
    'Lab.v01',
    'lab.-v',
    'lab.v01\n',
  ]) {
    expect(fullNamePattern.test(name)).toBe(false);
  }
});

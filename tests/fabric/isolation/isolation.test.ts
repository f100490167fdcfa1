import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { constants } from 'node:os';
import { describe, expect, it } from 'vitest';
import { openCanary } from '../../../src/fabric/isolation/canary.ts';
import { judgeProbes, type ProbeTarget } from '../../../src/fabric/isolation/probe.ts';
import {
  countRoutes,
  interfaceNames,
  judgeBridges,
  judgeProcesses,
  judgeSeparation,
  networksOfProcesses,
  ownNamespace,
  type ProcessNetwork,
} from '../../../src/fabric/isolation/processes.ts';
import { judgeUplinks, targetsOf } from '../../../src/fabric/isolation/prove.ts';
import type { FabricPlan, PortPlan } from '../../../src/fabric/plan.ts';

const { ECONNREFUSED, ETIMEDOUT, ENETUNREACH } = constants.errno;

const dev = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
  eth0:     132       3    0    0    0     0          0         0      132       3    0    0    0     0       0          0
`;

describe('what /proc tells', () => {
  it('names interfaces and counts routes', () => {
    expect(interfaceNames(dev)).toEqual(['lo', 'eth0']);
    const heading = 'Iface\tDestination\tGateway \tFlags\n';
    expect(countRoutes(heading, '')).toBe(0);
    expect(countRoutes(`${heading}eth0\t0000000A\t00000000\t0001\n`, '')).toBe(1);
    const loopback = `${'0'.repeat(31)}1 80 ${'0'.repeat(32)} 00 ${'0'.repeat(32)} 00000000 00000004 00000000 80200001       lo\n`;
    expect(countRoutes(heading, loopback)).toBe(0);
    expect(countRoutes(heading, loopback.replace('lo', 'eth0'))).toBe(1);
  });

  it('shows this process in its own namespace', () => {
    const [self] = networksOfProcesses(process.pid);
    expect(self).toMatchObject({ pid: process.pid, namespace: ownNamespace() });
    expect(self!.interfaces).toContain('lo');
  });
});

const found = (more: Partial<ProcessNetwork> = {}): ProcessNetwork => ({
  pid: 7,
  program: 'qemu',
  namespace: 'net:[1]',
  interfaces: ['lo'],
  routes: 0,
  ...more,
});
const judged = (processes: ProcessNetwork[], allowed: string[] = []): string[] =>
  judgeProcesses({ guest: 'v01', allowed, processes }, 'net:[0]').map(
    ({ verdict, found: text }) => `${verdict}: ${text}`,
  );

describe('the processes of a guest', () => {
  it('are shut in with nothing', () => {
    expect(judged([found(), found({ pid: 8 })])).toEqual([
      'pass: 2 processes in 1 network namespace of its own: only lo and no route',
    ]);
  });

  it('may have the interfaces of the guest where they are the guest', () => {
    const inside = found({ interfaces: ['lo', 'eth0'], routes: 1 });
    expect(judged([inside], ['eth0'])[0]).toMatch(/^pass/);
    expect(judged([inside])).toEqual([
      "fail: process 7 (qemu) has interfaces that are not the guest's: eth0",
      'fail: process 7 (qemu) has 1 route beyond loopback',
    ]);
  });

  it.each([
    [[], /no process/],
    [[found(), found({ pid: 9, namespace: 'net:[0]' })], /process 9 .* host's network namespace/],
  ])('are not shut in: %j', (processes, text) => {
    const [only, ...others] = judged(processes);
    expect(only).toMatch(text);
    expect(only).toMatch(/^fail/);
    expect(others).toEqual([]);
  });

  it('share no namespace with those of another guest', () => {
    const of = (guest: string, namespace: string) => ({
      guest,
      allowed: [],
      processes: [found({ namespace })],
    });
    expect(judgeSeparation([of('a', 'net:[1]'), of('b', 'net:[2]')])).toEqual([]);
    expect(judgeSeparation([of('a', 'net:[1]'), of('b', 'net:[1]')])).toMatchObject([
      { verdict: 'fail', subject: 'a, b' },
    ]);
  });
});

const host: ProbeTarget = { what: 'the host', address: '192.0.2.7', port: 4000, isMember: false };
const loopback: ProbeTarget = { ...host, address: '127.0.0.1' };
const member: ProbeTarget = { what: 'v02 in lan', address: '10.1.0.2', port: 9, isMember: true };
const verdicts = (results: [ProbeTarget, number][], canary: string[] = []): string[] =>
  judgeProbes({
    guest: 'v01',
    results: results.map(([target, errno]) => ({ target, errno })),
    canary,
  }).map(({ verdict, found: text }) => `${verdict}: ${text}`);

describe('the bridges of a cluster', () => {
  const judge = (more: Partial<ProcessNetwork>) =>
    judgeBridges('lan', found(more), new Set(['b-1', 't-1']), 'net:[0]');

  it('are in a namespace of their own, where nothing else is', () => {
    expect(judge({ interfaces: ['lo', 'b-1', 't-1'] }).verdict).toBe('pass');
    expect(judge({ namespace: 'net:[0]' })).toMatchObject({
      verdict: 'fail',
      found: expect.stringContaining("host's namespace"),
    });
    expect(judge({ interfaces: ['lo', 'b-1', 'eth0'] })).toMatchObject({
      verdict: 'fail',
      found: expect.stringContaining('nobody planned: eth0'),
    });
    expect(judge({ interfaces: ['b-1'], routes: 1 })).toMatchObject({
      verdict: 'fail',
      found: expect.stringContaining('1 route'),
    });
  });
});

describe('what was tried from inside', () => {
  it('proves that a guest reaches its members only', () => {
    expect(
      verdicts([
        [host, ENETUNREACH],
        [loopback, ECONNREFUSED],
        [member, ECONNREFUSED],
      ]),
    ).toEqual([
      'pass: reached none of 2 addresses beyond its networks',
      'pass: reached v02 in lan, as it should',
    ]);
  });

  it.each([0, ECONNREFUSED])('takes errno %i for an answer', (errno) => {
    expect(verdicts([[host, errno]])).toEqual(['fail: reached the host (192.0.2.7:4000) from inside']);
  });

  it('is no failure where the network was asked to join a bridge of the host', () => {
    const results = [{ target: host, errno: 0 }];
    const judge = (joined: string[]) =>
      judgeProbes({ guest: 'v01', results, canary: ['TCP from 10.0.0.1'], joined });
    expect(judge(['br0']).map(({ verdict, found: text }) => `${verdict}: ${text}`)).toEqual([
      'note: reached the host (192.0.2.7:4000) from inside, by the declared br0',
      'note: reached a socket of the host: TCP from 10.0.0.1, by the declared br0',
    ]);
    expect(judge([]).map(({ verdict }) => verdict)).toEqual(['fail', 'fail']);
  });

  it('believes the canary more than the guest', () => {
    expect(verdicts([[loopback, ECONNREFUSED]], ['UDP from 192.0.2.9: lodge'])).toEqual([
      'fail: reached a socket of the host: UDP from 192.0.2.9: lodge',
    ]);
  });

  it('says where the probe itself may have failed', () => {
    expect(verdicts([[member, ETIMEDOUT]]).at(-1)).toMatch(/^note: did not reach v02 in lan/);
  });
});

it('a canary tells who reached it', async () => {
  const canary = await openCanary();
  connect(canary.port, '127.0.0.1').on('error', () => {});
  const socket = createSocket('udp4');
  socket.send('tok\u0001en', canary.port, '127.0.0.1');
  while (canary.reached().length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(canary.reached().sort()).toEqual(['TCP from 127.0.0.1', 'UDP from 127.0.0.1: tok.en']);
  socket.close();
  await once(socket, 'close');
  canary.close();
});

function port(guest: string, network: string, address: string): PortPlan {
  return {
    link: { name: `${network}/${guest}`, out: {}, in: {}, isCut: false },
    switch: 0,
    end: {
      kind: 'guest',
      guest,
      interface: { network, name: 'eth0', mac: '02:4c:00:00:00:01', address, mtuBytes: 1500 },
      socketPath: `/run/${guest}`,
    },
    limits: { macs: 1, broadcastsPerSecond: 100 },
  };
}

const plan: FabricPlan = {
  version: 1,
  name: 'lab',
  seed: 1,
  networks: [
    {
      name: 'lan',
      subnet: '10.1.0.0/16',
      mtuBytes: 1500,
      switches: ['lan'],
      links: [],
      ports: [port('v01', 'lan', '10.1.0.1/16'), port('v02', 'lan', '10.1.0.2/16')],
    },
    { name: 'wan', subnet: '10.2.0.0/16', mtuBytes: 1500, switches: ['wan'], links: [], ports: [] },
  ],
};

describe('targets', () => {
  it('are the host but where a member may have its address, the metadata address, and a member', () => {
    expect(
      targetsOf(plan, 'v01', ['127.0.0.1', '192.0.2.7', '10.1.3.4', '10.2.0.1'], 4000).map(
        ({ address, isMember }) => `${address} ${isMember}`,
      ),
    ).toEqual([
      '127.0.0.1 false',
      '192.0.2.7 false',
      '10.2.0.1 false',
      '169.254.169.254 false',
      '10.1.0.2 true',
    ]);
  });

  it('of a declared way out are told, not judged', () => {
    expect(judgeUplinks(plan)).toEqual([]);
    const joined = structuredClone(plan);
    joined.networks[0]!.bridge = { device: 'b-1', joins: { bridge: 'br0', device: 'lodge1' } };
    expect(judgeUplinks(joined)).toMatchObject([
      { verdict: 'note', subject: 'lan', found: expect.stringContaining('joins br0 of the host') },
    ]);
    joined.networks[0]!.bridge = { device: 'b-1' };
    expect(judgeUplinks(joined)).toEqual([]);
    const withUplink = structuredClone(plan);
    withUplink.networks[1]!.ports.push({
      ...port('x', 'wan', '10.2.0.1/16'),
      end: {
        kind: 'uplink',
        gateway: '10.2.255.254',
        mac: '02:4c:00:00:00:02',
        allow: [{ protocol: 'tcp', destination: '192.0.2.0/24', ports: [443, 443] }],
      },
    });
    expect(judgeUplinks(withUplink)).toEqual([
      { verdict: 'note', subject: 'wan', found: 'has a declared way out: tcp to 192.0.2.0/24 port 443' },
    ]);
  });
});

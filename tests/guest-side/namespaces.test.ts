/** The agent as process 1 of namespaces, where it may set up a network and must leave the host's kernel alone. */

import { spawnSync } from 'node:child_process';
import { constants } from 'node:os';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { AgentClient, request } from './agent-client.ts';
import { buildAgent } from './build-agent.ts';

const { errno } = constants;

const apart = ['--user', '--map-root-user', '--net', '--uts', '--mount', '--pid', '--fork', '--kill-child'];
const canBeApart = spawnSync('unshare', [...apart, 'ip', 'tuntap', 'add', 'x', 'mode', 'tap']).status === 0;

let binary: string;
let agent: AgentClient;

beforeAll(() => {
  binary = buildAgent();
}, 120_000);

/** The output of a command of the agent; it has to end well. */
async function output(...argv: string[]): Promise<string> {
  const session = agent.exec(request(argv, { env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } }));
  const { code } = await session.exit();
  expect({ code, errors: session.text(2) }).toEqual({ code: 0, errors: '' });
  return session.text(1);
}

const done = { error: 0, index: 0, text: '' };
const macs = ['02:4c:00:00:00:01', '02:4C:00:00:00:02'] as const;

// Not as root and without user namespaces, nobody can have a network of their own.
describe.skipIf(!canBeApart)('the agent in namespaces', () => {
  beforeEach(async () => {
    const argv = [...apart, '--', binary, '--namespaces', '3', '/of/the/guest'];
    agent = new AgentClient('unshare', { argv });
    await agent.sync();
  });

  afterEach(async () => {
    await agent.stop();
  });

  it('finds interfaces by address, names them and sets them up', async () => {
    for (const [i, mac] of macs.entries()) {
      await output('ip', 'tuntap', 'add', `eth${1 - i}`, 'mode', 'tap');
      await output('ip', 'link', 'set', `eth${1 - i}`, 'address', mac);
    }
    expect(
      await agent.configure(
        ['interface', macs[0], 'eth0', '1500'],
        ['interface', macs[1], 'eth1', '9000'],
        ['address', 'eth0', '10.1.0.3/16'],
        ['address', 'eth1', '192.0.2.9/31'],
        ['up', 'lo'],
        ['up', 'eth0'],
        ['up', 'eth1'],
        ['route', '10.2.0.0/16', '10.1.0.9'],
        ['route', '10.2.0.0/16', '10.1.0.9'],
        ['route', '0.0.0.0/0', '192.0.2.8'],
      ),
    ).toEqual(done);
    const links = JSON.parse(await output('ip', '-j', 'addr')) as {
      ifname: string;
      address: string;
      mtu: number;
      flags: string[];
      addr_info: { family: string; local: string; prefixlen: number; broadcast?: string }[];
    }[];
    const seen = links.map(({ ifname, address, mtu, flags, addr_info }) => ({
      ...{ ifname, address, mtu, up: flags.includes('UP') },
      addresses: addr_info
        .filter(({ family }) => family === 'inet')
        .map(({ local, prefixlen }) => `${local}/${prefixlen}`),
    }));
    expect(seen.sort((a, b) => a.ifname.localeCompare(b.ifname))).toEqual([
      { ifname: 'eth0', address: macs[0], mtu: 1500, up: true, addresses: ['10.1.0.3/16'] },
      { ifname: 'eth1', address: macs[1].toLowerCase(), mtu: 9000, up: true, addresses: ['192.0.2.9/31'] },
      { ifname: 'lo', address: '00:00:00:00:00:00', mtu: 65536, up: true, addresses: ['127.0.0.1/8'] },
    ]);
    const routes = (await output('ip', 'route')).split('\n').map((line) => line.trim());
    expect(routes.filter((line) => line.startsWith('10.2.0.0/16 via 10.1.0.9 dev eth0'))).toHaveLength(1);
    expect(routes.filter((line) => line.startsWith('default via 192.0.2.8 dev eth1'))).toHaveLength(1);
  });

  it('waits for an interface that comes later', async () => {
    const later = agent.exec(
      request(['sh', '-c', `sleep 0.3; ip tuntap add late mode tap; ip link set late address ${macs[0]}`], {
        env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
      }),
    );
    expect(await agent.configure(['interface', macs[0], 'eth0', '1500'])).toEqual(done);
    expect((await later.exit()).code).toBe(0);
  });

  it.each([
    [['interface', '02:4c:00:00:00', 'eth0', '1500'], errno.EINVAL, 'interface 02:4c:00:00:00'],
    [['interface', '02:4c:00:00:00:0g', 'eth0', '1500'], errno.EINVAL, 'interface 02:4c:00:00:00:0g'],
    [['interface', macs[0], 'x'.repeat(16), '1500'], errno.EINVAL, `interface ${macs[0]}`],
    [['interface', macs[0], 'eth%d', '1500'], errno.EINVAL, `interface ${macs[0]}`],
    [['interface', macs[0], 'eth0', '65536'], errno.EINVAL, `interface ${macs[0]}`],
    [['address', 'lo', '10.1.0.1'], errno.EINVAL, 'address lo'],
    [['address', 'lo', '10.1.0.1/33'], errno.EINVAL, 'address lo'],
    [['address', 'lo', '10.1.0.256/8'], errno.EINVAL, 'address lo'],
    [['address', 'lo', '/8'], errno.EINVAL, 'address lo'],
    [['address', 'eth9', '10.1.0.1/8'], errno.ENODEV, 'address eth9'],
    [['address', 'x'.repeat(16), '10.1.0.1/8'], errno.ENODEV, `address ${'x'.repeat(16)}`],
    [['up', ''], errno.ENODEV, 'up '],
    [['route', '10.0.0.0/8', 'gateway'], errno.EINVAL, 'route 10.0.0.0/8'],
    [['route', '10.0.0.0/8', '10.9.9.9'], errno.ENETUNREACH, 'route 10.0.0.0/8'],
    [['unmount', '/no/such'], errno.ENOENT, 'unmount /no/such'],
  ])('refuses %j', async (step, error, text) => {
    expect(await agent.configure(step)).toEqual({ error, index: 0, text });
  });

  it('has a name of its own, and does nothing to the kernel, which is the host’s', async () => {
    expect(await agent.configure(['hostname', 'v01'])).toEqual(done);
    expect(await output('uname', '-n')).toBe('v01\n');
    for (const step of [
      ['clock', '0', '0'],
      ['entropy', '00'],
      ['module', '/no/such', ''],
    ]) {
      expect(await agent.configure(step)).toEqual({
        error: errno.EPERM,
        index: 0,
        text: `${step[0]} ${step[1]}`,
      });
    }
  });

  it('ends with its channel, and all that it has started with it', async () => {
    const mark = `lodge-namespaces-${process.pid}`;
    const session = agent.exec(request(['sh', '-c', `(sleep 1000; : ${mark}) & wait`]));
    await session.until(() => session.pid !== undefined);
    agent.pause();
    await agent.stop();
    expect(spawnSync('pgrep', ['-f', `: ${mark}`]).status).toBe(1);
  });
});

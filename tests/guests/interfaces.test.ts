/**
 * Interfaces of guests of each driver, joined by a hub of the test's own: what the fabric relies on. The guests are
 * planned and started as a cluster does it, and used through the command line.
 */

import { copyFileSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkValue } from '../../src/check-value.ts';
import { interfaceSocket, type Membership } from '../../src/guest/interface.ts';
import type { GuestPlan } from '../../src/guest/plan.ts';
import { resolveGuest } from '../../src/guest/resolve.ts';
import { type GuestSpecInput, guestSpecSchema } from '../../src/guest/spec.ts';
import { openStore } from '../../src/image/store.ts';
import { startDetached } from '../../src/server/client.ts';
import { Hub } from './hub.ts';
import { Runtime, until } from './lodge.ts';

const drivers = ['tcg', 'uml', 'netns'] as const;
type Driver = (typeof drivers)[number];

const runtime = new Runtime();
const hub = new Hub();
const jumboHub = new Hub();
const plans = new Map<Driver, GuestPlan>();
const hosts = drivers.map((driver, i) => `10.1.0.${i + 1} ${driver} lab.${driver}`);

function memberOf(driver: Driver): Membership {
  const index = drivers.indexOf(driver);
  return {
    name: `lab.${driver}`,
    hostname: driver,
    interfaces: [
      {
        network: 'lan',
        name: 'eth0',
        mac: `02:4c:00:00:00:0${index + 1}`,
        address: `10.1.0.${index + 1}/16`,
        mtuBytes: 1500,
      },
      {
        network: 'jumbo',
        name: 'eth1',
        mac: `02:4c:01:00:00:0${index + 1}`,
        address: `10.2.0.${index + 1}/16`,
        mtuBytes: 9000,
      },
    ],
    hosts,
    routes: [{ destination: '192.0.2.0/24', gateway: '10.1.0.1' }],
    forward: driver === 'netns',
    cluster: { name: 'lab', digest: 'd' },
  };
}

async function planOf(asked: GuestSpecInput, member: Membership): Promise<GuestPlan> {
  const spec = checkValue(asked, guestSpecSchema, () => 'spec');
  return await resolveGuest(spec, { store: openStore(), onProgress: () => {}, cwd: runtime.work, member });
}

function socketOf(driver: Driver, index = 0): string {
  return join(plans.get(driver)!.dir, interfaceSocket(index));
}

const joinAll = () =>
  Promise.all(drivers.flatMap((driver) => [hub.join(socketOf(driver)), jumboHub.join(socketOf(driver, 1))]));

/** The output of a script in a guest; it has to end well. */
async function output(driver: Driver, script: string): Promise<string> {
  const { code, stdout, stderr } = await runtime.lodge(['exec', `lab.${driver}`, '--', 'bash', '-c', script]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout.toString();
}

/** Runs peer.py in a guest, which sees the test's directory. */
const peer = (...words: string[]): string[] => ['/usr/bin/python3', '-IS', 'peer.py', ...words];

async function said(driver: Driver, ...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await runtime.lodge(['exec', `lab.${driver}`, '--', ...peer(...words)]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout.toString().trim();
}

const ask = (from: Driver, to: string, word: string): Promise<string> => said(from, 'ask', to, word);

const nextOf = (driver: Driver): Driver => drivers[(drivers.indexOf(driver) + 1) % drivers.length]!;

const addressOf = (driver: Driver, network: 1 | 2): string =>
  `10.${network}.0.${drivers.indexOf(driver) + 1}`;

/** Host processes of a guest: those that name its directory, and all that they have started. */
function processesOf(plan: GuestPlan): number[] {
  const parents = new Map<number, number>();
  const named: number[] = [];
  for (const pid of readdirSync('/proc').map(Number)) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
      parents.set(pid, Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
      if (readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(plan.dir)) named.push(pid);
    } catch {
      // It is none, or has ended.
    }
  }
  const isOf = (pid: number): boolean => named.includes(pid) || (parents.has(pid) && isOf(parents.get(pid)!));
  return [...parents.keys()].filter(isOf);
}

beforeAll(async () => {
  process.env.LODGE_RUNTIME_DIR = runtime.dir;
  // The test itself starts the host agent, as the command line does.
  process.argv[1] = join(import.meta.dirname, '../../dist/start.cjs');
  await runtime.lodge(['ps']);
  for (const driver of drivers) {
    const asked: GuestSpecInput = { accelerator: driver, memory: driver === 'tcg' ? '256M' : '128M' };
    const plan = await planOf(asked, memberOf(driver));
    plans.set(driver, plan);
    await startDetached(plan, () => {});
  }
  await joinAll();
  copyFileSync(join(import.meta.dirname, 'peer.py'), join(runtime.work, 'peer.py'));
  for (const driver of drivers) {
    const { output: told } = runtime.startLodge(['exec', `lab.${driver}`, '--', ...peer('serve')], {
      input: '',
      timeoutMs: 3_600_000,
    });
    await until(`${driver} serves`, () => told() === 'ready\n' || undefined);
  }
});

afterAll(async () => {
  hub.close();
  jumboHub.close();
  expect(await runtime.close()).toEqual([]);
});

describe.each(drivers)('a guest under %s', (driver) => {
  it('is up before anybody is on the other end of its interfaces, with names, addresses and routes', async () => {
    const script = `
      hostname; cat /etc/hosts; cat /proc/sys/net/ipv4/ip_forward
      ip -o -4 addr show | awk '$2 != "lo" {print $2, $4}'; ip -o link | awk '$2 ~ "eth" {print $2, $5}'
      ip route | grep -c '192.0.2.0/24 via 10.1.0.1 dev eth0'`;
    expect(await output(driver, script)).toBe(
      [
        driver,
        '127.0.0.1 localhost',
        '::1 localhost',
        ...hosts,
        driver === 'netns' ? '1' : '0',
        `eth0 ${addressOf(driver, 1)}/16`,
        `eth1 ${addressOf(driver, 2)}/16`,
        'eth0: 1500',
        'eth1: 9000',
        '1',
        '',
      ].join('\n'),
    );
  });

  it('has no other interface, and its processes on the host have none', async () => {
    const inside = await output(
      driver,
      'ls /sys/class/net | grep -v -e ^eth -e ^lo$ -e ^sit -e ^tunl || echo none',
    );
    expect(inside).toBe('none\n');
    const own = readlinkSync('/proc/self/ns/net');
    const plan = plans.get(driver)!;
    const keeper = Number(readFileSync(join(plan.dir, 'keeper'), 'utf8').split(' ')[0]);
    const pids = processesOf(plan).filter((pid) => driver !== 'netns' || pid !== keeper);
    const looked = pids.flatMap((pid) => {
      try {
        const seen = readFileSync(`/proc/${pid}/net/dev`, 'utf8').split('\n').slice(2);
        const names = seen.map((line) => line.split(':')[0]!.trim());
        return [{ namespace: readlinkSync(`/proc/${pid}/ns/net`), names }];
      } catch {
        // A command of the test before has ended meanwhile.
        return [];
      }
    });
    expect(looked.length).toBeGreaterThan(0);
    for (const { namespace, names } of looked) {
      expect(namespace).not.toBe(own);
      // Where the kernel has tunnels built in, each network namespace has these, down.
      const real = names.filter((name) => name !== '' && name !== 'sit0' && name !== 'tunl0');
      expect(real).toEqual(driver === 'netns' ? ['lo', 'eth0', 'eth1'] : ['lo']);
    }
  });

  it('reaches the others by name, both ways', async () => {
    for (const other of drivers.filter((name) => name !== driver)) {
      expect(await ask(driver, other, `from-${driver}`)).toBe(`from-${driver}`.repeat(2));
    }
  });

  it('passes small and large frames whole', async () => {
    const others = drivers.filter((name) => name !== driver);
    for (const other of others) {
      expect(await said(driver, 'ping', addressOf(other, 1), '1472')).toBe('answered');
      expect(await said(driver, 'ping', addressOf(other, 2), '8972')).toBe('answered');
    }
  });

  it('carries much, and nothing of it is lost', async () => {
    expect(await said(driver, 'send_much', nextOf(driver), '5000000')).toBe('same');
  });

  it('goes on after the hub was away', async () => {
    hub.leave(socketOf(driver));
    // What it sends meanwhile is lost, and holds nothing up.
    await said(driver, 'flood', '10.1.255.255', '500');
    await hub.join(socketOf(driver));
    const other = nextOf(driver);
    expect(await ask(driver, other, 'again')).toBe('againagain');
    expect(await ask(other, driver, 'back')).toBe('backback');
  });

  it('closes the connection of a hub that sends garbage, and takes the next one', async () => {
    const other = nextOf(driver);
    const path = socketOf(driver);
    const garbage = [
      Buffer.alloc(4),
      Buffer.from('ffffffff', 'hex'),
      Buffer.from('00010012', 'hex'),
      Buffer.concat([Buffer.from('0000000e', 'hex'), Buffer.alloc(14), Buffer.from('7fffffff', 'hex')]),
    ];
    for (const bytes of garbage) {
      hub.send(path, bytes);
      await until('the connection is closed', () => hub.closed.has(path) || undefined);
      hub.leave(path);
      await hub.join(path);
    }
    // Frames that are none, but have a length that could be: nobody minds.
    for (const bytes of [1, 13, 60, 1519, 65_553]) {
      const head = Buffer.alloc(4);
      head.writeUInt32BE(bytes);
      hub.send(path, Buffer.concat([head, Buffer.alloc(bytes, 0xff)]));
    }
    // The first part of a frame, and then nothing more.
    hub.send(path, Buffer.from('00000100ffff', 'hex'));
    hub.leave(path);
    await hub.join(path);
    expect(await ask(driver, other, 'sane')).toBe('sanesane');
  });
});

it('a hub that takes nothing stops nobody: the console and the channel go on', async () => {
  for (const driver of drivers) {
    const path = socketOf(driver);
    hub.leave(path);
    const deaf = connect(path);
    await new Promise((resolve) => deaf.once('connect', resolve));
    deaf.pause();
    await said(driver, 'flood', '10.1.255.255', '20000');
    await output(driver, 'echo on the console >/dev/console');
    const { stdout } = await runtime.lodge(['logs', `lab.${driver}`]);
    expect(stdout.toString()).toContain('on the console');
    deaf.destroy();
    await hub.join(path);
  }
  expect(await ask('tcg', 'netns', 'after')).toBe('afterafter');
});

it('members are known by their full names, which nobody can choose', async () => {
  const guests = await runtime.ps();
  expect(guests.map(({ name }) => name).sort()).toEqual(drivers.map((driver) => `lab.${driver}`).sort());
  const copied = await runtime.lodge(['cp', 'lab.netns:/etc/hostname', 'copied']);
  expect(copied).toMatchObject({ code: 0, stderr: '' });
  expect(readFileSync(join(runtime.work, 'copied'), 'utf8')).toBe('netns\n');
  const chosen = await runtime.lodge(['run', '--name', 'lab.mine', '--', 'true']);
  expect(chosen.code).toBe(125);
  expect(chosen.stderr).toContain('[spec-value]');
});

it('one that is killed in the middle of its frames leaves nothing, and the others go on', async () => {
  for (const driver of drivers) {
    runtime.startLodge(['exec', `lab.${driver}`, '--', ...peer('flood', '10.1.255.255', '0')], { input: '' });
  }
  const before = hub.frames.get(socketOf('uml')) ?? 0;
  await until('frames come', () => (hub.frames.get(socketOf('uml')) ?? 0) > before || undefined);
  for (const driver of ['uml', 'netns'] as const) {
    const plan = plans.get(driver)!;
    const pids = processesOf(plan);
    const keeper = Number(readFileSync(join(plan.dir, 'keeper'), 'utf8').split(' ')[0]);
    process.kill(keeper, 'SIGKILL');
    await until(`${driver} is gone`, () => pids.every((pid) => !isAlive(pid)) || undefined);
  }
  expect(await output('tcg', 'echo still here')).toBe('still here\n');
});

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

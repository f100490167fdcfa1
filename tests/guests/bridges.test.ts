/** Networks that are bridges of the kernel, with emulated guests: by root, joined to the host, and by an ordinary user. */

import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lookAtBridges } from '../../src/fabric/bridge/look.ts';
import { openStore } from '../../src/image/store.ts';
import { lodgePath, processesOf, type RunResult, run, until } from './lodge.ts';

const isRoot = process.getuid!() === 0;
const uid = 54_323;
const { features } = await lookAtBridges();
const patient = { timeoutMs: 500_000 };

const spec = (keys: string): string => `name: lab
defaults: {accelerator: tcg, memory: 192M}
guests: {'v[1-2]': }
fabric:
  lan: {members: {v1: , v2: {out: {bandwidth: 8Mbit}, in: {bandwidth: 4Mbit}}}, ${keys}}
`;

interface Link {
  name: string;
  port: { isConnected: boolean };
  out: { frames: number };
  in: { deliveredFrames: number };
}

/** lodge as a user, with a home, a runtime directory and a store of their own. */
class Lodger {
  readonly home = mkdtempSync(join(tmpdir(), 'lb-'));
  readonly run = join(this.home, 'run');
  readonly #become: readonly string[];

  constructor(become: readonly string[]) {
    this.#become = become;
    mkdirSync(this.run, { mode: 0o700 });
  }

  lodge(...args: string[]): Promise<RunResult> {
    return run([...this.#become, lodgePath, '-q', ...args], {
      ...patient,
      cwd: this.home,
      env: { HOME: this.home, LODGE_RUNTIME_DIR: this.run, ...this.store },
    });
  }

  /** Where it is not the one of whoever runs the tests. */
  store: Record<string, string | undefined> = { LODGE_DATA_DIR: openStore().path };

  async done(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.lodge(...args);
    expect({ code, stderr }, args.join(' ')).toEqual({ code: 0, stderr: '' });
    return stdout.toString();
  }

  /** @returns the process that has the namespace */
  holder(): number {
    return Number(readFileSync(join(this.run, 'clusters/lab/bridges'), 'utf8').split(' ')[0]);
  }

  /** Runs a program among the bridges. */
  async inside(...argv: string[]): Promise<string> {
    const holder = String(this.holder());
    const user = isRoot && this.#become.includes('setpriv') ? ['--user', '--preserve-credentials'] : [];
    const { stdout, stderr } = await run([
      ...this.#become,
      'nsenter',
      '-t',
      holder,
      ...user,
      '--net',
      ...argv,
    ]);
    expect(stderr).toBe('');
    return stdout.toString();
  }

  async links(): Promise<Map<string, Link>> {
    const links = JSON.parse(await this.done('--json', 'fabric', 'links')) as Link[];
    return new Map(links.map((link) => [link.name, link]));
  }

  async pings(from: string, to: string): Promise<boolean> {
    const ping = ['busybox', 'ping', '-c', '1', '-w', '10', to];
    return (await this.lodge('exec', '-u', 'root', from, '--', ...ping)).code === 0;
  }

  agentPid(): number {
    return processesOf(this.run).find(({ line }) => /\bnode .*\/dist\/\S+ agent$/.test(line))!.pid;
  }

  write(keys: string): string {
    const file = join(this.home, 'lab.yaml');
    writeFileSync(file, spec(keys));
    return file;
  }

  /** @returns what is left, which should be nothing */
  async close(): Promise<string[]> {
    if (readdirSync(this.run).includes('clusters')) await this.lodge('down', 'lab');
    const agent = processesOf(this.run).find(({ line }) => / agent$/.test(line));
    if (agent !== undefined) process.kill(agent.pid, 'SIGTERM');
    await until('no process is left', () => processesOf(this.run).length === 0, 20_000).catch(() => {});
    const left = processesOf(this.run);
    for (const { pid } of left) process.kill(pid, 'SIGKILL');
    rmSync(this.home, { recursive: true, force: true });
    return left.map(({ line }) => line);
  }
}

const canBridge = features.has('locked') && features.has('tbf') && features.has('veth');

describe.skipIf(!canBridge)('a bridge of the kernel', () => {
  const here = new Lodger([]);

  afterAll(async () => {
    expect(await here.close()).toEqual([]);
  });

  it('is refused where the kernel cannot do it, before anything is started', async () => {
    const file = here.write('bridge: lodge-none');
    const absent = await here.lodge('up', file);
    expect([absent.code, absent.stderr]).toEqual([
      125,
      expect.stringContaining("no bridge 'lodge-none' on this host [bridge-unmet]"),
    ]);
    if (!features.has('netem')) {
      const { code, stderr } = await here.lodge('up', here.write('bridge: true, delay: 5ms'));
      expect([code, stderr]).toEqual([125, expect.stringContaining('the kernel has no netem')]);
      expect(stderr).toContain('modprobe sch_netem');
    }
    expect(readdirSync(here.run)).toEqual([]);
  });

  it('joins guests at the rates asked for, in a namespace that has nothing else', async () => {
    await here.done('up', here.write('bridge: true'));
    expect(await here.pings('v1', 'v2')).toBe(true);
    const queues = JSON.parse(await here.inside('tc', '-json', 'qdisc', 'show')) as {
      kind: string;
      options: { rate?: number };
    }[];
    const rates = queues.flatMap(({ kind, options }) => (kind === 'tbf' ? [options.rate! * 8] : []));
    expect(rates.sort()).toEqual([4e6, 8e6]);
    const links = await here.links();
    expect([...links.values()].map((link) => link.port.isConnected)).toEqual([true, true]);
    expect(links.get('lan/v1')!.out.frames).toBeGreaterThan(0);
    expect(links.get('lan/v2')!.in.deliveredFrames).toBeGreaterThan(0);
    const proof = await here.done('fabric', 'prove');
    expect(proof).toContain('lab is isolated');
    expect(proof).toMatch(/^PASS +lan +bridges of the kernel, in a network namespace of their own/m);
    expect(await here.done('apply', 'lab.yaml')).toBe('lab: nothing to do\n');
  });

  it('lets nobody use the address of another', async () => {
    const sent = async (): Promise<number> => (await here.links()).get('lan/v1')!.out.frames;
    const before = await sent();
    const script = 'ip link set eth0 address 02:4c:01:00:00:77; busybox ping -c 1 -w 4 v2';
    expect((await here.lodge('exec', '-u', 'root', 'v1', '--', 'sh', '-c', script)).code).not.toBe(0);
    expect(await sent()).toBeGreaterThan(before);
    // A question for its address would have told the other of the one it came from.
    const known = await here.done('exec', 'v2', '--', 'cat', '/proc/net/arp');
    expect(known).toContain('02:4c:01:00:00:01');
    expect(known).not.toContain('02:4c:01:00:00:77');
    await here.done(
      'exec',
      '-u',
      'root',
      'v1',
      '--',
      'ip',
      'link',
      'set',
      'eth0',
      'address',
      '02:4c:01:00:00:01',
    );
    expect(await here.pings('v1', 'v2')).toBe(true);
  });

  it('is cut, healed and shaped while it runs; what the kernel cannot do is refused', async () => {
    await here.done('fabric', 'cut', 'lan/v2');
    expect(await here.pings('v1', 'v2')).toBe(false);
    await here.done('fabric', 'heal', 'lan/v2');
    expect(await here.pings('v1', 'v2')).toBe(true);
    await here.done('fabric', 'shape', 'lan/v1', '--in', '--bandwidth', '50Mbit');
    expect(await here.inside('tc', 'qdisc', 'show')).toContain('rate 50Mbit');
    for (const args of [
      ['fabric', 'capture', 'start', 'lan/v1'],
      ['checkpoint', join(here.home, 'saved')],
    ]) {
      const { code, stderr } = await here.lodge(...args);
      expect([code, stderr]).toEqual([125, expect.stringContaining('kernel')]);
    }
    expect((await here.lodge('fabric', 'matrix')).stderr).toContain('not in the matrix: lan');
  });

  it('outlives the host agent and its own holder, killed', async () => {
    process.kill(here.agentPid(), 'SIGKILL');
    expect(await here.pings('v1', 'v2')).toBe(true);
    const holder = here.holder();
    process.kill(holder, 'SIGKILL');
    expect(await here.pings('v2', 'v1')).toBe(true);
    // Whoever asks next has the namespace kept again.
    const links = await here.links();
    expect([...links.values()].map((link) => link.port.isConnected)).toEqual([true, true]);
    expect(here.holder()).not.toBe(holder);
    expect(await here.done('fabric', 'prove')).toContain('lab is isolated');
  });

  it('is gone with its cluster', async () => {
    const holder = here.holder();
    const namespace = await here.inside('readlink', '/proc/self/ns/net');
    await here.done('down');
    expect(() => process.kill(holder, 0)).toThrow();
    const { stdout } = await run(['lsns', '--noheadings', '--type', 'net', '--output', 'NS']);
    expect(stdout.toString()).not.toContain(/\d+/.exec(namespace)![0]);
    expect(readdirSync(join(here.run, 'clusters'))).toEqual([]);
  });
});

describe.runIf(isRoot && canBridge)('a bridge of the host', () => {
  const host = new Lodger([]);

  afterAll(async () => {
    expect(await host.close()).toEqual([]);
  });

  it('is joined, told of as a way out, and left as it was', async () => {
    const file = host.write('bridge: lodge-br');
    const ping = 'busybox ping -c 1 -w 20 10.1.9.9';
    const script = [
      'set -e',
      'ip link set lo up; ip link add name lodge-br type bridge; ip addr add 10.1.9.9/16 dev lodge-br',
      'ip link set lodge-br up',
      `L='${lodgePath} -q'`,
      `$L up ${file}; $L exec v1 -- ${ping} >&2; $L fabric prove; $L down`,
      'ip -brief link',
    ].join('\n');
    // Another namespace stands for the host's: the one that tests run in stays as it is.
    const { code, stdout, stderr } = await run(['unshare', '--net', 'sh', '-c', script], {
      ...patient,
      cwd: host.home,
      env: { HOME: host.home, LODGE_RUNTIME_DIR: host.run, ...host.store },
    });
    expect(code, stderr).toBe(0);
    const text = stdout.toString();
    expect(text).toMatch(/^NOTE +lan +has a declared way out: it joins lodge-br of the host/m);
    expect(text).toContain('lab is isolated');
    expect(text.slice(text.indexOf('lab is isolated')).match(/^\S+/gm)).toEqual(['lab', 'lo', 'lodge-br']);
  });
});

describe.runIf(isRoot && canBridge)('a bridge of an ordinary user', () => {
  const ids = [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--inh-caps=-all'];
  const user = new Lodger(['setpriv', ...ids, '--no-new-privs']);

  beforeAll(async () => {
    // What root's guests boot from, for each user has a store of their own.
    const { stdout } = await run([lodgePath, 'run', '-a', 'tcg', '--dry-run', '--json', '--', 'true']);
    const { objects } = JSON.parse(stdout.toString()) as { objects: string[] };
    const data = join(user.home, 'data');
    for (const name of ['keys', ...objects.map((id) => `objects/${id}`)]) {
      cpSync(join(openStore().path, name), join(data, name), { recursive: true });
    }
    await run(['chown', '-R', `${uid}:${uid}`, user.home]);
    user.store = { LODGE_DATA_DIR: data, XDG_DATA_HOME: undefined };
  });

  afterAll(async () => {
    expect(await user.close()).toEqual([]);
  });

  it('takes no privilege, and joins no bridge of the host', async () => {
    await user.done('up', user.write('bridge: true'));
    expect(await user.pings('v1', 'v2')).toBe(true);
    expect(await user.inside('tc', 'qdisc', 'show')).toContain('rate 8Mbit');
    process.kill(user.holder(), 'SIGKILL');
    expect([...(await user.links()).values()].map((link) => link.port.isConnected)).toEqual([true, true]);
    expect(await user.done('fabric', 'prove')).toContain('lab is isolated');
    await user.done('down');
    expect(processesOf(user.run).filter(({ line }) => !/ agent$/.test(line))).toEqual([]);
  });
});

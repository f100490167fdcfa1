/** One cluster on two hosts: two host agents that have nothing in common but the job's key, joined by a trunk. */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fabricOnHost } from '../../src/cluster/hosts.ts';
import type { ClusterPlan } from '../../src/cluster/plan.ts';
import type { ClusterHosts, HostAddress, LinkState, TrunkState } from '../../src/fabric/control.ts';
import { makeTrunkKey } from '../../src/fabric/trunk/secure.ts';
import { call } from '../../src/server/client.ts';
import { outline } from '../cluster/sample.ts';
import { type RunResult, Runtime, until } from './lodge.ts';

/** What an engine does for a host: it has a runtime directory and an agent of its own. */
class Host {
  readonly name: string;
  readonly runtime = new Runtime();
  keyFile: string;
  address: HostAddress | undefined;

  constructor(name: string, keyFile: string) {
    this.name = name;
    this.keyFile = keyFile;
  }

  async post<Answer>(what: string, body?: unknown): Promise<Answer> {
    const socket = join(this.runtime.dir, 'agent.sock');
    return JSON.parse(await call(socket, 'POST', `/v1/clusters/lab/${what}`, body)) as Answer;
  }

  async join(peers: readonly Host[]): Promise<HostAddress> {
    const { name: host, keyFile } = this;
    const hosts: ClusterHosts = {
      host,
      keyFile,
      listen: { address: '127.0.0.1', port: 0 },
      peers: peers.map(({ address }) => address!),
    };
    const { port } = await this.post<{ port: number }>('hosts', hosts);
    this.address = { host, address: '127.0.0.1', port };
    return this.address;
  }

  async trunk(to: string): Promise<TrunkState | undefined> {
    const { trunks } = await this.post<{ trunks: TrunkState[] }>('ask', { kind: 'status', ask: {} });
    return trunks.find(({ host }) => host === to);
  }

  async link(name: string): Promise<LinkState> {
    return (await this.post<LinkState[]>('ask', { kind: 'links', ask: { links: [name] } }))[0]!;
  }

  /** What is sent before two hosts are joined is lost, as on any network: it may take several tries. */
  ping(from: string, to: string, tries = 20): Promise<RunResult> {
    const script = `for i in $(seq ${tries}); do busybox ping -c 1 -w 2 ${to} && exit 0; done; exit 1`;
    return this.runtime.lodge(['exec', from, '--', 'sh', '-c', script]);
  }
}

describe('a cluster on two hosts', () => {
  let a: Host;
  let b: Host;
  /** The fabric of all hosts. */
  const whole = outline('name: lab\nguests: {v1: , v2: }\n').fabric;
  const hostOfGuest = new Map([
    ['v1', 'a'],
    ['v2', 'b'],
  ]);

  beforeAll(async () => {
    a = new Host('a', '');
    a.keyFile = join(a.runtime.work, 'key');
    b = new Host('b', a.keyFile);
    makeTrunkKey(a.keyFile);
    for (const [host, guest, number] of [
      [a, 'v1', 1],
      [b, 'v2', 2],
    ] as const) {
      // The same address and MAC as in the fabric of all.
      writeFileSync(
        join(host.runtime.work, 'lab.yaml'),
        `defaults: {accelerator: netns}
guests: {${guest}: }
fabric: {lan: {members: {${guest}: {address: 10.1.0.${number}, mac: '02:4c:01:00:00:0${number}'}}}}\n`,
      );
      await host.runtime.done(['up', 'lab.yaml']);
    }
  });

  afterAll(async () => {
    for (const host of [a, b]) {
      if (host.runtime.files().length > 0) await host.runtime.done(['down', 'lab']);
      expect(await host.runtime.close()).toEqual([]);
    }
  });

  it('is joined when each host has been told of the other', async () => {
    await a.join([]);
    await b.join([]);
    expect((await a.ping('v1', '10.1.0.2', 1)).code).not.toBe(0);
    await a.join([b]);
    await b.join([a]);
    await until('the trunk is up', async () => (await a.trunk('b'))?.state === 'up' || undefined);
    for (const host of [a, b]) {
      const path = join(host.runtime.dir, 'clusters/lab/cluster.json');
      const plan = JSON.parse(readFileSync(path, 'utf8')) as ClusterPlan;
      const part = { host: host.name, guestsDir: join(host.runtime.dir, 'guests') };
      writeFileSync(path, JSON.stringify({ ...plan, fabric: fabricOnHost(whole, hostOfGuest, part) }));
      await host.post('apply');
    }
    expect((await a.ping('v1', '10.1.0.2')).code).toBe(0);
    expect((await b.ping('v2', '10.1.0.1')).code).toBe(0);
  });

  it('counts what goes over the trunk, and between whom', async () => {
    const { out, in: back, port } = await a.link('lan/trunk.b');
    expect(port).toMatchObject({ isConnected: true, macs: ['02:4c:01:00:00:02'] });
    expect(out.frames).toBeGreaterThan(0);
    expect(back.deliveredFrames).toBeGreaterThan(0);
    expect(await a.runtime.done(['fabric', 'links', 'lan/trunk.b'])).toMatch(
      /^lan\/trunk\.b +out +up +[1-9]/m,
    );
    const { pairs } = JSON.parse(await a.runtime.done(['--json', 'fabric', 'matrix'])) as {
      pairs: { from: string; to: string }[];
    };
    expect(pairs).toContainEqual(expect.objectContaining({ from: 'lan/v1', to: 'lan/v2' }));
    expect(pairs).toContainEqual(expect.objectContaining({ from: 'lan/v2', to: 'lan/v1' }));
  });

  it('has trunks cut and healed as any link', async () => {
    await a.runtime.done(['fabric', 'cut', 'lan/trunk.b']);
    expect((await a.ping('v1', '10.1.0.2', 1)).code).not.toBe(0);
    await a.runtime.done(['fabric', 'heal', 'lan/trunk.b']);
    expect((await a.ping('v1', '10.1.0.2')).code).toBe(0);
  });

  it('comes together again when the agent of a host was killed, whichever it is', async () => {
    for (const [host, other, from, to] of [
      [a, b, 'v1', '10.1.0.2'],
      [b, a, 'v2', '10.1.0.1'],
    ] as const) {
      const { port } = host.address!;
      process.kill(host.runtime.agentPid()!, 'SIGKILL');
      await until('it is gone', () => host.runtime.agentPid() === undefined || undefined);
      await until(
        'the trunk is down',
        async () => (await other.trunk(host.name))?.state !== 'up' || undefined,
      );
      // The next command starts one that knows its hosts.
      expect((await host.ping(from, to)).code).toBe(0);
      expect((await host.join([other])).port).toBe(port);
    }
    const events = await a.runtime.done(['fabric', 'events', '--kind', 'trunk-up,trunk-down']);
    expect(events.match(/trunk-up +b/g)!.length).toBeGreaterThan(2);
  });

  it('takes no host in that has another key, and says so', async () => {
    const c = new Host('c', '');
    c.keyFile = join(c.runtime.work, 'key');
    makeTrunkKey(c.keyFile);
    try {
      // Any command that needs it starts the agent.
      await c.runtime.done(['run', '-d', '--name', 'x', '-a', 'netns']);
      await c.join([]);
      await c.join([a]);
      await a.join([b, c]);
      const refused = await until('it is refused', async () => {
        const trunk = await a.trunk('c');
        return trunk?.state === 'refused' ? trunk : undefined;
      });
      expect(refused.reason).toContain("it has not got the job's key");
      expect(await a.runtime.done(['fabric', 'events', '--kind', 'trunk-refused'])).toContain(
        "has not got the job's key",
      );
      expect((await a.trunk('b'))?.state).toBe('up');
      expect((await c.trunk('a'))?.state).not.toBe('up');
      await a.join([b]);
      expect(await a.trunk('c')).toBeUndefined();
    } finally {
      await c.runtime.lodge(['down', 'lab']);
      expect(await c.runtime.close()).toEqual([]);
    }
  });

  it('says what is wrong with what it is told', async () => {
    await expect(
      a.post('hosts', {
        host: 'other',
        keyFile: a.keyFile,
        listen: { address: '127.0.0.1', port: 0 },
        peers: [],
      }),
    ).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining("the fabric of 'lab' has the host name a already, not other"),
    });
    // Nothing is left of one that cannot be.
    const join = {
      host: 'b',
      keyFile: `${b.keyFile}-none`,
      listen: { address: '127.0.0.1', port: 0 },
      peers: [],
    };
    const socket = `${b.runtime.dir}/agent.sock`;
    await expect(call(socket, 'POST', '/v1/clusters/other/hosts', join)).rejects.toMatchObject({
      code: 'host-io',
    });
    await expect(
      call(socket, 'POST', '/v1/clusters/other/hosts', { ...join, keyFile: b.keyFile, listen: b.address }),
    ).rejects.toMatchObject({ code: 'spec-unknown-key' });
    const taken = { address: '127.0.0.1', port: b.address!.port };
    await expect(
      call(socket, 'POST', '/v1/clusters/other/hosts', { ...join, keyFile: b.keyFile, listen: taken }),
    ).rejects.toMatchObject({ code: 'host-io', where: `127.0.0.1:${taken.port}` });
    expect(b.runtime.files().filter((file) => file.includes('other'))).toEqual([]);
    await a.runtime.done(['down', 'lab']);
    await b.runtime.done(['down', 'lab']);
    expect([...a.runtime.files(), ...b.runtime.files()]).toEqual([]);
  });
});

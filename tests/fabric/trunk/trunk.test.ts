import { type ChildProcess, execFileSync, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import * as tls from 'node:tls';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { decodeCheckpoint } from '../../../src/fabric/checkpoint.ts';
import {
  clientSecurity,
  connectionFault,
  makeTrunkKey,
  readTrunkKey,
  serverSecurity,
} from '../../../src/fabric/trunk/secure.ts';
import { encodeHello } from '../../../src/fabric/trunk/wire.ts';
import { temporaryDirectory } from '../frames.ts';
import { ethernet } from '../packets.ts';
import { guestMac, type Host, type HostOptions, startHost, until } from './host.ts';

const root = temporaryDirectory();
const key = randomBytes(32);
const running: { stop(): Promise<void> }[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((one) => one.stop()));
});

async function start(options: Partial<HostOptions> & Pick<HostOptions, 'host' | 'number'>): Promise<Host> {
  const host = await startHost({ key, peers: [], networks: ['lan'], ...options });
  running.push(host);
  return host;
}

/** n1 connects to n2. */
async function pair(
  first: Partial<HostOptions> = {},
  second: Partial<HostOptions> = {},
): Promise<[Host, Host]> {
  const peerOf1 = { host: 'n1', address: '127.0.0.1', port: 1 };
  const n2 = await start({ host: 'n2', number: 2, peers: [peerOf1], ...second });
  const peers = [{ host: 'n2', address: '127.0.0.1', port: n2.trunks.port }];
  return [await start({ host: 'n1', number: 1, peers, ...first }), n2];
}

const kinds = (host: Host) => host.events.map(({ kind }) => kind);
const isUp = (host: Host) => kinds(host).at(-1) === 'trunk-up';
const link = async (host: Host, name: string) => (await host.service.ask('links', { links: [name] }))[0]!;
const isJoined = async (host: Host, name: string) => (await link(host, name)).port!.isConnected;

async function joined(n1: Host, n2: Host, network = 'lan'): Promise<void> {
  while (!((await isJoined(n1, `${network}/trunk-n2`)) && (await isJoined(n2, `${network}/trunk-n1`)))) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function frameTo(to: string, from: string, length: number): Buffer {
  return ethernet(to, from, 0x88b5, randomBytes(length - 14));
}

describe('a trunk', () => {
  it('carries frames of any length both ways, each into its own network', async () => {
    const networks = ['lan', 'wan'];
    // The other host numbers its networks in another order.
    const [n1, n2] = await pair({ networks }, { networks: ['wan', 'lan'] });
    await joined(n1, n2, 'lan');
    await joined(n1, n2, 'wan');
    expect([isUp(n1), isUp(n2)]).toEqual([true, true]);
    const sent = [14, 60, 61, 1514].flatMap((length) =>
      networks.map((network) => ({
        network,
        frame: frameTo('ff:ff:ff:ff:ff:ff', '02:00:00:00:00:01', length),
      })),
    );
    for (const { network, frame } of sent) n1.send(network, frame);
    await until(() => n2.received.length >= sent.length);
    expect(n2.received).toEqual(sent);
    const back = frameTo(guestMac(0, 1), guestMac(1, 2), 1514);
    n2.send('lan', back);
    await until(() => n1.received.length > 0);
    expect(n1.received).toEqual([{ network: 'lan', frame: back }]);
  });

  it('joins a network when both hosts have it, and parts it when one has not', async () => {
    const [n1, n2] = await pair({ networks: ['lan', 'new'] }, {});
    await joined(n1, n2, 'lan');
    expect(await isJoined(n1, 'new/trunk-n2')).toBe(false);
    const more = { ...n2.plan, networks: [...n2.plan.networks, { ...n1.plan.networks[1]! }] };
    more.networks[1] = {
      ...more.networks[1]!,
      ports: [
        { ...n2.plan.networks[0]!.ports[1]!, link: { name: 'new/trunk-n1', out: {}, in: {}, isCut: false } },
      ],
    };
    await n2.service.ask('apply', { plan: more });
    await joined(n1, n2, 'new');
    await n2.service.ask('apply', { plan: n2.plan });
    while (await isJoined(n1, 'new/trunk-n2')) await new Promise((resolve) => setTimeout(resolve, 5));
    // Its number may be used again; frames still come to where they belong.
    n1.send('lan', frameTo('ff:ff:ff:ff:ff:ff', guestMac(0, 1), 100));
    await until(() => n2.received.length > 0);
    expect(n2.received[0]!.network).toBe('lan');
  });

  it('tells what has changed while it was not known yet who is there', async () => {
    const got: Buffer[] = [];
    const server = tls.createServer(serverSecurity(key), (socket) => {
      socket.on('error', () => {});
      socket.on('data', (piece: Buffer) => {
        got.push(piece);
        if (got.length > 1) return;
        n1.trunks.setDigest('changed');
        // Once that has been told, if it is told now.
        setImmediate(() =>
          setImmediate(() =>
            socket.write(encodeHello({ cluster: 'lab', host: 'n2', digest: 'abc', networks: [] })),
          ),
        );
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    running.push({ stop: async () => void server.close() });
    const { port } = server.address() as AddressInfo;
    const n1 = await start({ host: 'n1', number: 1, peers: [{ host: 'n2', address: '127.0.0.1', port }] });
    await until(() => Buffer.concat(got).includes('changed'));
    // It was no new connection that told it.
    expect(kinds(n1)).toEqual(['trunk-up']);
  });

  it('passes nothing from trunk to trunk: three hosts make no loop', async () => {
    const any = { address: '127.0.0.1', port: 1 };
    const n3 = await start({
      host: 'n3',
      number: 3,
      peers: [
        { host: 'n1', ...any },
        { host: 'n2', ...any },
      ],
    });
    const to3 = { host: 'n3', address: '127.0.0.1', port: n3.trunks.port };
    const n2 = await start({ host: 'n2', number: 2, peers: [{ host: 'n1', ...any }, to3] });
    const to2 = { host: 'n2', address: '127.0.0.1', port: n2.trunks.port };
    const n1 = await start({ host: 'n1', number: 1, peers: [to2, to3] });
    await joined(n1, n2);
    while (!((await isJoined(n1, 'lan/trunk-n3')) && (await isJoined(n2, 'lan/trunk-n3')))) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    for (let i = 0; i < 20; i++) n1.send('lan', frameTo('ff:ff:ff:ff:ff:ff', guestMac(0, 1), 64 + i));
    // What n2 sends afterwards would come after every copy that goes round.
    await until(() => n2.received.length >= 20 && n3.received.length >= 20);
    n2.send('lan', frameTo('ff:ff:ff:ff:ff:ff', guestMac(0, 2), 60));
    await until(() => n1.received.length >= 1 && n3.received.length >= 21);
    expect([n1.received.length, n2.received.length, n3.received.length]).toEqual([1, 20, 21]);
  });

  it('drops and counts what the other side does not take, and goes on', async () => {
    const [n1, n2] = await pair();
    await joined(n1, n2);
    await n2.service.ask('freeze', {});
    const frame = frameTo('ff:ff:ff:ff:ff:ff', guestMac(0, 1), 1514);
    let dropped = 0;
    while (dropped === 0) {
      for (let i = 0; i < 200; i++) n1.send('lan', frame);
      await new Promise((resolve) => setTimeout(resolve, 1));
      dropped = (await link(n1, 'lan/trunk-n2')).in.dropped.overflow ?? 0;
    }
    const before = n2.received.length;
    await n2.service.ask('thaw', {});
    await until(() => n2.received.length > before + 100);
    expect(n2.received.every((one) => one.frame.equals(frame))).toBe(true);
    expect(kinds(n1)).toEqual(['trunk-up']);
  });

  it('has what was on its way taken in by a host that stands still, up to the mark', async () => {
    const [n1, n2] = await pair();
    await joined(n1, n2);
    // Not at one moment: what n1 sends after n2 stands still waits between them.
    await n2.service.ask('freeze', { mark: 'a' });
    const sent = Array.from({ length: 40 }, () => frameTo('ff:ff:ff:ff:ff:ff', guestMac(0, 1), 1514));
    for (const frame of sent) n1.send('lan', frame);
    await n1.service.ask('freeze', { mark: 'a' });
    const late = frameTo('ff:ff:ff:ff:ff:ff', guestMac(0, 1), 100);
    n1.send('lan', late);
    const [first, second] = await Promise.all(
      [n1, n2].map(async ({ service }) => {
        const { bytes } = await service.ask('save', { drainMs: 200, mark: 'a' });
        return decodeCheckpoint(bytes);
      }),
    );
    expect(second!.frames.map((frame) => Buffer.from(frame))).toEqual(sent);
    expect(second!.events.map(({ link }) => link)).toEqual(sent.map(() => 'lan/trunk-n1'));
    expect(first!.frames.map((frame) => Buffer.from(frame))).toEqual([late]);
    expect(n2.received).toEqual([]);
    for (const { service } of [n1, n2]) await service.ask('thaw', {});
    await until(() => n2.received.length > sent.length);
    expect(n2.received.map(({ frame }) => frame)).toEqual([...sent, late]);
    // The mark of another time says nothing of this one.
    expect(n2.trunks.withoutMark('a')).toEqual([]);
    expect(n2.trunks.withoutMark('b')).toEqual([{ host: 'n1', isUp: true }]);
  });

  it('that is down has nothing taken in by it, and that is told', async () => {
    const [n1, n2] = await pair();
    await joined(n1, n2);
    await n2.stop();
    running.splice(running.indexOf(n2), 1);
    await until(() => kinds(n1).at(-1) === 'trunk-down');
    await n1.service.ask('freeze', { mark: 'a' });
    await expect(n1.service.ask('save', { drainMs: 10, mark: 'a' })).rejects.toThrow(
      'what is on its way from n2 cannot be taken in',
    );
    await n1.service.ask('thaw', {});
  });

  it('tells that the other host has another plan, and works', async () => {
    const [n1, n2] = await pair({}, { digest: 'other' });
    await joined(n1, n2);
    expect(n1.events[0]!.text).toContain('another plan');
  });
});

describe('who the other hosts are', () => {
  const state = (host: Host, name: string) => host.trunks.states.find((one) => one.host === name);

  it('is told when all are known; who connects before that has to try again', async () => {
    const n2 = await start({ host: 'n2', number: 2, peers: [], trunksTo: ['n1'] });
    expect(state(n2, 'n1')).toEqual({ host: 'n1', address: '', port: 0, connects: false, state: 'down' });
    const at2 = { host: 'n2', address: '127.0.0.1', port: n2.trunks.port };
    const n1 = await start({ host: 'n1', number: 1, peers: [at2] });
    // It was there, and went away again.
    await until(() => state(n1, 'n2')?.reason !== undefined);
    expect(state(n1, 'n2')).toMatchObject({ state: 'down', connects: true });
    n2.trunks.setPeers([{ host: 'n1', address: '127.0.0.1', port: n1.trunks.port }]);
    await joined(n1, n2);
    expect([state(n1, 'n2')?.state, state(n2, 'n1')?.state]).toEqual(['up', 'up']);
    expect([...n1.events, ...n2.events].map(({ kind }) => kind)).toEqual(['trunk-up', 'trunk-up']);
  });

  it('may change: a host that comes again elsewhere is found, one that is no host any more is parted', async () => {
    const [n1, n2] = await pair();
    await joined(n1, n2);
    const port = n2.trunks.port;
    await n2.stop();
    await until(() => kinds(n1).at(-1) === 'trunk-down');
    const again = await start({
      host: 'n2',
      number: 2,
      peers: [{ host: 'n1', address: '127.0.0.1', port: 1 }],
    });
    expect(again.trunks.port).not.toBe(port);
    n1.trunks.setPeers([{ host: 'n2', address: '127.0.0.1', port: again.trunks.port }]);
    await joined(n1, again);
    again.trunks.setPeers([]);
    await until(() => kinds(again).at(-1) === 'trunk-down');
    // Now it is one that nobody knows.
    await until(() => state(n1, 'n2')?.state === 'refused');
    expect(state(n1, 'n2')?.reason).toContain("no host 'n1' in the plan of 'n2'");
  });
});

describe('a host that comes up', () => {
  /** A port at which nobody listens. */
  async function freePort(): Promise<number> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }

  it('is connected to at once, however long the next try would have waited', async () => {
    const soon = async (holds: () => boolean) => {
      while (!holds()) await new Promise((resolve) => setImmediate(resolve));
    };
    // The next try never comes by itself.
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const at2 = { host: 'n2', address: '127.0.0.1', port: await freePort() };
      const n1 = await start({ host: 'n1', number: 1, peers: [at2] });
      await soon(() => n1.trunks.states[0]?.reason !== undefined);
      const at1 = { host: 'n1', address: '127.0.0.1', port: n1.trunks.port };
      const n2 = await start({ host: 'n2', number: 2, peers: [at1], port: at2.port });
      await soon(() => isUp(n1) && isUp(n2));
      // That it knocked is no event.
      expect([...kinds(n1), ...kinds(n2)]).toEqual(['trunk-up', 'trunk-up']);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('a host is refused', () => {
  const refusals = (host: Host) => host.events.filter(({ kind }) => kind === 'trunk-refused');

  it('with another key', async () => {
    const [n1, n2] = await pair({ key: randomBytes(32) });
    await until(() => refusals(n1).length > 0 && refusals(n2).length > 0);
    expect(refusals(n1)[0]).toMatchObject({
      subject: 'n2',
      text: expect.stringContaining("has not got the job's key"),
    });
    expect(refusals(n2)[0]).toMatchObject({ subject: expect.stringContaining('127.0.0.1') });
    expect([...kinds(n1), ...kinds(n2)]).not.toContain('trunk-up');
    expect(await isJoined(n1, 'lan/trunk-n2')).toBe(false);
  });

  it('of another cluster', async () => {
    const [n1, n2] = await pair({ cluster: 'other' });
    await until(() => refusals(n1).length > 0 && refusals(n2).length > 0);
    expect(refusals(n1)[0]!.text).toContain("it belongs to the cluster 'other', not to 'lab'");
    expect(kinds(n2)).not.toContain('trunk-up');
  });

  it('that nobody knows, or that is another than was meant', async () => {
    const [n1, n2] = await pair({ host: 'n0', number: 1 });
    await until(() => refusals(n1).length > 0);
    expect(refusals(n1)[0]!.text).toContain("no host 'n0' in the plan of 'n2'");
    const peers = [{ host: 'n9', address: '127.0.0.1', port: n2.trunks.port }];
    const wrong = await start({ host: 'n1', number: 3, peers });
    await until(() => refusals(wrong).length > 0);
    expect(refusals(wrong)[0]).toMatchObject({
      subject: 'n9',
      text: expect.stringContaining("it is 'n2', not 'n9'"),
    });
  });

  /** Speaks to a host with the right key. */
  async function says(host: Host, message: Buffer): Promise<Buffer> {
    const socket = tls.connect({ host: '127.0.0.1', port: host.trunks.port, ...clientSecurity(key) });
    const pieces: Buffer[] = [];
    socket.on('data', (piece: Buffer) => pieces.push(piece));
    socket.on('error', () => {});
    socket.write(message);
    await new Promise((resolve) => socket.on('close', resolve));
    return Buffer.concat(pieces);
  }
  const hello = { cluster: 'lab', host: 'n1', digest: 'abc', networks: [] };

  it('of another version, as itself, and with anything that is no hello', async () => {
    const [, n2] = await pair();
    expect(String(await says(n2, encodeHello(hello, 3)))).toContain('it speaks version 3 of trunks, not 2');
    expect(String(await says(n2, encodeHello({ ...hello, host: 'n2' })))).toContain('which is this host');
    expect(String(await says(n2, Buffer.alloc(100, 0xff)))).toContain('no trunk');
    expect(String(await says(n2, Buffer.from('GET / HTTP/1.0\r\n\r\n')))).toContain('no trunk');
  });

  it('without TLS: garbage on the port does no harm', async () => {
    const [n1, n2] = await pair();
    await joined(n1, n2);
    for (const garbage of [
      Buffer.alloc(100_000, 0x16),
      randomBytes(5000),
      Buffer.from('hello\n'),
      Buffer.alloc(0),
    ]) {
      await new Promise((resolve) => {
        const socket = connect(n2.trunks.port, '127.0.0.1', () => socket.end(garbage));
        socket.on('error', () => {});
        socket.on('close', resolve);
        socket.resume();
      });
    }
    await until(() => refusals(n2).length > 0);
    // Told once, not for each.
    expect(refusals(n2)).toHaveLength(1);
    n1.send('lan', frameTo('ff:ff:ff:ff:ff:ff', guestMac(0, 1), 100));
    await until(() => n2.received.length === 1);
    expect(kinds(n1)).toEqual(['trunk-up']);
  });

  it('that shows a certificate, whoever signed it', async () => {
    const paths = { key: join(root, 'key.pem'), cert: join(root, 'cert.pem') };
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-subj',
        '/CN=n2',
        '-days',
        '2',
        '-keyout',
        paths.key,
        '-out',
        paths.cert,
      ],
      { stdio: 'ignore' },
    );
    const server = tls.createServer({
      ...serverSecurity(randomBytes(32)),
      pskCallback: () => null,
      key: readFileSync(paths.key),
      cert: readFileSync(paths.cert),
    });
    server.on('tlsClientError', () => {});
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const n1 = await start({ host: 'n1', number: 1, peers: [{ host: 'n2', address: '127.0.0.1', port }] });
    await until(() => n1.events.length > 0);
    expect(kinds(n1)).toEqual(['trunk-refused']);
    // Even where the certificate is one that is trusted.
    const trusting = { ...clientSecurity(key), ca: readFileSync(paths.cert) };
    const socket = tls.connect({ host: '127.0.0.1', port, ...trusting });
    await new Promise((resolve) => socket.on('secureConnect', resolve));
    expect(connectionFault(socket)).toContain('certificate');
    socket.destroy();
    server.close();
  });
});

describe('the key', () => {
  it('is made once, for its user alone', () => {
    const path = join(root, 'job.key');
    makeTrunkKey(path);
    const made = readTrunkKey(path);
    makeTrunkKey(path);
    expect(readTrunkKey(path)).toEqual(made);
    expect(made).toHaveLength(32);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    chmodSync(path, 0o640);
    expect(() => readTrunkKey(path)).toThrow(/read by others/);
    writeFileSync(join(root, 'short'), 'short', { mode: 0o600 });
    expect(() => readTrunkKey(join(root, 'short'))).toThrow(/5 bytes/);
    expect(() => readTrunkKey(join(root, 'none'))).toThrow(expect.objectContaining({ code: 'host-io' }));
  });

  it('makes connections with fresh keys and the cipher that was chosen', async () => {
    const [, n2] = await pair();
    const socket = tls.connect({ host: '127.0.0.1', port: n2.trunks.port, ...clientSecurity(key) });
    await new Promise((resolve) => socket.on('secureConnect', resolve));
    expect(socket.getCipher().name).toBe('TLS_CHACHA20_POLY1305_SHA256');
    expect(socket.getEphemeralKeyInfo()).toMatchObject({ type: 'ECDH', name: 'X25519' });
    socket.on('error', () => {});
    socket.destroy();
  });
});

describe('two processes', () => {
  interface Remote {
    child: ChildProcess;
    port: number;
    received: string[];
  }
  const bundle = join(root, 'host.cjs');
  const children: ChildProcess[] = [];
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
  });

  async function startProcess(options: Omit<HostOptions, 'key'>): Promise<Remote> {
    const child = fork(bundle, { stdio: 'inherit' });
    children.push(child);
    const remote: Remote = { child, port: 0, received: [] };
    child.on('message', (message: { port?: number; frame?: string }) => {
      if (message.port !== undefined) remote.port = message.port;
      if (message.frame !== undefined) remote.received.push(message.frame);
    });
    child.send({ start: { ...options, key: key.toString('hex') } });
    await until(() => remote.port > 0);
    return remote;
  }

  it('give the same frames, and one that is killed comes back', async () => {
    const script = new URL('host-process.ts', import.meta.url).pathname;
    execFileSync(
      'node_modules/.bin/esbuild',
      [script, '--bundle', '--platform=node', `--outfile=${bundle}`],
      { stdio: 'ignore' },
    );
    const networks = ['lan'];
    const back = { host: 'n1', address: '127.0.0.1', port: 1 };
    const n2 = await startProcess({ host: 'n2', number: 2, networks, peers: [back] });
    const to2 = { host: 'n2', address: '127.0.0.1', port: n2.port };
    const n1 = await startProcess({ host: 'n1', number: 1, networks, peers: [to2] });

    /** Sends one frame again and again until it comes through, as what is on its way when a host dies is lost. */
    async function comesThrough(from: Remote, number: number, to: Remote): Promise<void> {
      const frame = frameTo('ff:ff:ff:ff:ff:ff', guestMac(0, number), 200).toString('hex');
      while (!to.received.includes(frame)) {
        from.child.send({ send: { network: 'lan', frame } });
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }

    await comesThrough(n1, 1, n2);
    const sent = Array.from({ length: 300 }, () =>
      frameTo(guestMac(0, 2), guestMac(0, 1), 14 + Math.floor(Math.random() * 1500)).toString('hex'),
    );
    n2.received.length = 0;
    for (const frame of sent) n1.child.send({ send: { network: 'lan', frame } });
    await until(() => n2.received.length >= sent.length && n2.received.at(-1) === sent.at(-1));
    expect(n2.received.slice(-sent.length)).toEqual(sent);

    n2.child.kill('SIGKILL');
    const again = await startProcess({ host: 'n2', number: 2, networks, peers: [back], port: n2.port });
    await comesThrough(n1, 1, again);
    await comesThrough(again, 2, n1);

    n1.child.kill('SIGKILL');
    const first = await startProcess({ host: 'n1', number: 1, networks, peers: [to2] });
    await comesThrough(first, 1, again);
  });
});

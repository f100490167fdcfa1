/** The host's channel against the real agent, run as a plain process beside it. */

import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { LodgeError } from '../../../src/errors.ts';
import { Channel } from '../../../src/guest/channel/channel.ts';
import {
  type ExecRequest,
  encodeFrame,
  frameTypes,
  headerBytes,
  maxPayloadBytes,
  protocolVersion,
} from '../../../src/guest/channel/frames.ts';
import { ringBytes, ringFileBytes, ringOffsets } from '../../../src/guest/channel/rings.ts';
import { builtFile } from '../../../src/installation.ts';

let dir: string;
let server: Server;
let agent: ChildProcess | undefined;
let isOnRings = false;

/** What the guest's side of the next connection does; by default it is the agent. */
let guestSide: (socket: Socket) => void;

const ringPath = (): string => join(dir, 'rings');

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'lodge-channel-'));
  writeFileSync(ringPath(), Buffer.alloc(ringFileBytes));
  agent = spawn(builtFile('agent'), isOnRings ? ['--uml-fd', '3', '--ring', ringPath()] : ['--fd', '3'], {
    stdio: ['ignore', 'ignore', 'inherit', 'pipe'],
  });
  const line = agent.stdio[3] as Socket;
  // The agent is killed after each test, with what it has not read still on the line.
  line.on('error', () => {});
  guestSide = (socket) => {
    socket.pipe(line, { end: false });
    line.pipe(socket);
    socket.on('error', () => {});
    socket.on('close', () => line.unpipe(socket));
  };
  server = createServer((socket) => guestSide(socket)).listen(join(dir, 'channel.sock'));
});

afterEach(() => {
  agent?.kill('SIGKILL');
  agent = undefined;
  server.close();
  rmSync(dir, { recursive: true });
});

const connect = (): Promise<Channel> =>
  Channel.connect(
    { socketPath: join(dir, 'channel.sock'), ...(isOnRings && { ringPath: ringPath() }) },
    10_000,
  );

const request = (...argv: string[]): ExecRequest => ({
  argv,
  env: { PATH: process.env.PATH! },
  cwd: '/',
  uid: process.getuid!(),
  gid: process.getgid!(),
  groups: process.getuid!() === 0 ? process.getgroups!() : [],
  umask: 0o022,
});

async function collect(channel: Channel, ...argv: string[]) {
  const session = channel.exec(request(...argv));
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  session.output('stdout', (bytes) => void out.push(bytes));
  session.output('stderr', (bytes) => void err.push(bytes));
  session.endInput();
  const end = await session.end;
  return { ...end, out: Buffer.concat(out).toString(), err: Buffer.concat(err).toString() };
}

describe.each([
  ['a socket', false],
  ['rings', true],
])('a channel over %s', (_name, onRings) => {
  beforeAll(() => {
    isOnRings = onRings;
  });
  afterAll(() => {
    isOnRings = false;
  });

  it('runs commands, apart from each other', async () => {
    const channel = await connect();
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        collect(channel, 'sh', '-c', `echo out${i}; echo err${i} >&2; exit ${i}`),
      ),
    );
    results.forEach((result, i) => {
      expect(result).toEqual({ code: i, signal: 0, out: `out${i}\n`, err: `err${i}\n` });
    });
    channel.close();
  });

  it('holds the guest back while its output is not taken, and loses nothing', async () => {
    const channel = await connect();
    const session = channel.exec(request('head', '-c', '8000000', '/dev/zero'));
    let taken = 0;
    let pending = 0;
    let mostPending = 0;
    session.output('stdout', async (bytes) => {
      pending += bytes.length;
      mostPending = Math.max(mostPending, pending);
      await new Promise((resolve) => setImmediate(resolve));
      pending -= bytes.length;
      taken += bytes.length;
    });
    expect(await session.end).toEqual({ code: 0, signal: 0 });
    expect(taken).toBe(8_000_000);
    expect(mostPending).toBeLessThanOrEqual(session.outputCreditBytes);
    channel.close();
  });

  it('tells a command that is not there from one that cannot be run', async () => {
    const channel = await connect();
    await expect(collect(channel, 'no-such-program')).rejects.toMatchObject({ code: 'command-not-found' });
    await expect(collect(channel, '/')).rejects.toMatchObject({ code: 'command-not-executable' });
    channel.close();
  });

  it('reads files whole that are longer than a frame, up to a limit', async () => {
    const channel = await connect();
    const path = join(dir, 'long');
    const bytes = randomBytes(3 * (maxPayloadBytes - 4));
    writeFileSync(path, bytes);
    expect((await channel.readWhole(path))?.equals(bytes)).toBe(true);
    expect((await channel.read(path))?.equals(bytes.subarray(0, maxPayloadBytes - 4))).toBe(true);
    expect(await channel.readWhole(path, maxPayloadBytes)).toBeUndefined();
    expect(await channel.readWhole(join(dir, 'no-such-file'))).toBeUndefined();
    channel.close();
  });

  it('names the step of a set-up that failed', async () => {
    const channel = await connect();
    const steps = [
      ['mkdir', join(dir, 'made'), '755'],
      ['symlink', 'x', join(dir, 'missing/link')],
    ] as const;
    await expect(channel.configure(steps)).rejects.toMatchObject({
      code: 'guest-setup',
      message: expect.stringContaining('missing/link'),
    });
    channel.close();
  });

  it('gives all that was said before it ended', async () => {
    const channel = await connect();
    const halted = channel.halt('power-off', 100);
    await halted;
    expect((await channel.ended).message).toBe('the guest closed its channel');
  });

  it('can be opened again after its host went away', async () => {
    const first = await connect();
    first.exec(request('sleep', '1000'));
    first.close();
    const second = await connect();
    expect((await collect(second, 'echo', 'again')).out).toBe('again\n');
    second.close();
  });
});

/** A guest that answers the SYNC rightly and then sends what it likes. */
function hostileGuest(
  after: (socket: Socket, session: number) => void,
  before = '',
): (socket: Socket) => void {
  return (socket) => {
    socket.on('error', () => {});
    socket.write(before);
    socket.on('data', (bytes: Buffer) => {
      const sync = bytes.indexOf('lodge-sync-v1');
      if (sync >= 0) {
        const hello = Buffer.concat([
          bytes.subarray(sync + 16, sync + 24),
          Buffer.from([protocolVersion, 0, 0, 0]),
          Buffer.from('6.1\0'),
        ]);
        socket.write(encodeFrame(frameTypes.HELLO, 0, hello));
      } else if (bytes[0] === 0x4c && bytes[1] === frameTypes.EXEC) after(socket, bytes.readUInt32LE(4));
    });
  };
}

const started = (session: number): Buffer =>
  encodeFrame(frameTypes.STARTED, session, Buffer.from([1, 0, 0, 0]));

describe('a hostile guest', () => {
  it.each<[string, (session: number) => Buffer[]]>([
    ['sends what is no frame', () => [Buffer.from('garbage')]],
    [
      'sends output without credit',
      (s) => Array.from({ length: 40 }, () => encodeFrame(frameTypes.DATA, s, Buffer.alloc(65_536), 1)),
    ],
    ['speaks of a session that is not there', () => [encodeFrame(frameTypes.EXIT, 77, Buffer.alloc(8))]],
    ['ends a command that has not started', (s) => [encodeFrame(frameTypes.EXIT, s, Buffer.alloc(8))]],
    ['sends a frame of an unknown type', (s) => [encodeFrame(200, s)]],
    ['sends an EXIT that is too short', (s) => [started(s), encodeFrame(frameTypes.EXIT, s)]],
    [
      'sends data of a stream that is none',
      (s) => [started(s), encodeFrame(frameTypes.DATA, s, Buffer.from('x'), 9)],
    ],
  ])('that %s breaks its channel and nothing else', async (_, answer) => {
    guestSide = hostileGuest((socket, session) =>
      answer(session).forEach((bytes) => void socket.write(bytes)),
    );
    const channel = await connect();
    const session = channel.exec(request('true'));
    await expect(session.end).rejects.toMatchObject({ code: 'channel-broken' });
    expect(await channel.ended).toBeInstanceOf(LodgeError);
  });

  it.each([
    [true, 0],
    [false, headerBytes + maxPayloadBytes],
  ])('fresh or not (%s) is greeted with as many zeros as may be needed', async (isFresh, zeros) => {
    const greeting = new Promise<Buffer>((resolve) => {
      const pieces: Buffer[] = [];
      guestSide = (socket) => {
        socket.on('error', () => {});
        socket.on('data', (piece: Buffer) => {
          pieces.push(piece);
          const all = Buffer.concat(pieces);
          if (all.includes('lodge-sync-v1')) resolve(all);
        });
      };
    });
    const connecting = Channel.connect({ socketPath: join(dir, 'channel.sock') }, 500, { isFresh });
    const all = await greeting;
    expect(all.findIndex((byte) => byte !== 0)).toBe(zeros);
    await expect(connecting).rejects.toMatchObject({ code: 'boot-timeout' });
  });

  it.each<[string, (sent: bigint, taken: bigint) => [bigint, bigint]]>([
    ['says to have sent more than has room', (sent, taken) => [sent + BigInt(ringBytes) + 1n, taken]],
    ['takes back what it has sent', (sent, taken) => [sent - 1n, taken]],
    ['says to have taken what was never sent', (sent, taken) => [sent, taken + 1n]],
  ])('that %s on its rings breaks its channel and nothing else', async (_, lie) => {
    isOnRings = true;
    agent!.kill('SIGKILL');
    const file = openSync(ringPath(), 'r+');
    const readCount = (at: number): bigint => {
      const count = Buffer.alloc(8);
      readSync(file, count, 0, 8, at);
      return count.readBigUInt64LE();
    };
    const tell = (socket: Socket, sent: bigint, taken: bigint): void => {
      const counts = Buffer.alloc(16);
      counts.writeBigUInt64LE(sent, 0);
      counts.writeBigUInt64LE(taken, 8);
      writeSync(file, counts, 0, 16, ringOffsets.guestCounts);
      socket.write('!');
    };
    let sent = 0n;
    guestSide = (socket) => {
      socket.on('error', () => {});
      socket.on('data', () => {
        const taken = readCount(ringOffsets.hostCounts);
        if (sent > 0n) return tell(socket, ...lie(sent, taken));
        const greeting = Buffer.alloc(ringBytes);
        readSync(file, greeting, 0, ringBytes, ringOffsets.toGuest);
        const sync = greeting.indexOf('lodge-sync-v1');
        const version = Buffer.from([protocolVersion, 0, 0, 0]);
        const hello = Buffer.concat([greeting.subarray(sync + 16, sync + 24), version, Buffer.from('6.1\0')]);
        const frame = encodeFrame(frameTypes.HELLO, 0, hello);
        writeSync(file, frame, 0, frame.length, ringOffsets.toHost);
        sent = BigInt(frame.length);
        tell(socket, sent, taken);
      });
    };
    try {
      const channel = await connect();
      const session = channel.exec(request('true'));
      await expect(session.end).rejects.toMatchObject({
        code: 'channel-broken',
        message: expect.stringContaining('counts of its rings'),
      });
      expect(await channel.ended).toBeInstanceOf(LodgeError);
    } finally {
      isOnRings = false;
      closeSync(file);
    }
  });

  it('is spoken with also when its line says something before it does', async () => {
    // As a serial line gives back what comes before it is made raw.
    guestSide = hostileGuest(() => {}, '^A^A');
    expect((await connect()).kernelRelease).toBe('6.1');
  });

  it('that never answers is given up in time', async () => {
    guestSide = (socket) => void socket.on('error', () => {}).resume();
    await expect(Channel.connect({ socketPath: join(dir, 'channel.sock') }, 300)).rejects.toMatchObject({
      code: 'boot-timeout',
    });
  });
});

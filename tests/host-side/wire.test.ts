/** The keeper's wires, with a program in the place of a guest that sends back every frame it gets; and its signals. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

const sources = fileURLToPath(new URL('../../host-side/', import.meta.url));
const mostBytes = 65_535 + 18;

/** Sends back what comes on descriptor 4 frame by frame; ends when what comes is no frames. */
const echo = `
const line = new (require('node:net').Socket)({ fd: 4, readable: true, writable: true });
let unread = Buffer.alloc(0);
line.on('data', (bytes) => {
  unread = Buffer.concat([unread, bytes]);
  while (unread.length >= 4) {
    const length = unread.readUInt32BE(0);
    if (length < 14 || length > ${mostBytes}) process.exit(7);
    if (unread.length < 4 + length) break;
    line.write(unread.subarray(0, 4 + length));
    unread = unread.subarray(4 + length);
  }
});
console.log('ready');`;

let built: string;
let directory: string;
let keeper: ChildProcess;
let hasEnded = false;

beforeAll(() => {
  built = mkdtempSync(join(tmpdir(), 'lodge-keeper-'));
  const files = readdirSync(sources).filter(
    (name) => name.endsWith('.c') && !/^(confine|holder)\.c$/.test(name),
  );
  const flags = ['-O1', '-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'];
  for (const [compiler, ...more] of [
    ['gcc', ...flags],
    ['musl-gcc', '-static', '-Os'],
    ['gcc', '-Os'],
  ]) {
    const paths = files.map((name) => join(sources, name));
    if (spawnSync(compiler!, [...more, '-o', join(built, 'keeper'), ...paths]).status === 0) break;
  }
  return () => rmSync(built, { recursive: true });
}, 120_000);

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'lk-'));
  hasEnded = false;
  const argv = ['--lifeline', '--stream-wire', '02:4c:00:00:00:01', '--dir', directory, '--'];
  keeper = spawn(join(built, 'keeper'), [...argv, process.execPath, '-e', echo], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  keeper.once('exit', () => {
    hasEnded = true;
  });
  const [line] = (await once(keeper.stdout!, 'data')) as [Buffer];
  expect(line.toString()).toContain('"pid"');
});

afterEach(async () => {
  expect(hasEnded).toBe(false);
  keeper.stdin!.end();
  await once(keeper, 'exit');
  rmSync(directory, { recursive: true, force: true });
});

async function joined(): Promise<Socket> {
  const socket = connect(join(directory, 'net0.sock'));
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

function framed(payload: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(payload.length);
  return Buffer.concat([head, payload]);
}

/** Bytes that come in, until there are so many. */
function received(socket: Socket, bytes: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let sum = 0;
  return new Promise((resolve, reject) => {
    const take = (piece: Buffer): void => {
      pieces.push(piece);
      sum += piece.length;
      if (sum < bytes) return;
      socket.removeListener('data', take);
      socket.removeListener('close', fail);
      resolve(Buffer.concat(pieces));
    };
    const fail = (): void => reject(new Error(`closed after ${sum} of ${bytes} bytes`));
    socket.on('data', take);
    socket.once('close', fail);
  });
}

const frames = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: 14, max: 1518 }) },
    { weight: 1, arbitrary: fc.integer({ min: 14, max: mostBytes }) },
  ),
  { minLength: 1, maxLength: 40 },
);

describe('a wire', () => {
  it('carries frames of any size, cut anywhere, in their order', async () => {
    const socket = await joined();
    await fc.assert(
      fc.asyncProperty(frames, fc.integer({ min: 1, max: 100_000 }), async (sizes, pieceBytes) => {
        const sent = Buffer.concat(sizes.map((size) => framed(randomBytes(size))));
        const back = received(socket, sent.length);
        for (let at = 0; at < sent.length; at += pieceBytes) {
          socket.write(sent.subarray(at, at + pieceBytes));
          if (at / pieceBytes < 20) await new Promise(setImmediate);
        }
        expect((await back).equals(sent)).toBe(true);
      }),
      { numRuns: 40 },
    );
    socket.destroy();
  });

  it('lets frames go that are too short to be any, and takes none that have no length', async () => {
    const socket = await joined();
    const good = framed(randomBytes(60));
    const back = received(socket, good.length);
    socket.write(Buffer.concat([framed(randomBytes(1)), framed(randomBytes(13)), good]));
    expect((await back).equals(good)).toBe(true);
    for (const length of [0, mostBytes + 1, 0xffffffff]) {
      const next = await joined();
      const head = Buffer.alloc(4);
      head.writeUInt32BE(length);
      next.write(head);
      await once(next, 'close');
    }
  });

  it('never cuts a frame for the program, wherever its client goes away', async () => {
    const flood = Buffer.concat(Array.from({ length: 30 }, () => framed(randomBytes(60_000))));
    for (let i = 0; i < 30; i++) {
      const socket = await joined();
      // It reads nothing, so that all fills up, down to the program.
      socket.pause();
      socket.write(flood.subarray(0, 50_000 * (i + 1) + i));
      await new Promise((resolve) => setTimeout(resolve, 5));
      socket.destroy();
    }
    // What the program had for those who are gone is lost, but for what it had not sent yet.
    const socket = await joined();
    const mark = framed(Buffer.concat([Buffer.from('the last of all'), randomBytes(50)]));
    let seen = Buffer.alloc(0);
    const found = new Promise<void>((resolve) => {
      socket.on('data', (piece: Buffer) => {
        seen = Buffer.concat([seen, piece]);
        if (seen.includes(mark)) resolve();
      });
    });
    socket.write(mark);
    await found;
    // All that came is whole frames from the first byte on.
    let at = 0;
    while (at < seen.length) at += 4 + seen.readUInt32BE(at);
    expect(at).toBe(seen.length);
    socket.destroy();
  });

  it('belongs to the newest client', async () => {
    const old = await joined();
    const closed = once(old, 'close');
    old.resume();
    const socket = await joined();
    await closed;
    const good = framed(randomBytes(100));
    const back = received(socket, good.length);
    socket.write(good);
    expect((await back).equals(good)).toBe(true);
    socket.destroy();
  });

  it('of a client that does not read holds up nothing but itself', async () => {
    const deaf = await joined();
    deaf.pause();
    const flood = Buffer.concat(Array.from({ length: 100 }, () => framed(randomBytes(60_000))));
    deaf.write(flood);
    const console = connect(join(directory, 'console.sock'));
    await once(console, 'connect');
    await new Promise((resolve) => setTimeout(resolve, 300));
    // The keeper still serves: it takes another client, and its word.
    const socket = await joined();
    socket.destroy();
    console.destroy();
    deaf.destroy();
  });
});

it('a keeper with an owner leaves SIGTERM to that one, as its program does, and ends by SIGINT', async () => {
  const place = mkdtempSync(join(tmpdir(), 'lk-'));
  const argv = ['--lifeline', '--dir', place, '--', 'sleep', '600'];
  const deaf = spawn(join(built, 'keeper'), argv, { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    const [line] = (await once(deaf.stdout!, 'data')) as [Buffer];
    const program = (JSON.parse(line.toString()) as { pid: number }).pid;
    const isPending = (pid: number): boolean => {
      const [, set = '0'] =
        /^ShdPnd:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
      return (BigInt(`0x${set}`) & (1n << 14n)) !== 0n;
    };
    for (const pid of [program, deaf.pid!]) process.kill(pid, 'SIGTERM');
    while (isPending(deaf.pid!)) await new Promise((resolve) => setTimeout(resolve, 5));
    // It waits there for as long as the program runs.
    expect(isPending(program)).toBe(true);
    const end = once(deaf, 'exit');
    deaf.kill('SIGINT');
    await end;
    expect(readFileSync(join(place, 'exit'), 'utf8')).toBe('signal 9\n');
  } finally {
    deaf.kill('SIGKILL');
    rmSync(place, { recursive: true, force: true });
  }
});

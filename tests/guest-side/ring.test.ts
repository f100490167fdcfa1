import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import {
  encodeFrame,
  encodeSync,
  frameTypes,
  headerBytes,
  maxPayloadBytes,
} from '../../src/guest/channel/frames.ts';
import { AgentClient, request } from './agent-client.ts';
import { buildAgent } from './build-agent.ts';
import { RingFile, ringBytes } from './ring-file.ts';

const maxFrameBytes = headerBytes + maxPayloadBytes;

let binary: string;
let directory: string;
let ring: RingFile;
let agent: AgentClient;

beforeAll(() => {
  binary = buildAgent();
}, 120_000);

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'lodge-agent-'));
  ring = new RingFile(join(directory, 'ring'));
  agent = new AgentClient(binary, { ring });
  await agent.sync();
});

afterEach(async () => {
  await agent.stop();
  rmSync(directory, { recursive: true });
});

async function echo(text: string): Promise<void> {
  const session = agent.exec(request(['echo', text]));
  await session.exit();
  expect(session.text(1)).toBe(`${text}\n`);
}

it('carries 64 MB through the rings and back bit by bit', async () => {
  const block = randomBytes(1 << 20);
  const [sent, got] = [createHash('sha256'), createHash('sha256')];
  const session = agent.exec(request(['cat']), { onOutput: (_stream, bytes) => got.update(bytes) });
  await session.until(() => session.pid !== undefined);
  for (let i = 0; i < 64; i++) {
    block.writeUInt32LE(i, 0);
    sent.update(block);
    await session.write(block);
  }
  await session.eof();
  expect((await session.exit()).code).toBe(0);
  expect(got.digest('hex')).toBe(sent.digest('hex'));
  expect(ring.sent).toBeGreaterThan(64 << 20);
}, 60_000);

it('is told how far the agent has come before it is full', async () => {
  for (let i = 0; i < 200; i++) await agent.send(Buffer.alloc(64 << 10));
  await agent.ping();
  expect(ring.queued).toBe(0);
  expect(ring.sent).toBeGreaterThan(12 << 20);
});

it('waits for room with what it has to say, and loses nothing', async () => {
  const session = agent.exec(request(['head', '-c', String(4 * ringBytes), '/dev/zero']), {
    creditBytes: 8 * ringBytes,
  });
  await session.until(() => session.pid !== undefined);
  agent.pause();
  // Input goes on meanwhile, up to where its answers would find no room.
  for (let i = 0; i < 20; i++)
    await agent.send(encodeFrame(frameTypes.PING, 0, Buffer.from('while it waits')));
  await new Promise((resolve) => setTimeout(resolve, 100));
  agent.resume();
  expect((await session.exit()).code).toBe(0);
  expect(session.text(1).length).toBe(4 * ringBytes);
  for (let i = 0; i < 20; i++) await agent.next(frameTypes.PONG);
});

it('takes frames that go round the end of the ring, wherever they are cut', async () => {
  for (let i = 0; i < 40; i++) {
    await agent.send(Buffer.alloc(2 * ringBytes - (ring.sent % ringBytes) - i));
    expect(await agent.ping('0123456789abcdef')).toBe('0123456789abcdef');
  }
});

it('takes a count that makes no sense for garbage, and reads nothing twice', async () => {
  const marker = join(directory, 'marker');
  const append = agent.exec(request(['sh', '-c', `echo x >> ${marker}`]));
  await append.exit();
  for (const sent of [ring.sent + ringBytes + 1, 2 ** 52, ringBytes + 5]) {
    ring.jump(sent);
    await agent.send(Buffer.alloc(0));
    // What is written before the agent has seen that number is lost with it, so a host says SYNC until it is heard.
    const again = setInterval(() => void agent.send(encodeSync(agent.nonce)), 200);
    await agent.sync(Buffer.alloc(maxFrameBytes));
    clearInterval(again);
    await agent.sync();
    await echo('still here');
  }
  const count = agent.exec(request(['cat', marker]));
  await count.exit();
  expect(count.text(1)).toBe('x\n');
});

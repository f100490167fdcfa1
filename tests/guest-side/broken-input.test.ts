import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import {
  encodeExec,
  encodeFrame,
  encodeHeader,
  encodeSync,
  encodeTexts,
  encodeU32,
  frameTypes,
  headerBytes,
  maxPayloadBytes,
} from '../../src/guest/channel/frames.ts';
import { AgentClient, request } from './agent-client.ts';
import { buildAgent } from './build-agent.ts';

const zeros = Buffer.alloc(headerBytes + maxPayloadBytes);
/** Mutated requests may ask for anything: they come to an agent that may do little. */
const nobody = process.getuid!() === 0 ? 65_534 : undefined;

let binary: string;
let directory: string;
let agent: AgentClient;

const startAgent = (): AgentClient =>
  new AgentClient(binary, {
    cwd: directory,
    env: { ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1', UBSAN_OPTIONS: 'print_stacktrace=1' },
    ...(nobody !== undefined && { uid: nobody }),
  });

const ours = (argv: string[], more = {}) =>
  request(argv, {
    cwd: directory,
    ...(nobody !== undefined && { uid: nobody, gid: nobody, groups: [] }),
    ...more,
  });

beforeAll(() => {
  binary = buildAgent('checked');
}, 120_000);

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'lodge-agent-'));
  chmodSync(directory, 0o777);
  agent = startAgent();
  await agent.sync();
});

afterEach(async () => {
  await agent.stop();
  rmSync(directory, { recursive: true });
});

/** The same numbers for the same seed. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

async function works(): Promise<void> {
  const session = agent.exec(ours(['echo', 'alive']));
  await session.exit();
  expect(session.text(1)).toBe('alive\n');
}

it.each([
  ['bytes that are no frame', Buffer.alloc(1000, 0xff)],
  ['text', Buffer.from('login: \r\nLLLLLLL'.repeat(5000))],
  ['an unknown type', encodeFrame(99, 1)],
  ['a type that only guests send', encodeFrame(frameTypes.HELLO, 0, Buffer.alloc(12))],
  ['a length beyond the limit', encodeHeader(frameTypes.DATA, 0, 1, maxPayloadBytes + 1)],
  ['the start of a frame', encodeHeader(frameTypes.DATA, 0, 1, maxPayloadBytes)],
  ['CREDIT of a strange length', encodeFrame(frameTypes.CREDIT, 1, Buffer.alloc(3), 1)],
  ['CREDIT of no stream', encodeFrame(frameTypes.CREDIT, 1, Buffer.alloc(4), 3)],
  ['EXEC without a session', encodeFrame(frameTypes.EXEC, 0, Buffer.alloc(40))],
  ['a long PING', encodeFrame(frameTypes.PING, 0, Buffer.alloc(65))],
  ['HALT of no mode', encodeFrame(frameTypes.HALT, 0, encodeU32(3, 0))],
  ['SYNC with another magic', encodeFrame(frameTypes.SYNC, 0, Buffer.alloc(24, 'x'))],
  ['SYNC cut off', encodeSync(Buffer.alloc(8)).subarray(0, 35)],
])('%s is overcome by a SYNC', async (_name, bytes) => {
  await agent.send(bytes);
  await agent.sync(zeros);
  await works();
});

it('finds a SYNC straight after garbage, however both are cut', async () => {
  for (const garbage of [
    Buffer.from([1]),
    Buffer.from('lodge-sync-v1'),
    Buffer.from('\x4c\x63'),
    Buffer.alloc(70_000, 'L\x01\0\0\0'),
  ]) {
    await agent.sync(Buffer.concat([Buffer.from([0xff]), garbage]));
    expect(await agent.ping()).toBe('ping');
  }
  const bytes = Buffer.concat([
    Buffer.from('\xff\x4c\x01\0\0', 'latin1'),
    encodeSync(Buffer.from('abcdefgh')),
  ]);
  for (let cut = 1; cut < bytes.length; cut += 3) {
    await agent.send(bytes.subarray(0, cut));
    await new Promise((resolve) => setTimeout(resolve, 2));
    await agent.sync(bytes.subarray(cut));
    expect(await agent.ping()).toBe('ping');
  }
});

it('does nothing but look for a SYNC once a rule was broken', async () => {
  await agent.send(Buffer.from([0xff]), encodeFrame(frameTypes.PING, 0, Buffer.from('unheard')));
  await agent.sync();
  expect(await agent.ping('heard')).toBe('heard');
});

it('ends all sessions by a SYNC, and their numbers are free', async () => {
  const old = agent.exec(ours(['sh', '-c', 'trap "" HUP; while :; do echo noise; done']), {
    holdsCredit: true,
  });
  await old.until(() => old.text(1).length > 1000);
  await agent.sync(zeros);
  await agent.send(encodeFrame(frameTypes.EXEC, old.id, encodeExec(ours(['no-such-program']), 0)));
  await agent.waiters.until(() => agent.fault !== undefined);
  // The client knows the number no more: the answer is for the new session.
  expect(agent.fault?.message).toBe('frame 7 of no session');
  agent.fault = undefined;
  while (true) {
    try {
      process.kill(old.pid!, 0);
      await new Promise((resolve) => setTimeout(resolve, 20));
    } catch {
      break;
    }
  }
});

it('says nothing before a SYNC', async () => {
  const fresh = startAgent();
  await fresh.send(encodeFrame(frameTypes.PING, 0, Buffer.from('x')));
  await fresh.sync();
  expect(fresh.frames).toEqual([]);
  await fresh.stop();
});

it.each(process.env.LODGE_TEST_FULL === '1' ? [1, 2, 3, 4] : [1, 2])(
  'survives thousands of mutated frames (seed %d)',
  async (seed) => {
    const below = random(seed);
    const pick = <T>(from: readonly T[]): T => from[below(from.length)]!;
    const bytes = (most: number): Buffer =>
      Buffer.from(Array.from({ length: below(most) }, () => below(256)));
    const session = (): number => 1 + below(6);
    const frames: (() => Buffer)[] = [
      () => encodeFrame(frameTypes.DATA, session(), bytes(3000)),
      () => encodeFrame(frameTypes.DATA, session(), Buffer.alloc(below(maxPayloadBytes), 'x')),
      () => encodeFrame(frameTypes.EOF, session()),
      () => encodeFrame(frameTypes.CREDIT, session(), encodeU32(below(2 ** 32)), 1 + below(2)),
      () => encodeFrame(frameTypes.SIGNAL, session(), encodeU32(below(70))),
      () => encodeFrame(frameTypes.RESIZE, session(), encodeU32(below(2 ** 32))),
      () => encodeFrame(frameTypes.CLOSE, session()),
      () =>
        encodeFrame(
          frameTypes.READ,
          below(3),
          encodeTexts([pick(['/proc/version', '.', '', 'x', '/dev/zero'])]),
        ),
      () => encodeFrame(frameTypes.PING, 0, bytes(64)),
      () =>
        encodeFrame(
          frameTypes.EXEC,
          session(),
          encodeExec(
            ours(
              pick([['cat'], ['true'], ['echo', 'x'], ['no-such'], ['yes'], ['sh', '-c', 'exit 3'], ['tty']]),
              {
                ...(below(3) === 0 && { terminal: { rows: below(65_536), columns: below(65_536) } }),
                ...(below(4) === 0 && { groups: [1, 2, 3] }),
              },
            ),
            below(100_000),
          ),
        ),
      () =>
        encodeFrame(
          frameTypes.CONFIGURE,
          0,
          encodeTexts(
            Array.from({ length: below(4) }, () =>
              pick([
                ['mkdir', 'a/b', '755'],
                ['write', 'file', '600', 'text'],
                ['symlink', 'x', 'link'],
                ['wait', 'never', '20'],
                ['mount', 'a', 'b', 'tmpfs', 'ro,nosuid', ''],
                ['root', '/'],
                ['up'],
              ]),
            ).flat(),
          ),
        ),
    ];
    const mutations: ((frame: Buffer) => Buffer)[] = [
      (frame) => frame,
      (frame) => {
        frame[below(frame.length)] = below(256);
        return frame;
      },
      (frame) => {
        const at = below(Math.min(frame.length, 40));
        frame[at] = pick([0, 1, 0x7f, 0x80, 0xff]);
        return frame;
      },
      (frame) => frame.subarray(0, below(frame.length)),
      (frame) => Buffer.concat([frame, bytes(50)]),
      (frame) => {
        // A payload of another length, told rightly.
        const payload = Buffer.concat([frame.subarray(12, 12 + below(frame.length)), bytes(20)]).subarray(
          0,
          maxPayloadBytes,
        );
        return Buffer.concat([
          encodeHeader(frame[1]!, frame.readUInt16LE(2), frame.readUInt32LE(4), payload.length),
          payload,
        ]);
      },
    ];
    for (let round = 0; round < 60; round++) {
      for (let i = 0; i < 40; i++) {
        const mutate = below(3) === 0 ? pick(mutations) : mutations[0]!;
        await agent.send(mutate(pick(frames)()));
      }
      // A mutation can be a HALT; the agent then goes in good order.
      agent.fault = undefined; // the client knows nothing of these sessions
      const hello = agent.sync(zeros).catch(() => undefined);
      if ((await hello) === undefined) {
        expect([await agent.exited(), agent.messages]).toEqual([0, '']);
        agent = startAgent();
        await agent.sync();
      }
      agent.fault = undefined;
      if (round % 10 === 9) await works();
    }
    expect(agent.messages).toBe('');
    agent.fault = undefined;
  },
  60_000,
);

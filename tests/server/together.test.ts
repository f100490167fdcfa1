/** Several agents that do something as one: here each is an API in this process, behind a door of its own. */

import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Server } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocketServer } from 'ws';
import { LodgeError } from '../../src/errors.ts';
import { openDoor } from '../../src/server/door.ts';
import { createApi } from '../../src/server/http.ts';
import type { PartRequest } from '../../src/server/job-checkpoints.ts';
import { doTogether, type PartSession, type TogetherOptions } from '../../src/server/together.ts';

const key = randomBytes(32);
const open: Server[] = [];
afterEach(() => {
  for (const server of open.splice(0)) server.close();
});

type Act = (request: PartRequest, session: PartSession) => Promise<unknown>;

async function host(name: string, act: Act) {
  const clusters = {
    doPart: (_: string, request: PartRequest, session: PartSession) => act(request, session),
  };
  const api = createApi({ version: '1', clusters } as never);
  const { port, server } = await openDoor(api, key, '127.0.0.1');
  open.push(server);
  const sockets: Duplex[] = [];
  api.on('connection', (socket) => sockets.push(socket));
  return {
    cut: () => {
      for (const socket of sockets) socket.destroy();
    },
    door: { host: name, address: '127.0.0.1', port, key },
    request: { op: 'save', part: '/saved', host: name, mark: '0123456789abcdef' } satisfies PartRequest,
  };
}

/** What happened, in its order. */
let told: string[];

const options = (more: Partial<TogetherOptions> = {}): TogetherOptions => ({
  cluster: 'lab',
  meetings: ['first', 'second'],
  onProgress: (text) => told.push(text),
  ...more,
});

/** Comes to both meetings, and tells when it goes on, or that it gave up. */
const good =
  (name: string): Act =>
  async (request, { meet, onProgress }) => {
    try {
      onProgress('begins');
      await meet('first', name);
      told.push(`${name} first`);
      await meet('second', name);
      told.push(`${name} second`);
      return request.op;
    } catch (error) {
      told.push(`${name} gives up: ${(error as Error).message}`);
      throw error;
    }
  };

describe('hosts that do something together', () => {
  it('wait for one another at each meeting', async () => {
    told = [];
    const slow: Act = async (request, session) => {
      await new Promise((resolve) => setTimeout(resolve, 100));
      return good('n2')(request, session);
    };
    const onMeeting = async (meeting: string, what: readonly unknown[]) => {
      told.push(`all at ${meeting}: ${what.join(' ')}`);
    };
    const calls = [await host('n1', good('n1')), await host('n2', slow)];
    expect(await doTogether(calls, options({ onMeeting }))).toEqual(['save', 'save']);
    const order = told.filter((line) => !line.includes('begins'));
    expect(order[0]).toBe('all at first: n1 n2');
    expect(order.slice(1, 3).sort()).toEqual(['n1 first', 'n2 first']);
    expect(order[3]).toBe('all at second: n1 n2');
    expect(order.slice(4).sort()).toEqual(['n1 second', 'n2 second']);
    expect(told).toContain('n2: begins');
  });

  it('all give up when one fails, and have done so when that is told', async () => {
    told = [];
    const bad: Act = async (_, { meet }) => {
      await meet('first');
      throw new LodgeError('disk-full', 'no room', { where: '/saved' });
    };
    const failure = doTogether([await host('n1', good('n1')), await host('n2', bad)], options());
    await expect(failure).rejects.toMatchObject({ code: 'disk-full', where: 'n2: /saved' });
    expect(told.at(-1)).toBe('n1 gives up: another host did not do its part: no room');
  });

  it('all give up when one goes away', async () => {
    told = [];
    const [n1, n2] = [await host('n1', good('n1')), await host('n2', good('n2'))];
    const onMeeting = async (meeting: string) => {
      if (meeting === 'second') n2.cut();
    };
    await expect(doTogether([n1, n2], options({ onMeeting }))).rejects.toMatchObject({ code: 'host-agent' });
    expect(told).toContainEqual(expect.stringMatching(/^n2 gives up/));
    n1.door.port = 1;
    await expect(doTogether([n1], options())).rejects.toMatchObject({ code: 'host-agent' });
  });

  it('all give up when they are told to, also one that is at no meeting', async () => {
    told = [];
    const stop = new AbortController();
    const busy: Act = async (_, { signal }) => {
      stop.abort(new LodgeError('checkpoint', 'no time is left'));
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      told.push('n2 stopped');
      throw signal.reason;
    };
    const calls = [await host('n1', good('n1')), await host('n2', busy)];
    await expect(doTogether(calls, options({ signal: stop.signal }))).rejects.toThrow('no time is left');
    expect(told.filter((line) => !line.includes('begins')).sort()).toEqual([
      'n1 gives up: another host did not do its part: no time is left',
      'n2 stopped',
    ]);
  });

  it('are asked for nothing that is no part', async () => {
    const call = await host('n1', async () => 'done');
    const wrong = { ...call, request: { ...call.request, part: 'saved' } };
    await expect(doTogether([wrong], options({ meetings: [] }))).rejects.toMatchObject({
      code: 'spec-value',
    });
    expect(await doTogether([call], options({ meetings: [] }))).toEqual(['done']);
  });

  it('fail when one says what nobody understands, and nothing is thrown where it is heard', async () => {
    told = [];
    const api = createServer();
    new WebSocketServer({ server: api }).on('connection', (client) => {
      client.send('{"type":');
      client.on('message', () => client.close());
    });
    const { port, server } = await openDoor(api, key, '127.0.0.1');
    open.push(server);
    const mad = { ...(await host('n2', good('n2'))), door: { host: 'n2', address: '127.0.0.1', port, key } };
    await expect(doTogether([await host('n1', good('n1')), mad], options())).rejects.toMatchObject({
      message: 'the message is not JSON',
      where: 'n2',
    });
  });
});

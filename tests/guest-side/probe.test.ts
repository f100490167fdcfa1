/** The agent's steps that look what can be reached, against sockets of this host. */

import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { constants } from 'node:os';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { AgentClient } from './agent-client.ts';
import { buildAgent } from './build-agent.ts';

const { errno } = constants;
let binary: string;
let agent: AgentClient;

beforeAll(() => {
  binary = buildAgent();
}, 120_000);

beforeEach(async () => {
  agent = new AgentClient(binary);
  await agent.sync();
});

afterEach(() => agent.stop());

it('tells a port that answers from one that does not', async () => {
  const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const port = String((server.address() as AddressInfo).port);
  const accepted = once(server, 'connection');
  expect(await agent.configure(['connect', '127.0.0.1', port, '5000'])).toMatchObject({ error: 0 });
  await accepted;
  server.close();
  await once(server, 'close');
  expect(await agent.configure(['connect', '127.0.0.1', port, '5000'])).toEqual({
    error: errno.ECONNREFUSED,
    index: 0,
    text: 'connect 127.0.0.1',
  });
});

it('gives up after the time it is given', async () => {
  // A server that stands still, with a full queue, neither takes a connection nor refuses one.
  const script = `require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, function () {
    console.log(this.address().port);
  })`;
  const still = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const port = String((await once(still.stdout, 'data'))[0]).trim();
  still.kill('SIGSTOP');
  const queued = Array.from({ length: 4 }, () => connect(Number(port), '127.0.0.1').on('error', () => {}));
  await once(queued[0]!, 'connect');
  await once(queued[1]!, 'connect');
  expect(await agent.configure(['connect', '127.0.0.1', port, '100'])).toMatchObject({
    error: errno.ETIMEDOUT,
  });
  still.kill('SIGKILL');
  for (const socket of queued) socket.destroy();
});

it('sends a datagram', async () => {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const came = once(socket, 'message');
  const port = String(socket.address().port);
  expect(await agent.configure(['datagram', '127.0.0.1', port, 'token'])).toMatchObject({ error: 0 });
  expect(String((await came)[0])).toBe('token');
  socket.close();
});

it.each([
  ['connect', '127.0.0.256', '1', '1'],
  ['connect', '127.0.0.1', '65536', '1'],
  ['connect', '127.0.0.1', '1', '-1'],
  ['datagram', 'localhost', '1', 'x'],
])('refuses %s %s %s %s', async (...step) => {
  expect(await agent.configure(step)).toMatchObject({ error: errno.EINVAL });
});

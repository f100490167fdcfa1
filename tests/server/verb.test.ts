/** The end of verbs that an agent runs for others of its job. */

import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { Verbs } from '../../src/server/verb.ts';

let dir: string;
const [, lodge] = process.argv;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'lodge-verb-'));
  // In the place of lodge: heeds no signal that it can ignore.
  process.argv[1] = join(dir, 'verb.cjs');
  writeFileSync(
    process.argv[1],
    "process.on('SIGTERM', () => {}); setInterval(() => {}, 1000); console.log(process.pid);",
  );
});

afterEach(() => {
  process.argv[1] = lodge!;
  rmSync(dir, { recursive: true });
});

it('comes before the agent lets go of the host, and no other begins then', async () => {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  const verbs = new Verbs();
  server.on('connection', (client) => verbs.serve(client));
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const request = { argv: ['ps'], env: {}, cwd: dir, uid: 0, gid: 0, groups: [], umask: 0o22 };
  const begin = (): WebSocket => {
    const client = new WebSocket(`ws://127.0.0.1:${port}`);
    client.once('open', () => client.send(JSON.stringify({ type: 'exec', request })));
    return client;
  };
  const told = (client: WebSocket, type: string): Promise<unknown> =>
    new Promise((resolve) => {
      client.on('message', (data: Buffer, isBinary) => {
        const message = isBinary
          ? { type: 'output', text: data.subarray(1).toString() }
          : JSON.parse(String(data));
        if (message.type === type) resolve(message);
      });
    });
  const client = begin();
  const ended = told(client, 'exit');
  const { text } = (await told(client, 'output')) as { text: string };
  const pid = Number(text);
  expect(() => process.kill(pid, 0)).not.toThrow();
  await verbs.end();
  expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  expect(await ended).toMatchObject({ signal: 9 });
  const late = begin();
  expect(await told(late, 'error')).toMatchObject({ error: { code: 'host-agent' } });
  client.close();
  late.close();
  server.close();
});

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { RemoteSession } from '../../src/server/remote-session.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'lodge-remote-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

const begin = (): RemoteSession =>
  new RemoteSession(new WebSocket(`ws+unix://${join(dir, 'owner.sock')}:/v1/guests/v01/exec`), {
    ...{ argv: ['true'], env: {}, cwd: '/', uid: 0, gid: 0, groups: [], umask: 0o22 },
  });

it('tells whom nobody lets in that commands are not taken', async () => {
  await expect(begin().end).rejects.toMatchObject({
    code: 'channel-broken',
    message: 'the process that owns the guest takes no commands for it',
  });
});

it('tells whom the owner has left that it is gone', async () => {
  const server = createServer();
  const sockets = new WebSocketServer({ server });
  sockets.on('connection', (client) => client.once('message', () => client.terminate()));
  server.listen(join(dir, 'owner.sock'));
  await once(server, 'listening');
  await expect(begin().end).rejects.toMatchObject({
    code: 'channel-broken',
    message: 'the process that owns the guest went away',
  });
  server.close();
});

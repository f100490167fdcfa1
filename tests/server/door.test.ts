import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server as HttpServer } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Server } from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocketServer } from 'ws';
import { call } from '../../src/server/client.ts';
import { openDoor, ownAddress, webSocketThrough } from '../../src/server/door.ts';

const key = randomBytes(32);
let api: HttpServer;
let door: { port: number; server: Server };
let asked: string[];

beforeEach(async () => {
  asked = [];
  api = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    response.end('{"pid":1}');
  });
  door = await openDoor(api, key, '127.0.0.1');
});

afterEach(() => {
  door.server.close();
});

const through = (withKey: Buffer) => ({ host: 'n01', address: '127.0.0.1', port: door.port, key: withKey });

describe('a door', () => {
  test('lets in who has the key of the job', async () => {
    expect(await call(through(key), 'GET', '/v1/health')).toBe('{"pid":1}');
    expect(asked).toEqual(['GET /v1/health']);
  });

  test('lets in nobody else', async () => {
    await expect(call(through(randomBytes(32)), 'GET', '/v1/health')).rejects.toMatchObject({
      code: 'host-agent',
    });
    expect(asked).toEqual([]);
  });

  test('is deaf to what is not encrypted', async () => {
    const socket = connect(door.port, '127.0.0.1');
    let heard = '';
    socket.on('data', (bytes: Buffer) => {
      heard += bytes.toString('latin1');
    });
    socket.on('error', () => {});
    socket.end('GET /v1/health HTTP/1.1\r\nHost: lodge\r\n\r\n');
    await new Promise((resolve) => socket.once('close', resolve));
    expect(heard).not.toContain('HTTP');
    expect(asked).toEqual([]);
  });

  test('says which host does not answer', async () => {
    door.server.close();
    await expect(call(through(key), 'GET', '/v1/health')).rejects.toMatchObject({
      code: 'host-agent',
      where: `n01 (127.0.0.1:${door.port})`,
    });
  });
});

describe('a socket on this host', () => {
  test.each([
    ['a space', 'a b'],
    ['a newline', 'a\nb'],
    ['a tab', 'a\tb'],
    ['a colon', 'a:b'],
    ['an escape', 'a\u{1b}b'],
    ['what a URL knows', 'a%20b?c#d'],
    ['letters of all kinds', 'Käse"\''],
  ])('is reached where its path has %s', async (_, name) => {
    const base = mkdtempSync(join(tmpdir(), 'd-'));
    const path = join(base, name, 'agent.sock');
    mkdirSync(join(base, name));
    const served = createServer((request, response) => response.end(request.url));
    const sockets = new WebSocketServer({ server: served });
    sockets.on('connection', (socket, request) => socket.send(request.url!));
    await new Promise<void>((resolve) => served.listen(path, resolve));
    try {
      expect(await call(path, 'GET', '/v1/health')).toBe('/v1/health');
      const socket = webSocketThrough(path, '/v1/exec?x=1');
      const heard = await new Promise((resolve, reject) => {
        socket.once('message', (data: Buffer) => resolve(data.toString()));
        socket.once('error', reject);
      });
      expect(heard).toBe('/v1/exec?x=1');
      const closed = new Promise((resolve) => socket.once('close', resolve));
      socket.close();
      await closed;
    } finally {
      await new Promise((resolve) => served.close(resolve));
      rmSync(base, { recursive: true });
    }
  });
});

test('the address of this host is never that of its loopback', async () => {
  // Some machines have no other: then that is said.
  const address = await ownAddress(['localhost']).catch((error: unknown) => error);
  if (typeof address === 'string') expect(address).not.toMatch(/^127\.|^::1$/);
  else expect(address).toMatchObject({ code: 'host-io' });
});

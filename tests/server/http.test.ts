/** The API over an owner whose guests run nothing: what it answers to requests that are not as they should be. */

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { LodgeError } from '../../src/errors.ts';
import { createApi } from '../../src/server/http.ts';

const directory = mkdtempSync(join(tmpdir(), 'lodge-api-'));
const socketPath = join(directory, 's');
let server: Server;

beforeAll(async () => {
  const none = () => Promise.reject(new LodgeError('no-such-guest', 'there is no guest'));
  server = createApi({ version: '0', channel: none, stop: none, start: none });
  server.listen(socketPath);
  await once(server, 'listening');
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(directory, { recursive: true });
});

function post(path: string, body: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, path, method: 'POST' }, (response) => {
      const pieces: Buffer[] = [];
      response.on('data', (piece: Buffer) => pieces.push(piece));
      response.on('end', () =>
        resolve({ status: response.statusCode!, body: Buffer.concat(pieces).toString() }),
      );
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

async function firstAnswer(message: string): Promise<unknown> {
  const client = new WebSocket(`ws+unix:${socketPath}:/v1/guests/v01/exec`);
  await once(client, 'open');
  client.send(message);
  const [data] = (await once(client, 'message')) as [Buffer];
  client.terminate();
  return JSON.parse(data.toString());
}

describe('the API', () => {
  it.each([
    ['/v1/guests/v01/stop', '{"graceMs": "soon"}', 'spec-value', 'graceMs'],
    ['/v1/guests/v01/stop', '{"graceMs": -1}', 'spec-value', 'graceMs'],
    ['/v1/guests/v01/stop', '[]', 'spec-value', 'the request'],
    ['/v1/guests/v01/stop', '{', 'usage', undefined],
    ['/v1/guests', '{}', 'spec-value', 'plan'],
    ['/v1/guests', '{"plan": {"name": "../x"}}', 'spec-value', 'plan.name'],
  ])('refuses POST %s %s with the key that is wrong', async (path, body, code, where) => {
    const answer = await post(path, body);
    expect(answer.status).toBe(422);
    expect(JSON.parse(answer.body)).toMatchObject(where === undefined ? { code } : { code, where });
  });

  it.each([
    ['{}', 'spec-value'],
    ['null', 'spec-value'],
    ['{', 'usage'],
    ['{"type": "exec", "request": {"argv": "ls"}}', 'spec-value'],
    ['{"type": "signal", "signal": "KILL"}', 'spec-value'],
    [
      '{"type": "exec", "request": {"argv": ["a\\u0000b"], "env": {}, "cwd": "/", "uid": 0, "gid": 0, "groups": [], "umask": 18}}',
      'spec-value',
    ],
  ])('refuses the message %s', async (message, code) => {
    expect(await firstAnswer(message)).toMatchObject({ type: 'error', error: { code } });
  });

  it('passes on what the owner says to a message that is right', async () => {
    const message = {
      type: 'exec',
      request: { argv: ['ls'], env: {}, cwd: '/', uid: 0, gid: 0, groups: [], umask: 0o22 },
    };
    expect(await firstAnswer(JSON.stringify(message))).toMatchObject({
      type: 'error',
      error: { code: 'no-such-guest' },
    });
  });
});

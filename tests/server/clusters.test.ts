/** The API about clusters, over fabrics that only note what they are asked. */

import { mkdtempSync, rmSync } from 'node:fs';
import { request as httpRequest, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LodgeError } from '../../src/errors.ts';
import type { Matrix } from '../../src/fabric/control.ts';
import type { ClusterOwner } from '../../src/server/cluster-routes.ts';
import { answerText, parseAnswer } from '../../src/server/fabric-json.ts';
import type { Fabrics } from '../../src/server/fabrics.ts';
import { createApi } from '../../src/server/http.ts';

const matrix: Matrix = {
  timeNs: 2e9,
  sinceNs: 0,
  halfLifeMs: 10_000,
  endpoints: [
    { network: 'lan', link: 'lan/v1', guest: 'lab.v1' },
    { network: 'lan', link: 'lan/v2', guest: 'lab.v2' },
  ],
  source: Uint32Array.of(0, 1),
  destination: Uint32Array.of(1, 0xffffffff),
  frames: Float64Array.of(3, 1),
  bytes: Float64Array.of(300, 60),
  bytesPerSecond: Float64Array.of(1.5, 0),
};

describe('the API of clusters', () => {
  const dir = mkdtempSync(join(tmpdir(), 'lodge-api-'));
  const socketPath = join(dir, 'agent.sock');
  const asked: unknown[] = [];
  let server: Server;

  const fabrics = {
    apply: async (name: string) => {
      asked.push(['apply', name]);
      return { added: ['lan/v1'], removed: [], changed: [] };
    },
    change: async (name: string, change: unknown) => {
      asked.push(['change', name, change]);
      if (name === 'none') throw new LodgeError('no-such-cluster', 'there is none');
    },
    ask: async (name: string) => {
      if (name === 'none') throw new LodgeError('no-such-cluster', 'there is none');
      return matrix;
    },
    joinHosts: async (name: string, hosts: unknown) => {
      asked.push(['hosts', name, hosts]);
      return { port: 40123 };
    },
    note: (name: string, event: unknown) => asked.push(['note', name, event]),
    stop: async (name: string) => {
      asked.push(['stop', name]);
    },
  } as unknown as Fabrics;

  beforeAll(async () => {
    const clusters: ClusterOwner = {
      fabrics,
      checkpoint: async (name, dir, onProgress) => {
        asked.push(['checkpoint', name, dir]);
        onProgress('saving');
        return { bytes: 7, stillMs: 3 };
      },
      restore: async (name, dir) => {
        asked.push(['restore', name, dir]);
        throw new LodgeError('checkpoint', 'it is damaged', { where: dir });
      },
      prove: async (name) => [{ verdict: 'pass', subject: `${name}.v1`, found: 'shut' }],
    };
    const owner = {
      version: '1',
      channel: () => Promise.reject(new Error()),
      stop: async () => {},
      clusters,
    };
    server = createApi(owner);
    await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  });

  afterAll(() => {
    server.close();
    rmSync(dir, { recursive: true });
  });

  const post = (path: string, body?: unknown): Promise<{ status: number; text: string }> =>
    new Promise((resolve, reject) => {
      const request = httpRequest({ socketPath, method: 'POST', path, agent: false }, (response) => {
        let text = '';
        response.on('data', (piece) => {
          text += piece;
        });
        response.on('end', () => resolve({ status: response.statusCode!, text }));
      });
      request.on('error', reject);
      request.end(body === undefined ? undefined : JSON.stringify(body));
    });

  it('applies, changes, notes and stops', async () => {
    expect(JSON.parse((await post('/v1/clusters/lab/apply')).text)).toEqual({
      added: ['lan/v1'],
      removed: [],
      changed: [],
    });
    const shape = { kind: 'shape', ask: { link: 'lan/v1', direction: 'out', shape: { delayMs: 10 } } };
    await post('/v1/clusters/lab/change', shape);
    const event = { kind: 'apply-began', subject: 'lab', text: 'x' };
    await post('/v1/clusters/lab/events', event);
    await post('/v1/clusters/lab/stop');
    expect(asked).toEqual([
      ['apply', 'lab'],
      ['change', 'lab', shape],
      ['note', 'lab', event],
      ['stop', 'lab'],
    ]);
  });

  it('joins hosts, and tells what is wrong with them', async () => {
    const hosts = {
      host: 'n01',
      listen: { address: '10.0.0.1', port: 0 },
      keyFile: '/home/u/key',
      peers: [{ host: 'n02', address: '10.0.0.2', port: 40555 }],
    };
    expect(JSON.parse((await post('/v1/clusters/lab/hosts', hosts)).text)).toEqual({ port: 40123 });
    expect(asked.at(-1)).toEqual(['hosts', 'lab', hosts]);
    for (const wrong of [
      { ...hosts, host: 'n02' },
      { ...hosts, keyFile: 'key' },
      { ...hosts, host: '../n01' },
      { ...hosts, peers: [{ ...hosts.peers[0], port: 0 }] },
      { ...hosts, key: 'secret' },
    ]) {
      expect((await post('/v1/clusters/lab/hosts', wrong)).status).toBe(422);
    }
  });

  it('answers with what the fabric says, typed arrays and all', async () => {
    const refused = await post('/v1/clusters/none/ask', { kind: 'matrix', ask: {} });
    expect([refused.status, JSON.parse(refused.text)]).toEqual([
      422,
      { code: 'no-such-cluster', message: 'there is none' },
    ]);
    const { status, text } = await post('/v1/clusters/lab/ask', { kind: 'matrix', ask: {} });
    expect(status).toBe(200);
    expect(parseAnswer('matrix', text)).toEqual(matrix);
    expect(parseAnswer('links', answerText([]))).toEqual([]);
  });

  it.each([
    ['/v1/clusters/lab/change', { kind: 'shape', ask: { link: 'lan/v1', shape: { delay: 1 } } }, 422],
    ['/v1/clusters/lab/change', { kind: 'destroy', ask: {} }, 422],
    ['/v1/clusters/lab/ask', { kind: 'save', ask: {} }, 422],
    ['/v1/clusters/lab/events', { kind: 'no-such', subject: '', text: '' }, 422],
    ['/v1/clusters/none/change', { kind: 'cut', ask: { link: 'x' } }, 422],
    ['/v1/clusters/..%2fx/apply', undefined, 404],
    ['/v1/clusters/lab/destroy', undefined, 404],
  ])('refuses %s %j', async (path, body, status) => {
    expect((await post(path, body)).status).toBe(status);
  });

  it('saves with progress, and tells what cannot be restored', async () => {
    const saved = await post('/v1/clusters/lab/checkpoint', { dir: '/saved' });
    expect(
      saved.text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toEqual([{ progress: 'saving' }, { taken: { bytes: 7, stillMs: 3 } }]);
    const restored = await post('/v1/clusters/lab/restore', { dir: '/saved' });
    expect(JSON.parse(restored.text)).toEqual({
      error: { code: 'checkpoint', message: 'it is damaged', where: '/saved' },
    });
    const relative = await post('/v1/clusters/lab/checkpoint', { dir: 'saved' });
    expect(relative.status).toBe(422);
    expect(asked.slice(-2)).toEqual([
      ['checkpoint', 'lab', '/saved'],
      ['restore', 'lab', '/saved'],
    ]);
  });

  it('proves', async () => {
    const { text } = await post('/v1/clusters/lab/prove');
    expect(JSON.parse(text)).toEqual([{ verdict: 'pass', subject: 'lab.v1', found: 'shut' }]);
  });
});

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { FabricClient } from '../../src/fabric/client.ts';
import { lan, planOf, portPlan, trunkPlan } from './rig.ts';

let directory: string;
let worker: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'lodge-fabric-'));
  worker = join(directory, 'fabric.cjs');
  const entryPoints = [new URL('../../src/fabric/worker.ts', import.meta.url).pathname];
  await build({
    entryPoints,
    outfile: worker,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    logLevel: 'error',
  });
}, 60_000);

afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe("the fabric's worker", () => {
  it('does what it is asked, in order, and ends when told', async () => {
    const deaths: Error[] = [];
    const client = new FabricClient(
      { onDeath: (error) => deaths.push(error) },
      { memoryLimitBytes: 2 ** 21 },
      worker,
    );
    const plan = planOf(lan([portPlan(1), portPlan(2)]));
    const [applied, links, status] = await Promise.all([
      client.ask('apply', { plan }),
      client.ask('links', {}),
      client.ask('status', {}),
    ]);
    expect(applied.added).toEqual(['lan/v1', 'lan/v2']);
    expect(links.map(({ name }) => name)).toEqual(['lan/v1', 'lan/v2']);
    expect(status).toMatchObject({ ports: 2, connectedPorts: 0, memoryLimitBytes: 2 ** 21 });
    expect((await client.ask('matrix', {})).frames).toBeInstanceOf(Float64Array);
    await client.ask('freeze', {});
    const { bytes } = await client.ask('save', {});
    await client.ask('load', { bytes });
    await client.stop();
    expect(deaths).toEqual([]);
    await expect(client.ask('status', {})).rejects.toMatchObject({ code: 'fabric-unavailable' });
  });

  it('says what is wrong, and goes on', async () => {
    const client = new FabricClient({}, {}, worker);
    await expect(client.ask('cut', { link: 'lan/x' })).rejects.toMatchObject({
      code: 'usage',
      fix: expect.stringContaining('lodge fabric links'),
    });
    expect(await client.ask('status', {})).toMatchObject({ links: 0 });
    await client.stop();
  });

  it('is reported when it dies, and what was asked is refused', async () => {
    const deaths: Error[] = [];
    const file = join(directory, 'dies.cjs');
    writeFileSync(
      file,
      "require('node:worker_threads').parentPort.on('message', () => { throw new Error('broken'); });",
    );
    const client = new FabricClient({ onDeath: (error) => deaths.push(error) }, {}, file);
    await expect(Promise.all([client.ask('status', {}), client.ask('links', {})])).rejects.toMatchObject({
      code: 'fabric-unavailable',
      detail: expect.stringContaining('broken'),
    });
    await vi.waitFor(() => expect(deaths).toHaveLength(1));
    await client.stop();
  });

  it('is ended when it does not end by itself', async () => {
    const file = join(directory, 'hangs.cjs');
    writeFileSync(file, "require('node:worker_threads').parentPort.on('message', () => { for (;;); });");
    const deaths: Error[] = [];
    const client = new FabricClient({ onDeath: (error) => deaths.push(error) }, {}, file);
    await client.stop(50);
    expect(deaths).toEqual([]);
  });

  it('refuses what cannot be sent', async () => {
    const client = new FabricClient({}, {}, worker);
    const plan = planOf(lan([trunkPlan('host2')]));
    await expect(client.ask('apply', { plan: { ...plan, name: (() => {}) as never } })).rejects.toThrow(
      'clone',
    );
    expect(await client.ask('status', {})).toMatchObject({ links: 0 });
    await client.stop();
  });
});

import { mkdirSync, mkdtempSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { readEvents } from '../../src/cluster/event-log.ts';
import { clusterDir } from '../../src/cluster/state.ts';
import { ClusterLogs } from '../../src/server/cluster-logs.ts';

const base = mkdtempSync(join(tmpdir(), 'lodge-logs-'));
beforeAll(() => {
  vi.stubEnv('LODGE_RUNTIME_DIR', base);
});
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(base, { recursive: true });
});

it('a log that cannot be opened ends nobody, and is opened when it can be', async () => {
  const dir = clusterDir('lab');
  const inTheWay = join(dir, 'events.jsonl');
  mkdirSync(inTheWay, { recursive: true });
  const logs = new ClusterLogs();
  const note = (text: string): void => logs.note('lab', { kind: 'link-up', subject: 'lan/v1', text });
  note('lost');
  rmdirSync(inTheWay);
  note('kept');
  logs.close('lab');
  expect((await readEvents(dir)).map(({ text }) => text)).toEqual(['kept']);
});

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { releaseEnded } from '../../../src/cluster/engine/ended-leases.ts';
import { thisProcess } from '../../../src/image/owner.ts';
import { openStore, type Store } from '../../../src/image/store.ts';

let store: Store;
let id: string;
const elsewhere = { ...thisProcess(), host: 'n02', machine: 'm', boot: 'b' };

beforeEach(async () => {
  store = openStore(mkdtempSync(join(tmpdir(), 'lodge-leases-')));
  id = (await store.put('image', 'a', (dir) => Promise.resolve(writeFileSync(join(dir, 'a'), 'a')))).id;
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(store.path, { recursive: true });
});

async function lease(guest: string, job: string, cluster: string, owner = elsewhere): Promise<void> {
  vi.stubEnv('SLURM_JOB_ID', job);
  vi.stubEnv('SLURM_CLUSTER_NAME', cluster);
  await store.lease(guest, [id], { owner });
}

const held = async (): Promise<string[]> => (await store.leases()).map(({ guest }) => guest).sort();

it('lets go of what guests of ended jobs held on other hosts, and of nothing else', async () => {
  await lease('ended', '7', 'here');
  await lease('lives', '8', 'here');
  await lease('other', '7', 'there');
  await lease('own', '7', 'here', thisProcess());
  const asked: string[] = [];
  const ask = (answers: Record<string, string>) => async (argv: readonly string[]) => {
    asked.push(argv[0]!);
    return answers[argv[0]!];
  };
  // Of a Slurm that does not answer nothing is known.
  await releaseEnded(store, ask({}));
  await releaseEnded(store, ask({ scontrol: 'ClusterName             = here\n' }));
  expect(await held()).toEqual(['ended', 'lives', 'other', 'own']);
  await releaseEnded(store, ask({ scontrol: 'ClusterName             = here\n', squeue: '8\n' }));
  expect(await held()).toEqual(['lives', 'other', 'own']);
  await store.release('lives', 'n02');
  await store.release('other', 'n02');
  asked.length = 0;
  await releaseEnded(store, ask({}));
  expect(asked).toEqual([]);
});

import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import type { GuestPlan } from '../../src/guest/plan.ts';
import {
  claimGuest,
  discardGuest,
  discardRemains,
  type GuestRecord,
  guestDir,
  runtimeDir,
} from '../../src/guest/state.ts';
import { temporaryDirectory } from '../image/samples.ts';

const root = temporaryDirectory();

beforeAll(() => {
  vi.stubEnv('LODGE_RUNTIME_DIR', join(root, 'run'));
});

afterAll(() => {
  vi.unstubAllEnvs();
});

const made = (): string[] => readdirSync(join(runtimeDir(), 'making'));

it('removes what is left of a guest, and nothing of it stays anywhere', () => {
  const dir = guestDir('damaged');
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'plan.json'), '{"version": 1, "na');
  writeFileSync(join(dir, 'ring'), '');
  discardRemains(dir);
  expect(existsSync(dir)).toBe(false);
  expect(made()).toEqual([]);
  discardRemains(dir);
});

it('leaves a guest where it is that has come to that name meanwhile', () => {
  const dir = guestDir('new');
  const owner = { pid: process.pid, startTicks: 1 };
  const record: GuestRecord = { version: 1, mode: 'foreground', phase: 'starting', owner, createdAt: 0 };
  claimGuest({ version: 1, name: 'new', id: '0123456789abcdef', dir } as GuestPlan, record);
  discardRemains(dir);
  expect(readdirSync(dir).sort()).toEqual(['plan.json', 'state.json']);
  expect(made()).toEqual([]);
  rmSync(dir, { recursive: true });
});

it('does not bring a runtime directory back that a job on this host has removed', () => {
  const place = join(root, 'removed');
  vi.stubEnv('LODGE_RUNTIME_DIR', place);
  vi.stubEnv('SLURMD_NODENAME', 'n01');
  try {
    discardGuest({ dir: guestDir('gone'), id: '0123456789abcdef' });
    expect(existsSync(place)).toBe(false);
  } finally {
    vi.stubEnv('SLURMD_NODENAME', undefined);
    vi.stubEnv('LODGE_RUNTIME_DIR', join(root, 'run'));
  }
});

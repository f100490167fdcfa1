/** Probe guests booted for real, on whatever this machine has. */

import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { proveAccelerator } from '../../src/machine/accelerators.ts';

let stateDir: string;
beforeAll(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'lodge-prove-'));
});
afterAll(() => rmSync(stateDir, { recursive: true }));

const leftovers = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith('lodge-probe-'));

/** A kernel to prove KVM with, where the machine has one that this user can read. */
async function hostKernel(): Promise<{ path: string } | undefined> {
  const names = existsSync('/boot') ? readdirSync('/boot').filter((name) => name.startsWith('vmlinuz-')) : [];
  const name = names.at(-1);
  return name === undefined ? undefined : { path: join('/boot', name) };
}

describe('accelerators of this machine', () => {
  it.each(['tcg', 'uml', 'netns'] as const)('%s boots a probe guest, once', async (accelerator) => {
    const before = leftovers();
    const verdict = await proveAccelerator(accelerator, { stateDir });
    expect(verdict).toMatchObject({ accelerator, usable: true });
    expect(await proveAccelerator(accelerator, { stateDir })).toEqual(verdict);
    expect(leftovers()).toEqual(before);
  });

  it('kvm comes to a verdict with its reason in time, usable or not', async () => {
    const timeLimits = { silentMs: 10_000, totalMs: 30_000 };
    const verdict = await proveAccelerator('kvm', { stateDir, timeLimits, kernel: hostKernel });
    expect(verdict.reason).not.toBe('');
    expect(verdict.seconds).toBeLessThan(32);
    expect(verdict.usable).toBe(verdict.fix === undefined);
    if (verdict.usable) expect(['kernel', 'firmware']).toContain(verdict.proof);
  });

  it('a VMM that is no VMM is unusable', async () => {
    const verdict = await proveAccelerator('tcg', { stateDir, vmms: { qemu: '/bin/false' } });
    expect(verdict).toMatchObject({ usable: false, proof: 'firmware' });
    expect(verdict.reason).toContain('exit code 1');
  });
});

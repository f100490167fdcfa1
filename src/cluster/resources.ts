/** What the guests of a cluster need of this host, against what there is. Pure. */

import { LodgeError } from '../errors.ts';
import { ordinaryMemoryBytes } from '../guest/layout-memory.ts';
import type { GuestSpec } from '../guest/spec.ts';
import type { Accelerator } from '../machine/accelerators.ts';
import type { Limits } from '../machine/machine.ts';
import { formatSize } from '../units.ts';

/** Measured: a user-mode guest of 48M takes 70 MB, of which its kernel and keeper are what it has beside its memory. */
const umlProcessBytes = 24 * 2 ** 20;

/** Namespaces have no memory set apart: what is counted is their agent, their keeper and a small program or two. */
const netnsBytes = 4 * 2 ** 20;

/** Memory of the host that a guest takes at most, that of huge-page pools not counted. */
export function neededBytes(spec: Pick<GuestSpec, 'memory' | 'pages'>, accelerator: Accelerator): number {
  if (accelerator === 'netns') return netnsBytes;
  if (accelerator === 'uml') return spec.memory + umlProcessBytes;
  return ordinaryMemoryBytes(spec.memory, spec.pages.host);
}

export interface MemoryNeed {
  accelerator: Accelerator;
  neededBytes: number;
}

/** What one guest needs of something, in bytes or pages. */
export interface Amount {
  kind: Accelerator;
  amount: number;
}

/** Guests of one kind and size together, as in `4 kvm of 8.1G + 2 uml of 1G = 34G`; the largest sums first. */
export function sumOfKinds(amounts: readonly Amount[], told: (amount: number) => string): string {
  const groups = new Map<string, Amount & { count: number }>();
  for (const { kind, amount } of amounts) {
    const key = `${kind} ${amount}`;
    const group = groups.get(key) ?? { count: 0, kind, amount };
    group.count++;
    groups.set(key, group);
  }
  const parts = [...groups.values()]
    .sort((a, b) => b.count * b.amount - a.count * a.amount)
    .map(({ count, kind, amount }) => `${count} ${kind} of ${told(amount)}`);
  const shown = parts.length > 6 ? [...parts.slice(0, 5), `${parts.length - 5} other kinds`] : parts;
  return `${shown.join(' + ')} = ${told(amounts.reduce((sum, { amount }) => sum + amount, 0))}`;
}

export function memorySum(guests: readonly MemoryNeed[]): string {
  return sumOfKinds(
    guests.map(({ accelerator, neededBytes: amount }) => ({ kind: accelerator, amount })),
    formatSize,
  );
}

export function totalBytes(guests: readonly MemoryNeed[]): number {
  return guests.reduce((sum, guest) => sum + guest.neededBytes, 0);
}

/**
 * Refuses guests that do not fit, before any is started.
 * @param starting those to be started
 * @param leavingBytes what guests use now that will be ended first
 * @throws LodgeError `not-enough-memory` with the sum
 */
export function checkClusterMemory(
  starting: readonly MemoryNeed[],
  limits: Pick<Limits, 'availableMemoryBytes' | 'memoryBytes' | 'memoryLimitedBy'>,
  leavingBytes = 0,
): void {
  const availableBytes = limits.availableMemoryBytes + leavingBytes;
  if (totalBytes(starting) <= availableBytes) return;
  const limit =
    limits.memoryBytes === undefined
      ? 'this host has'
      : `this job (limited to ${formatSize(limits.memoryBytes)}${limits.memoryLimitedBy === undefined ? '' : ` by ${limits.memoryLimitedBy}`}) has`;
  throw new LodgeError(
    'not-enough-memory',
    `the guests to be started need ${formatSize(totalBytes(starting))} of memory; ${limit} ${formatSize(availableBytes)} left`,
    {
      detail: `the guest's memory and what its process takes: ${memorySum(starting)}`,
      fix: 'give the guests less memory (defaults: {memory: 128M}), or ask for fewer',
    },
  );
}

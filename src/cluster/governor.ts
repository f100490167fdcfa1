/** How many guests boot at once: what the CPUs of this job can do, and less while the machine is choking. */

import type { Accelerator } from '../machine/accelerators.ts';
import type { MachineBasics } from '../machine/machine.ts';

/** Share of the last ten seconds, in percent, in which somebody, or everybody, had to wait (PSI of Linux). */
export interface Pressure {
  cpuSome?: number;
  memoryFull?: number;
}

/**
 * What a boot takes of the CPUs while it lasts: a kernel that is emulated or runs in user mode keeps one busy, under
 * KVM as well for the second that it takes; namespaces have no kernel to boot.
 */
export function bootCost(accelerator: Accelerator): number {
  return accelerator === 'netns' ? 1 / 16 : 1;
}

/** CPUs that this job may use, with a fraction. */
export function usableCpuCount({ limits }: Pick<MachineBasics, 'limits'>): number {
  return Math.max(1, Math.min(limits.allowedCpus.length, limits.cpuQuota ?? Number.POSITIVE_INFINITY));
}

/** Boots that wait for a CPU are to be expected; when nearly everything waits all the time, more boots only wait more. */
const chokingCpu = 98;
const chokingMemory = 10;

/** What may boot at once, in CPUs. */
export function bootRoom(cpuCount: number, { cpuSome = 0, memoryFull = 0 }: Pressure): number {
  if (memoryFull > chokingMemory) return 1 / 16;
  return cpuSome > chokingCpu ? Math.max(1, cpuCount / 2) : Math.max(1, cpuCount);
}

/** `some avg10=1.23 …` and `full …` of a file in /proc/pressure; what is not there is undefined. */
export function parsePressure(text: string | undefined, line: 'some' | 'full'): number | undefined {
  const found = new RegExp(`^${line} avg10=([\\d.]+)`, 'm').exec(text ?? '')?.[1];
  return found === undefined ? undefined : Number(found);
}

export interface GovernedTask {
  /** In CPUs. */
  cost: number;
  run(): Promise<void>;
}

/** While nothing ends, the room is asked for again after so long: the pressure may have gone. */
const askAgainMs = 1000;

/**
 * Runs tasks in their order, as many at once as there is room for, and always one. Resolves when all have ended;
 * tasks see to their own errors.
 * @param room asked for before each start
 * @param signal no more are begun after it
 */
export async function runGoverned(
  tasks: readonly GovernedTask[],
  room: () => number,
  signal?: AbortSignal,
): Promise<void> {
  const running = new Set<Promise<void>>();
  let used = 0;
  for (const task of tasks) {
    while (running.size > 0 && used + task.cost > room() + 1e-9) {
      let timer: NodeJS.Timeout | undefined;
      const later = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, askAgainMs);
      });
      await Promise.race([...running, later]);
      clearTimeout(timer);
    }
    if (signal?.aborted === true) break;
    used += task.cost;
    const one: Promise<void> = task.run().finally(() => {
      used -= task.cost;
      running.delete(one);
    });
    running.add(one);
  }
  await Promise.all(running);
}

/** Runs something for each item, at most `most` at once, in order. */
export async function forEachBounded<T>(
  items: readonly T[],
  most: number,
  action: (item: T) => Promise<void>,
): Promise<void> {
  await runGoverned(
    items.map((item) => ({ cost: 1, run: () => action(item) })),
    () => most,
  );
}

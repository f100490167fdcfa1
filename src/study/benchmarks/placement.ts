/** Which CPUs the processes of a benchmark are put on. Pure. */

import { LodgeError } from '../../errors.ts';
import type { RunInput } from './benchmark.ts';

/**
 * One CPU for each core that is used, or nothing where the kernel's scheduler is to choose.
 * @throws LodgeError `internal` when fewer CPUs than cores were given
 */
export function pinnedCpus({ placement, cpus, cores }: RunInput): readonly number[] | undefined {
  if (placement === 'free') return undefined;
  if (cpus.length < cores) {
    throw new LodgeError(
      'internal',
      `${cores} cores were asked for, but only ${cpus.length} CPUs were given`,
    );
  }
  return cpus.slice(0, cores);
}

/** The words before a command that keep it on one CPU. */
export function onCpu(cpu: number | undefined): string[] {
  return cpu === undefined ? [] : ['taskset', '-c', `${cpu}`];
}

/** Whether a layout request makes sense on any machine at all. */

import { LodgeError } from '../errors.ts';
import { fixWith, key } from '../fix.ts';
import { formatSize } from '../units.ts';
import type { LayoutRequest } from './layout.ts';

/** QEMU 7.2 rounds `-m` up to this (`ram_size` in hw/core/machine.c), and refuses memory backends that then differ. */
export const memoryGranuleBytes = 8192;

/** No PC has less: its firmware lies in the first MiB. */
const leastMemoryBytes = 2 ** 20;

/** @throws LodgeError `spec-value` */
export function checkSizes(cpus: number, memoryBytes: number): void {
  if (!Number.isSafeInteger(cpus) || cpus < 1) {
    throw new LodgeError('spec-value', `a guest cannot have ${cpus} CPUs`, {
      fix: 'ask for one CPU or more',
      asked: ['cpus'],
    });
  }
  if (
    !Number.isSafeInteger(memoryBytes) ||
    memoryBytes < leastMemoryBytes ||
    memoryBytes % memoryGranuleBytes !== 0
  ) {
    throw new LodgeError('spec-value', `a guest cannot have ${memoryBytes} bytes of memory`, {
      fix: `ask for ${formatSize(leastMemoryBytes)} or more, in multiples of ${formatSize(memoryGranuleBytes)}`,
      asked: ['memory'],
    });
  }
}

/** @throws LodgeError `spec-value` */
export function checkPins({ pin, cpus }: LayoutRequest): void {
  if (typeof pin === 'boolean') return;
  const twice = pin.find((cpu, i) => pin.indexOf(cpu) !== i);
  if (twice !== undefined) {
    throw new LodgeError('spec-value', `CPU ${twice} is named for two vCPUs`, {
      fix: 'name each CPU once',
      asked: ['pin'],
    });
  }
  if (pin.length === 0) {
    throw new LodgeError('spec-value', 'no host CPU is named', {
      fix: fixWith`name ${String(cpus)}, or have them chosen: ${key('pin')}`,
      asked: ['pin'],
    });
  }
  if (pin.length !== cpus) {
    throw new LodgeError('spec-value', `${pin.length} host CPUs are named for ${cpus} vCPUs`, {
      fix: fixWith`name ${String(cpus)}, or ask for ${key('cpus', String(pin.length))}`,
      asked: ['pin'],
    });
  }
}

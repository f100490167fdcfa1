/** The recorded machines of `tests/fixtures/machines/`. */

import { fileURLToPath } from 'node:url';
import { readMachineRecord, recordedSource } from '../../src/machine/record.ts';
import type { MachineSource } from '../../src/machine/source.ts';

export type MachineName =
  | 'laptop'
  | 'two-socket-smt'
  | 'epyc-eight-numa'
  | 'sub-numa'
  | 'confined-job'
  | 'this-machine';

export const machineNames: readonly MachineName[] = [
  'laptop',
  'two-socket-smt',
  'epyc-eight-numa',
  'sub-numa',
  'confined-job',
  'this-machine',
];

export function recorded(name: MachineName): MachineSource {
  return recordedSource(
    readMachineRecord(fileURLToPath(new URL(`../fixtures/machines/${name}.json`, import.meta.url))),
  );
}

/** A machine of nothing but the files given. */
export function sourceOf(files: Record<string, string>): MachineSource {
  return recordedSource({
    format: 'lodge-machine-1',
    arch: 'x86_64',
    files,
    directories: {},
    access: {},
    freeBytes: {},
    environment: {},
    programs: {},
    runs: {},
  });
}

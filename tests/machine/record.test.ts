import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { probeMachine } from '../../src/machine/probe.ts';
import { readMachineRecord, recordedSource, recordMachine } from '../../src/machine/record.ts';
import { recorded } from './recorded.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'lodge-record-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

describe('recording a machine', () => {
  it('replays to the same machine, and leaves nothing beside the file', async () => {
    const path = join(directory, 'machine.json');
    const before = await probeMachine(recorded('confined-job'));
    await recordMachine(path, async (source) => source.findProgram('srun'), recorded('confined-job'));
    const replayed = recordedSource(readMachineRecord(path));
    expect(await probeMachine(replayed)).toEqual(before);
    expect(replayed.findProgram('srun')).toBe('/usr/bin/srun');
    expect(replayed.findProgram('qemu-system-x86_64')).toBeUndefined();
    expect(readdirSync(directory)).toEqual(['machine.json']);
  });

  it('tells when it cannot write', async () => {
    const path = join(directory, 'no', 'machine.json');
    await expect(recordMachine(path, undefined, recorded('laptop'))).rejects.toMatchObject({
      code: 'host-io',
    });
  });

  it.each(['', '{', '{"format":"other"}', 'null'])('refuses %j as a record', (text) => {
    const path = join(directory, 'bad.json');
    writeFileSync(path, text);
    expect(() => readMachineRecord(path)).toThrow(expect.objectContaining({ code: 'machine-probe' }));
  });
});

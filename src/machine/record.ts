/**
 * Recorded machines: every answer a host gave while it was looked at, in one JSON file, so that a plan or the
 * doctor's findings for a host can be made again elsewhere. `lodge doctor --record FILE` writes one; the tests
 * keep some under `tests/fixtures/machines/`.
 *
 * A record holds texts as the host gave them, not what lodge made of them: it stays good when lodge learns to
 * read more out of the same texts. What was not asked then is "not there" when replayed.
 */

import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { hostIoError, LodgeError } from '../errors.ts';
import type { ProgramResult } from '../process.ts';
import { probeMachine } from './probe.ts';
import { type Access, liveSource, type MachineSource } from './source.ts';

const recordFormat = 'lodge-machine-1';

/** A text: as it is, or as its lines where it has several, so that a record can be read and compared. */
type RecordedText = string | string[];

export interface MachineRecord {
  format: typeof recordFormat;
  /** Where the record comes from, for people. */
  note?: string;
  arch: string;
  files: Record<string, RecordedText>;
  directories: Record<string, string[]>;
  access: Record<string, Access>;
  freeBytes: Record<string, number>;
  environment: Record<string, string>;
  /** Full paths of the programs found. */
  programs: Record<string, string>;
  /** By command line, the words joined with blanks. */
  runs: Record<string, { code: number; stdout: RecordedText; stderr: RecordedText }>;
}

/** A source that answers from another and keeps every answer in `record`. */
export function recordingSource(inner: MachineSource): { source: MachineSource; record: MachineRecord } {
  const record: MachineRecord = {
    format: recordFormat,
    arch: inner.arch,
    files: {},
    directories: {},
    access: {},
    freeBytes: {},
    environment: {},
    programs: {},
    runs: {},
  };
  const keep = <T>(into: Record<string, T>, key: string, value: T | undefined): void => {
    if (value !== undefined) into[key] = value;
  };
  const source: MachineSource = {
    arch: inner.arch,
    readText(path, maxBytes) {
      const text = inner.readText(path, maxBytes);
      keep(record.files, path, text === undefined ? undefined : foldText(text));
      return text;
    },
    listDirectory(path) {
      const names = inner.listDirectory(path);
      if (names.length > 0) record.directories[path] = names;
      return names;
    },
    access(path) {
      const access = inner.access(path);
      record.access[path] = access;
      return access;
    },
    freeBytes(path) {
      const bytes = inner.freeBytes(path);
      keep(record.freeBytes, path, bytes);
      return bytes;
    },
    environment(name) {
      const value = inner.environment(name);
      keep(record.environment, name, value);
      return value;
    },
    findProgram(name) {
      const path = inner.findProgram(name);
      keep(record.programs, name, path);
      return path;
    },
    async run(argv) {
      const result = await inner.run(argv);
      if (result !== undefined) {
        const { code, stdout, stderr } = result;
        record.runs[argv.join(' ')] = { code, stdout: foldText(stdout), stderr: foldText(stderr) };
      }
      return result;
    },
  };
  return { source, record };
}

/** A source that answers from a record. */
export function recordedSource(record: MachineRecord): MachineSource {
  const noAccess: Access = { exists: false, readable: false, writable: false, error: 'ENOENT' };
  return {
    arch: record.arch,
    readText(path, maxBytes) {
      const text = record.files[path];
      return text === undefined ? undefined : unfoldText(text).slice(0, maxBytes);
    },
    listDirectory: (path) => record.directories[path] ?? [],
    access: (path) => record.access[path] ?? noAccess,
    freeBytes: (path) => record.freeBytes[path],
    environment: (name) => record.environment[name],
    findProgram: (name) => record.programs[name],
    async run(argv): Promise<ProgramResult | undefined> {
      const result = record.runs[argv.join(' ')];
      if (result === undefined) return undefined;
      return { code: result.code, stdout: unfoldText(result.stdout), stderr: unfoldText(result.stderr) };
    },
  };
}

/**
 * Looks at this host and writes what it answered to a file.
 * @param alsoAsk asks the source more questions that are to be answerable when replayed (the doctor's)
 * @throws LodgeError `host-io` or `disk-full` when the file cannot be written, and what probing throws
 */
export async function recordMachine(
  path: string,
  alsoAsk: (source: MachineSource) => Promise<unknown> = async () => {},
  inner: MachineSource = liveSource(),
): Promise<MachineRecord> {
  const { source, record } = recordingSource(inner);
  await probeMachine(source);
  await alsoAsk(source);
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    writeFileSync(temporary, `${JSON.stringify(record, undefined, 1)}\n`);
    renameSync(temporary, path);
  } catch (cause) {
    throw hostIoError('writing the record of this machine', path, cause);
  }
  return record;
}

/**
 * Reads a record.
 * @throws LodgeError `machine-probe` when the file is no record
 */
export function readMachineRecord(path: string): MachineRecord {
  let record: Partial<MachineRecord>;
  try {
    record = JSON.parse(readFileSync(path, 'utf8')) as Partial<MachineRecord>;
  } catch (cause) {
    throw new LodgeError('machine-probe', `cannot be read: ${(cause as Error).message}`, {
      where: path,
      cause,
    });
  }
  if (record?.format !== recordFormat) {
    throw new LodgeError('machine-probe', 'is not the record of a machine', {
      where: path,
      fix: 'write one with `lodge doctor --record FILE`',
    });
  }
  const parts = {
    files: {},
    directories: {},
    access: {},
    freeBytes: {},
    environment: {},
    programs: {},
    runs: {},
  };
  return { arch: 'x86_64', ...parts, ...record, format: recordFormat };
}

function foldText(text: string): RecordedText {
  return text.trimEnd().includes('\n') ? text.split('\n') : text;
}

function unfoldText(text: RecordedText): string {
  return typeof text === 'string' ? text : text.join('\n');
}

/**
 * A study on disk: `study.json` says what is measured, `results.jsonl` has a line for each run, only ever added to.
 * A study that was interrupted goes on from these two; nothing else is its state.
 */

import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { hostIoError, LodgeError } from '../errors.ts';
import { runtimeDir } from '../guest/state.ts';
import { fateOf, thisProcess } from '../image/owner.ts';
import { ownFileError } from '../replaced-file.ts';
import { forEachLine } from './lines.ts';
import { ownerIn, releaseLock, takeLock } from './lock.ts';
import { headShape, sampleShape } from './record.ts';
import { keyOfRun, type Sample, type Study, type StudyHead } from './samples.ts';

const headFile = 'study.json';
const resultsFile = 'results.jsonl';
const lockFile = 'owner.json';

/** A sample has some kilobytes; what is longer is none. */
const longestSampleBytes = 2 ** 20;

/** What has more lines that are none than this is damaged as a whole. */
const mostLinesTold = 10_000;

/**
 * Reads a study, whole or under way. Lines that are none (cut off by a crash or a full disk, damaged, of another
 * format) are counted and left out, and so are those of a run that an earlier line has.
 * @throws LodgeError `study-directory` when there is none, or it is of another format
 */
export function readStudy(directory: string): Study {
  const head = readHead(directory);
  if (head === undefined) {
    throw new LodgeError('study-directory', 'there is no study here', {
      where: directory,
      fix: 'lodge study -o DIR makes one',
    });
  }
  return { head, ...readSamples(join(directory, resultsFile)) };
}

/** The head of the study in a directory; undefined when there is none. @throws LodgeError `study-directory` */
export function readHead(directory: string): StudyHead | undefined {
  const path = join(directory, headFile);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    if (code === 'ENOTDIR') {
      throw new LodgeError('study-directory', 'this is a file, not the directory of a study', {
        where: directory,
      });
    }
    throw hostIoError('reading a study', path, cause);
  }
  const head = headShape.safeParse(parsed(text));
  if (head.success) return head.data;
  const { path: key = [], message } = head.error.issues[0] ?? { message: '' };
  throw new LodgeError('study-directory', 'this is not the head of a study, or one of another lodge', {
    where: path,
    ...(key.length === 0 ? {} : { detail: `${key.join('.')}: ${message}` }),
    fix: 'use another directory',
  });
}

function readSamples(path: string): Omit<Study, 'head'> {
  const samples: Sample[] = [];
  const unreadableLines: number[] = [];
  const repeatedLines: number[] = [];
  const runs = new Set<string>();
  const tell = (lines: number[], number: number): void => {
    if (lines.length < mostLinesTold) lines.push(number);
  };
  try {
    forEachLine(path, longestSampleBytes, (line, number) => {
      if (line === '') return;
      const sample = sampleShape.safeParse(parsed(line)).data;
      if (sample === undefined) {
        tell(unreadableLines, number);
        return;
      }
      const run = keyOfRun(sample);
      // Counted twice, a run would make an interval narrower than it is known.
      if (runs.has(run)) tell(repeatedLines, number);
      else samples.push(sample);
      runs.add(run);
    });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw hostIoError('reading results', path, cause);
  }
  return { samples, unreadableLines, repeatedLines };
}

/** The value of a text of JSON; undefined of any other. */
function parsed(text: string | undefined): unknown {
  try {
    return text === undefined ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A study's directory while this process, and no other, adds to it. */
export class StudyDirectory {
  readonly path: string;
  readonly #results: number;

  private constructor(path: string, results: number) {
    this.path = path;
    this.#results = results;
  }

  /**
   * Takes a directory, making it if it is not there.
   * @throws LodgeError `study-directory` when another process works on it; `host-io`, `disk-full`
   */
  static open(path: string): StudyDirectory {
    try {
      makeDirectory(path);
      refuseOthers(path);
      lock(path);
      const results = openSync(join(path, resultsFile), 'a+');
      endLastLine(results);
      return new StudyDirectory(path, results);
    } catch (cause) {
      throw cause instanceof LodgeError ? cause : ownFileError('opening a study', path, cause);
    }
  }

  /** Writes the head of a new study. */
  begin(head: StudyHead): void {
    const path = join(this.path, headFile);
    try {
      writeFileSync(`${path}.new`, `${JSON.stringify(head, null, 2)}\n`);
      renameSync(`${path}.new`, path);
    } catch (cause) {
      rmSync(`${path}.new`, { force: true });
      throw ownFileError('beginning a study', path, cause);
    }
  }

  /** Adds one sample, and returns when it is on the disk. @throws LodgeError `disk-full`, `host-io` */
  add(sample: Sample): void {
    try {
      const line = Buffer.from(`${JSON.stringify(sample)}\n`);
      const written = writeSync(this.#results, line);
      // A disk that fills up takes a part: the line is ended before the next one, and reads as none.
      if (written < line.length) throw Object.assign(new Error('no space left'), { code: 'ENOSPC' });
      fsyncSync(this.#results);
    } catch (cause) {
      throw ownFileError('adding a sample', join(this.path, resultsFile), cause);
    }
  }

  close(): void {
    closeSync(this.#results);
    releaseLock(join(this.path, lockFile));
  }
}

/**
 * Makes a directory and those above it. The recursive way of Node.js (20) never ends where a file system that has
 * the parent says that it is not there, as /proc does.
 */
function makeDirectory(path: string): void {
  try {
    mkdirSync(path);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'EEXIST' && statSync(path).isDirectory()) return;
    if (code !== 'ENOENT' || dirname(path) === path || existsSync(dirname(path))) throw cause;
    makeDirectory(dirname(path));
    mkdirSync(path);
  }
}

/** A study has a directory of its own. @throws LodgeError `study-directory` */
function refuseOthers(path: string): void {
  const names = readdirSync(path);
  const others = names.filter((name) => name !== resultsFile && !name.startsWith(lockFile));
  if (others.length === 0 || names.includes(headFile)) return;
  throw new LodgeError('study-directory', `there are other files here (${others[0]}), and no study`, {
    where: path,
    fix: 'give a directory that is empty, or not there yet',
  });
}

/** A last line that was cut off must not swallow the next one. */
function endLastLine(descriptor: number): void {
  const { size } = fstatSync(descriptor);
  const last = Buffer.alloc(1);
  if (size > 0 && readSync(descriptor, last, 0, 1, size - 1) === 1 && last[0] !== 0x0a)
    writeSync(descriptor, '\n');
}

/** @throws LodgeError `study-directory` when another process has it */
function lock(directory: string): void {
  const path = join(directory, lockFile);
  const refused = takeLock(path);
  if (refused === undefined) return;
  if (refused === 'lost') {
    throw new LodgeError('study-directory', 'the study could not be locked', {
      where: path,
      fix: 'try again',
    });
  }
  const { pid, host } = refused.held;
  throw new LodgeError('study-directory', `process ${pid} on ${host} works on this study`, {
    where: directory,
    fix: `wait for it, or use another directory; if it is surely gone, remove ${path}`,
  });
}

/** Makes known to other studies of this user on this host that one runs. @returns what takes that back */
export function announceStudy(): () => void {
  const directory = join(runtimeDir(), 'studies');
  const path = join(directory, `${process.pid}.json`);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  writeFileSync(path, JSON.stringify(thisProcess()));
  return () => rmSync(path, { force: true });
}

/** Whether another study of this user runs on this host at this moment, so that both disturb each other. */
export function isAnotherStudyRunning(): boolean {
  const directory = join(runtimeDir(), 'studies');
  let isRunning = false;
  for (const name of readdirSync(directory)) {
    if (name === `${process.pid}.json`) continue;
    const owner = ownerIn(join(directory, name));
    if (owner !== undefined && fateOf(owner) === 'alive') isRunning = true;
    else rmSync(join(directory, name), { force: true });
  }
  return isRunning;
}

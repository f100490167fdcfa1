/**
 * The log of a cluster's events on disk: `events.jsonl`, and before it `events.1.jsonl`. One process writes (the host
 * agent that owns the cluster), any number read.
 *
 * An event is one line, appended by one write, so that a reader never sees half of one, and nothing is lost when the
 * writer is killed. The log is in order of time: an event that comes late gets the time of the one before it.
 */

import { closeSync, fstatSync, openSync, readSync, renameSync, writeSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { hostIoError } from '../errors.ts';
import {
  type ClusterEvent,
  type EventFilter,
  eventLine,
  eventMatches,
  ofMs,
  parseEventLine,
} from './events.ts';

const newestName = 'events.jsonl';
const olderName = 'events.1.jsonl';
/** A log has at most twice as much: the newest file and the one before. */
export const mostFileBytes = 4 << 20;

export interface EventLog {
  /**
   * Appends an event; the time is now when it has none. Never throws: what the disk cannot take is counted, and told
   * by an event when it can again.
   */
  write(event: Omit<ClusterEvent, 'timeNs'> & { timeNs?: bigint }): ClusterEvent;
  close(): void;
}

/**
 * Opens the log in a directory for writing.
 * @throws LodgeError `host-io` or `disk-full`
 */
export function openEventLog(directory: string, fileBytes = mostFileBytes): EventLog {
  const path = join(directory, newestName);
  let fd = openForAppend(path);
  let { size } = fstatSync(fd);
  let lastNs = lastTime(fd, size);
  let lost = 0;
  // A writer before us may have been cut off by a full disk.
  let isTorn = size > 0 && byteAt(fd, size - 1) !== 0x0a;

  function rotate(): void {
    try {
      renameSync(path, join(directory, olderName));
    } catch (error) {
      // An earlier try came so far.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    // First the new one: where there is none, nothing may go to a number that is another file's by then.
    const next = openForAppend(path);
    closeSync(fd);
    fd = next;
    size = 0;
    isTorn = false;
  }

  function append(line: string): void {
    const bytes = Buffer.from(isTorn ? `\n${line}` : line);
    if (size > 0 && size + bytes.length > fileBytes) {
      rotate();
      append(line);
      return;
    }
    const written = writeSync(fd, bytes);
    size += written;
    isTorn = written < bytes.length;
    if (isTorn) throw new Error('the disk took a part of the line');
  }

  return {
    write({ kind, subject, text, timeNs = ofMs(performance.timeOrigin + performance.now()) }) {
      const event = { timeNs: timeNs < lastNs ? lastNs : timeNs, kind, subject, text };
      lastNs = event.timeNs;
      try {
        if (lost > 0) {
          append(
            eventLine({
              timeNs: event.timeNs,
              kind: 'events-lost',
              subject: newestName,
              text: `${lost} events before this could not be written`,
            }),
          );
          lost = 0;
        }
        append(eventLine(event));
      } catch {
        lost++;
      }
      return event;
    },
    close() {
      closeSync(fd);
    },
  };
}

function openForAppend(path: string): number {
  try {
    return openSync(path, 'a+', 0o600);
  } catch (cause) {
    throw hostIoError('opening the log of events', path, cause);
  }
}

function byteAt(fd: number, position: number): number | undefined {
  const byte = Buffer.alloc(1);
  return readSync(fd, byte, 0, 1, position) === 1 ? byte[0] : undefined;
}

/** The time of the last whole event of a file. */
function lastTime(fd: number, size: number): bigint {
  const bytes = Buffer.alloc(Math.min(size, 16_384));
  readSync(fd, bytes, 0, bytes.length, size - bytes.length);
  const events = bytes.toString().split('\n').map(parseEventLine);
  return events.findLast((event) => event !== undefined)?.timeNs ?? 0n;
}

/** All events of a log that match, oldest first; none where there is no log. */
export async function readEvents(directory: string, filter: EventFilter = {}): Promise<ClusterEvent[]> {
  const found: ClusterEvent[] = [];
  for await (const event of events(directory, filter)) found.push(event);
  return found;
}

/**
 * Events as they come, after those that are there already.
 * @param signal ends it, as if there were no more
 */
export function followEvents(
  directory: string,
  filter: EventFilter,
  signal: AbortSignal,
): AsyncGenerator<ClusterEvent> {
  return events(directory, filter, signal);
}

const followEveryMs = 200;
const chunkBytes = 65_536;

async function* events(
  directory: string,
  filter: EventFilter,
  follow?: AbortSignal,
): AsyncGenerator<ClusterEvent> {
  // The newest is opened before the older one is read, so that a rotation in between loses nothing.
  let newest = await openIfThere(join(directory, newestName));
  try {
    const older = await openIfThere(join(directory, olderName));
    if (older !== undefined) {
      try {
        const isSame = newest !== undefined && (await older.stat()).ino === (await newest.stat()).ino;
        if (!isSame) yield* eventsOf(lines(older), filter);
      } finally {
        await older.close();
      }
    }
    let reader = newest === undefined ? undefined : lines(newest);
    while (true) {
      if (reader !== undefined) yield* eventsOf(reader, filter);
      if (follow === undefined || follow.aborted) return;
      const next = await openIfThere(join(directory, newestName));
      if (
        next !== undefined &&
        (newest === undefined || (await next.stat()).ino !== (await newest.stat()).ino)
      ) {
        // What was written to the old one until it was put away.
        if (reader !== undefined) yield* eventsOf(reader, filter);
        await newest?.close();
        newest = next;
        reader = lines(newest);
        continue;
      }
      await next?.close();
      await delay(followEveryMs, undefined, { signal: follow }).catch(() => {});
    }
  } finally {
    await newest?.close();
  }
}

async function* eventsOf(reader: LineReader, filter: EventFilter): AsyncGenerator<ClusterEvent> {
  for (let line = await reader.next(); line !== undefined; line = await reader.next()) {
    const event = parseEventLine(line);
    if (event !== undefined && eventMatches(event, filter)) yield event;
  }
}

interface LineReader {
  /** The next whole line; undefined when there is none yet. */
  next(): Promise<string | undefined>;
}

function lines(file: FileHandle): LineReader {
  const chunk = Buffer.allocUnsafe(chunkBytes);
  let position = 0;
  let rest = Buffer.alloc(0);
  const ready: string[] = [];
  return {
    async next() {
      while (ready.length === 0) {
        const { bytesRead } = await file.read(chunk, 0, chunkBytes, position);
        if (bytesRead === 0) return undefined;
        position += bytesRead;
        const bytes = Buffer.concat([rest, chunk.subarray(0, bytesRead)]);
        const end = bytes.lastIndexOf(0x0a) + 1;
        rest = bytes.subarray(end);
        if (end > 0) ready.push(...bytes.toString('utf8', 0, end - 1).split('\n'));
      }
      return ready.shift();
    },
  };
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw hostIoError('reading the log of events', path, cause);
  }
}

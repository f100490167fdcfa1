import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
} from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { type EventLog, followEvents, openEventLog, readEvents } from '../../src/cluster/event-log.ts';
import {
  eventLine,
  eventRow,
  eventTime,
  ofFabric,
  ofMs,
  parseEventLine,
  parseMomentNs,
} from '../../src/cluster/events.ts';
import { temporaryDirectory } from '../fabric/frames.ts';

const root = temporaryDirectory();
const newDirectory = () => mkdtemp(join(root, 'log-'));

function write(log: EventLog, text: string, timeNs?: bigint) {
  const event = { kind: 'guest-started', subject: 'v01', text } as const;
  return log.write(timeNs === undefined ? event : { ...event, timeNs });
}

/** A filesystem of so many files, itself among them, where mounting is allowed. */
function mountFiles(directory: string, files: number): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `nr_inodes=${files}`, 'none', directory], {
      stdio: 'ignore',
    });
    return true;
  } catch {
    return false;
  }
}

describe('an event', () => {
  const event = {
    timeNs: 1_767_323_045_000_006_789n,
    kind: 'link-cut',
    subject: 'lan/v01',
    text: 'a "b"\n\u001b[2J',
  } as const;

  it('is one line, and comes back from it', () => {
    const line = eventLine(event);
    expect(line.indexOf('\n')).toBe(line.length - 1);
    expect(JSON.parse(line).time).toBe('1767323045000006789');
    expect(parseEventLine(line)).toEqual(event);
  });

  it('is found by its time as it is shown, by nanoseconds, and by how long ago it was', () => {
    const now = event.timeNs + 60_000_000_000n;
    const at = (text: string) => parseMomentNs(text, now, '--since');
    expect(at(String(event.timeNs))).toBe(event.timeNs);
    expect(at(eventTime(event.timeNs))).toBe(event.timeNs - 789n);
    expect(at('2026-01-02T03:04:05Z')).toBe(event.timeNs - 6789n);
    expect(at('1m')).toBe(event.timeNs);
    for (const text of ['', 'now', '12', '2026-13-02T03:04:05Z', '2026-01-02', '-1m']) {
      expect(() => at(text)).toThrow(`'${text}' is no time`);
    }
  });

  it('shows its time in UTC, and nothing that acts on a terminal', () => {
    expect(eventRow(event)).toEqual([
      '2026-01-02T03:04:05.000006Z',
      'link-cut',
      'lan/v01',
      'a "b"\ufffd\ufffd[2J',
    ]);
  });

  it('is bounded, whatever the text', () => {
    expect(eventLine({ ...event, text: 'x'.repeat(1e6), subject: 'y'.repeat(1e6) }).length).toBeLessThan(
      3000,
    );
  });

  it('is passed over where it is none', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => parseEventLine(text) === undefined));
    expect(parseEventLine('{"time":"1","kind":"nonsense","subject":"","text":""}')).toBeUndefined();
    expect(parseEventLine('{"time":1,"kind":"drops","subject":"","text":""}')).toBeUndefined();
  });

  it('of the fabric says what was dropped and how often', () => {
    expect(
      ofFabric({ atMs: 1700.25, link: 'lan/v01', kind: 'dropping', reason: 'storm', count: 12 }),
    ).toEqual({
      timeNs: 1_700_250_000n,
      kind: 'drops',
      subject: 'lan/v01',
      text: 'frames were dropped: storm (12 times)',
    });
    expect(
      ofFabric({ atMs: 1, link: 'lan/v01', kind: 'disconnected', detail: 'the socket was closed' }).text,
    ).toBe('disconnected: the socket was closed');
    expect(ofMs(1_700_000_000_000.5)).toBe(1_700_000_000_000_500_000n);
  });
});

describe('the log', () => {
  it('keeps what was written, in order of time', async () => {
    const directory = await newDirectory();
    const log = openEventLog(directory);
    write(log, 'one', 100n);
    write(log, 'late', 50n);
    write(log, 'two', 200n);
    log.close();
    const again = openEventLog(directory);
    expect(write(again, 'after a clock that went back', 1n).timeNs).toBe(200n);
    const now = write(again, 'now').timeNs;
    expect(Math.abs(Number(now - BigInt(Date.now()) * 1_000_000n))).toBeLessThan(60e9);
    again.close();
    const events = await readEvents(directory);
    expect(events.map(({ text, timeNs }) => [text, timeNs]).slice(0, 4)).toEqual([
      ['one', 100n],
      ['late', 100n],
      ['two', 200n],
      ['after a clock that went back', 200n],
    ]);
    expect(statSync(join(directory, 'events.jsonl')).mode & 0o777).toBe(0o600);
  });

  it('is read with filters, and is empty where there is none', async () => {
    const directory = await newDirectory();
    expect(await readEvents(directory)).toEqual([]);
    const log = openEventLog(directory);
    log.write({ kind: 'link-cut', subject: 'lan/v01', text: 'a', timeNs: 1n });
    log.write({ kind: 'link-healed', subject: 'lan/v01', text: 'b', timeNs: 2n });
    log.write({ kind: 'link-cut', subject: 'lan/v02', text: 'c', timeNs: 3n });
    const texts = async (filter: Parameters<typeof readEvents>[1]) =>
      (await readEvents(directory, filter)).map(({ text }) => text);
    expect(await texts({ kinds: new Set(['link-cut']) })).toEqual(['a', 'c']);
    expect(await texts({ subject: (name) => name === 'lan/v01' })).toEqual(['a', 'b']);
    expect(await texts({ sinceNs: 2n })).toEqual(['b', 'c']);
    log.close();
  });

  it('is bounded: two files, the older one replaced', async () => {
    const directory = await newDirectory();
    const log = openEventLog(directory, 4000);
    for (let i = 0; i < 200; i++) write(log, `event ${i}`, BigInt(i));
    log.close();
    expect(readdirSync(directory).sort()).toEqual(['events.1.jsonl', 'events.jsonl']);
    for (const name of readdirSync(directory)) {
      expect(statSync(join(directory, name)).size).toBeLessThanOrEqual(4000);
    }
    const numbers = (await readEvents(directory)).map(({ timeNs }) => Number(timeNs));
    expect(numbers.length).toBeGreaterThan(50);
    expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, i) => 200 - numbers.length + i));
  });

  it('goes on after a line that was cut off', async () => {
    const directory = await newDirectory();
    write(openEventLog(directory), 'first', 1n);
    appendFileSync(join(directory, 'events.jsonl'), '{"time":"2","ki');
    const log = openEventLog(directory);
    write(log, 'second', 3n);
    log.close();
    expect((await readEvents(directory)).map(({ text }) => text)).toEqual(['first', 'second']);
    expect(readFileSync(join(directory, 'events.jsonl'), 'utf8').split('\n')).toHaveLength(4);
  });

  // A file system without room for another file takes root: as a plain user this is skipped, and shown as such.
  const small = mkdtempSync(join(root, 'small-'));
  const isMounted = mountFiles(small, 2);
  afterAll(() => {
    if (isMounted) execFileSync('umount', [small]);
  });
  it.skipIf(!isMounted)('writes nowhere else where there is no room for its next file', async () => {
    const log = openEventLog(small, 4000);
    const other = join(root, 'other');
    let fd: number | undefined;
    for (let i = 0; i < 60; i++) {
      write(log, `event ${i}`, BigInt(i));
      if (readdirSync(small).includes('events.1.jsonl')) fd ??= openSync(other, 'w');
    }
    closeSync(fd!);
    expect(readFileSync(other, 'utf8')).toBe('');
    execFileSync('mount', ['-o', 'remount,nr_inodes=10', small]);
    write(log, 'again', 100n);
    log.close();
    const events = await readEvents(small);
    expect(events.slice(-2).map(({ kind, text }) => [kind, text])).toEqual([
      ['events-lost', expect.stringMatching(/^\d+ events before this could not be written$/)],
      ['guest-started', 'again'],
    ]);
  });

  it('is followed over rotations, until told to stop', async () => {
    const directory = await newDirectory();
    const log = openEventLog(directory, 4000);
    write(log, 'before', 0n);
    const stop = new AbortController();
    const seen: number[] = [];
    const following = (async () => {
      for await (const { timeNs } of followEvents(directory, {}, stop.signal)) {
        seen.push(Number(timeNs));
        if (timeNs === 60n) stop.abort();
      }
    })();
    for (let i = 1; i <= 60; i++) {
      write(log, `event ${i}`, BigInt(i));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await following;
    log.close();
    expect(seen).toEqual(Array.from({ length: 61 }, (_, i) => i));
    expect(readdirSync(directory)).toHaveLength(2);
  });

  it('waits for a log that is not there yet', async () => {
    const directory = await newDirectory();
    const stop = new AbortController();
    const following = followEvents(directory, {}, stop.signal);
    const first = following.next();
    const log = openEventLog(directory);
    write(log, 'hello');
    expect((await first).value).toMatchObject({ text: 'hello' });
    stop.abort();
    expect((await following.next()).done).toBe(true);
    log.close();
  });
});

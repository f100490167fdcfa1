/** What happened in a cluster, as lines of one log: the form of an event, written and read. Pure. */

import { LodgeError } from '../errors.ts';
import type { FabricEvent } from '../fabric/control.ts';
import { parseTimeMs } from '../units.ts';

export const eventKinds = [
  'fabric-started',
  'fabric-failed',
  'fabric-frozen',
  'fabric-thawed',
  'link-up',
  'link-down',
  'link-cut',
  'link-healed',
  'link-shaped',
  'link-moved',
  'drops',
  'framing-lost',
  'capture-started',
  'capture-ended',
  'capture-failed',
  'trunk-up',
  'trunk-down',
  'trunk-refused',
  'guest-started',
  'guest-exited',
  'guest-panicked',
  'apply-began',
  'apply-step',
  'apply-ended',
  'apply-failed',
  /** The log itself could not be written for a while. */
  'events-lost',
] as const;

export type EventKind = (typeof eventKinds)[number];

export interface ClusterEvent {
  /** Nanoseconds since 1970. */
  timeNs: bigint;
  kind: EventKind;
  /** What it happened to: a link (`lan/v01`), a guest (`v01`), a host, or the cluster's own name. */
  subject: string;
  /** For people; one line. */
  text: string;
}

/** Longer texts are cut: no event may fill the log. */
const longestText = 2000;
const longestSubject = 300;

/** One line of the log, with its newline. */
export function eventLine({ timeNs, kind, subject, text }: ClusterEvent): string {
  const record = {
    time: String(timeNs),
    kind,
    subject: subject.slice(0, longestSubject),
    text: text.slice(0, longestText),
  };
  return `${JSON.stringify(record)}\n`;
}

/** The event of a line; undefined for one that is torn or of another form, which readers pass over. */
export function parseEventLine(line: string): ClusterEvent | undefined {
  let record: Partial<Record<'time' | 'kind' | 'subject' | 'text', unknown>> | null;
  try {
    record = JSON.parse(line);
  } catch {
    return undefined;
  }
  const { time, kind, subject, text } = record ?? {};
  if (typeof time !== 'string' || !/^\d{1,20}$/.test(time)) return undefined;
  if (!eventKinds.includes(kind as EventKind) || typeof subject !== 'string' || typeof text !== 'string') {
    return undefined;
  }
  return { timeNs: BigInt(time), kind: kind as EventKind, subject, text };
}

export interface EventFilter {
  kinds?: ReadonlySet<EventKind> | undefined;
  subject?: ((subject: string) => boolean) | undefined;
  /** Events before it are left out. */
  sinceNs?: bigint | undefined;
}

export function eventMatches({ timeNs, kind, subject }: ClusterEvent, filter: EventFilter): boolean {
  if (filter.sinceNs !== undefined && timeNs < filter.sinceNs) return false;
  if (filter.kinds !== undefined && !filter.kinds.has(kind)) return false;
  return filter.subject?.(subject) ?? true;
}

/** Time (UTC, to the microsecond), kind, subject, text: cells of a row for a terminal. */
export function eventRow({ timeNs, kind, subject, text }: ClusterEvent): string[] {
  return [eventTime(timeNs), kind, shown(subject), shown(text)];
}

/** `2026-01-02T03:04:05.000006Z` */
export function eventTime(timeNs: bigint): string {
  const seconds = new Date(Number(timeNs / 1_000_000_000n) * 1000).toISOString().slice(0, 19);
  return `${seconds}.${String((timeNs % 1_000_000_000n) / 1000n).padStart(6, '0')}Z`;
}

/**
 * Reads a moment: nanoseconds since 1970, a time as {@link eventTime} shows it (with or without its fraction), or how
 * long ago it was (`10m`).
 * @throws LodgeError `spec-value`
 */
export function parseMomentNs(text: string, nowNs: bigint, where: string): bigint {
  if (/^(?:0|\d{16,20})$/.test(text)) return BigInt(text);
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z$/.exec(text);
  const seconds = match === null ? Number.NaN : Date.parse(`${match[1]}Z`) / 1000;
  if (!Number.isNaN(seconds))
    return BigInt(seconds) * 1_000_000_000n + BigInt((match![2] ?? '').padEnd(9, '0'));
  if (/^\d+(?:\.\d+)?\s*(?:ms|s|m|h)$/.test(text))
    return nowNs - BigInt(parseTimeMs(text, where)) * 1_000_000n;
  throw new LodgeError('spec-value', `'${text}' is no time`, {
    where,
    fix: `write how long ago (10m), or a time as events show it: ${eventTime(nowNs)}`,
  });
}

/** Texts may hold what a guest sent: nothing in them may act on a terminal. */
function shown(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '\ufffd');
}

const kindOfFabricEvent: Readonly<Record<FabricEvent['kind'], EventKind>> = {
  connected: 'link-up',
  disconnected: 'link-down',
  dropping: 'drops',
  'framing-lost': 'framing-lost',
  'capture-failed': 'capture-failed',
  cut: 'link-cut',
  healed: 'link-healed',
  moved: 'link-moved',
  'trunk-up': 'trunk-up',
  'trunk-down': 'trunk-down',
  'trunk-refused': 'trunk-refused',
};

const textOfFabricEvent: Readonly<Record<FabricEvent['kind'], string>> = {
  connected: 'connected',
  disconnected: 'disconnected',
  dropping: 'frames were dropped',
  'framing-lost': 'what came was no frame; the connection is made again',
  'capture-failed': 'the capture has ended',
  cut: 'cut',
  healed: 'healed',
  moved: 'joined to another switch',
  'trunk-up': 'connected',
  'trunk-down': 'disconnected',
  'trunk-refused': 'refused',
};

/** What the fabric's worker tells, as an event of the cluster. */
export function ofFabric({ atMs, link, kind, reason, count, detail }: FabricEvent): ClusterEvent {
  const what =
    kind === 'dropping' && reason !== undefined ? `frames were dropped: ${reason}` : textOfFabricEvent[kind];
  const times = count === undefined || count === 1 ? '' : ` (${count} times)`;
  const more = detail === undefined ? '' : `: ${detail}`;
  return { timeNs: ofMs(atMs), kind: kindOfFabricEvent[kind], subject: link, text: what + times + more };
}

/** Milliseconds since 1970, with a fraction, as nanoseconds. */
export function ofMs(ms: number): bigint {
  const whole = Math.floor(ms);
  return BigInt(whole) * 1_000_000n + BigInt(Math.floor((ms - whole) * 1e6));
}

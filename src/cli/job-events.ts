/**
 * What happens in a cluster over the hosts of a job: the events that each of them tells, what is past in order of time,
 * then as it comes.
 */

import { LodgeError } from '../errors.ts';
import { type JobHost, linesOn, startVerb } from '../server/job.ts';
import { interruptible } from './interruptible.ts';

/** As a host tells it; `timeNs` is of its own clock. */
export interface EventRecord {
  time: string;
  timeNs: string;
  kind: string;
  subject: string;
  text: string;
}

export type HostEvent = EventRecord & { host: string };

/** Events of several hosts as one list in the order of their clocks; of one time, in the order of the hosts. */
export function inOrderOfTime(events: readonly (readonly HostEvent[])[]): HostEvent[] {
  return events.flat().sort((a, b) => {
    const [first, second] = [BigInt(a.timeNs), BigInt(b.timeNs)];
    return first < second ? -1 : first > second ? 1 : 0;
  });
}

/**
 * What a host's log has after what it has told already.
 * @param told all that there was, oldest first
 * @returns from which time on it is to be read, and which of what then comes is new: the log may have several events
 *   of the last time, some of them told and some not
 */
export function afterwards(told: readonly EventRecord[]): {
  since: string | undefined;
  isNew(event: EventRecord): boolean;
} {
  const since = told.at(-1)?.timeNs;
  let left = told.filter(({ timeNs }) => timeNs === since).length;
  return { since, isNew: ({ timeNs }) => timeNs !== since || left-- <= 0 };
}

/** All events that the hosts have told so far, oldest first. @param words of the verb that shows them on one host */
export async function eventsOn(hosts: readonly JobHost[], words: readonly string[]): Promise<HostEvent[][]> {
  return Promise.all(
    hosts.map(async (host) => {
      const lines = await linesOn(host, words, { cwd: '/', input: '' });
      return lines.map((line) => ({ ...(JSON.parse(line) as EventRecord), host: host.name }));
    }),
  );
}

/**
 * Shows what is past, and follows the events of several hosts until this command is ended, or no host tells any more.
 * @param words of the verb that shows them on one host
 * @param show is given each event; of what is not past yet, as it comes
 * @throws LodgeError that of a host on which it cannot be done
 */
export async function followOn(
  hosts: readonly JobHost[],
  words: readonly string[],
  show: (event: HostEvent) => void,
): Promise<void> {
  const interrupt = interruptible((name) => new LodgeError('usage', `ended by ${name}`));
  try {
    const past = await eventsOn(hosts, words);
    inOrderOfTime(past).forEach(show);
    const followers = hosts.map((host, i) => follow(host, words, past[i]!, interrupt.signal, show));
    const closeAll = (): void => {
      for (const { close } of followers) close();
    };
    interrupt.signal.addEventListener('abort', closeAll);
    if (interrupt.signal.aborted) closeAll();
    await Promise.all(followers.map(({ end }) => end)).finally(closeAll);
  } catch (error) {
    if (!interrupt.signal.aborted) throw error;
  } finally {
    interrupt.stop();
  }
}

function follow(
  host: JobHost,
  words: readonly string[],
  told: readonly EventRecord[],
  signal: AbortSignal,
  show: (event: HostEvent) => void,
): { end: Promise<void>; close(): void } {
  const { since, isNew } = afterwards(told);
  // A later --since wins over one that was asked for.
  const from = since === undefined ? [] : ['--since', since];
  const session = startVerb(host, ['--json', ...words, ...from, '--follow'], '/');
  const decoder = new TextDecoder();
  let unread = '';
  let complaint = '';
  session.output('stdout', (bytes) => {
    const lines = (unread + decoder.decode(bytes, { stream: true })).split('\n');
    unread = lines.pop()!;
    for (const line of lines) {
      const event = JSON.parse(line) as EventRecord;
      if (isNew(event)) show({ ...event, host: host.name });
    }
  });
  session.output('stderr', (bytes) => {
    complaint = (complaint + bytes.toString()).slice(-4000);
  });
  const end = session.end.then(({ code }) => {
    if (code === 0 || signal.aborted) return;
    throw new LodgeError('host-agent', `the events of ${host.name} cannot be followed`, {
      ...(complaint === '' ? {} : { detail: complaint.trim() }),
    });
  });
  return { end, close: () => session.close() };
}

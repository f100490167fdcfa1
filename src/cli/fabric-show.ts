/** What `lodge fabric` shows: links, the matrix, events. */

import type { JobCluster } from '../cluster/engine/rendezvous.ts';
import { followEvents, readEvents } from '../cluster/event-log.ts';
import {
  type ClusterEvent,
  type EventFilter,
  type EventKind,
  eventKinds,
  eventRow,
  eventTime,
  ofMs,
  parseMomentNs,
} from '../cluster/events.ts';
import { requireLink } from '../cluster/fabric-change.ts';
import { clusterDir } from '../cluster/state.ts';
import { LodgeError } from '../errors.ts';
import { onlyBridges } from '../fabric/bridge/devices.ts';
import { dropLines, linkRows, matrixRecord, matrixRows } from '../fabric/matrix-text.ts';
import type { FabricPlan } from '../fabric/plan.ts';
import { prometheusText } from '../fabric/prometheus.ts';
import { expandHostList } from '../host-list.ts';
import { nearest } from '../nearest.ts';
import { thisJobId } from '../server/locate.ts';
import { endWithReader } from './end-with-reader.ts';
import type { ClusterFlag, EventFlags } from './fabric.ts';
import { fabricOf } from './fabric-access.ts';
import { interruptible } from './interruptible.ts';
import type { EventRecord, HostEvent } from './job-events.ts';
import { hostClusterNamed, jobClusterNamed } from './job-names.ts';
import { printJson } from './print-json.ts';
import { table } from './table.ts';

type Events = EventFlags & { json: boolean };
type Shown = ClusterFlag & { json: boolean; prometheus?: boolean };

/**
 * The names of links that texts stand for: ranges (`lan/v[01-04]`), and `*` for any part of a name.
 * @throws LodgeError `no-such-link`
 */
export function linksNamed(texts: readonly string[], plan: FabricPlan): string[] {
  const all = plan.networks.flatMap(({ ports, links }) => [...ports, ...links].map(({ link }) => link.name));
  const names = texts.flatMap((text) =>
    expandHostList(text).flatMap((name) => {
      if (!name.includes('*')) return [requireLink(plan, name).name];
      const pattern = new RegExp(`^${name.split('*').map(escaped).join('.*')}$`);
      const found = all.filter((one) => pattern.test(one));
      if (found.length > 0) return found;
      throw new LodgeError('no-such-link', `no link in cluster '${plan.name}' is like '${name}'`, {
        fix: `lodge fabric links shows all ${all.length}`,
      });
    }),
  );
  return [...new Set(names)];
}

function escaped(text: string): string {
  return text.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&');
}

function requireOneFormat({ json, prometheus }: Shown): void {
  if (!json || prometheus !== true) return;
  throw new LodgeError('usage', '--json and --prometheus are two formats of the same', {
    fix: 'leave one of them out',
  });
}

export async function showLinks(texts: readonly string[], flags: Shown): Promise<void> {
  requireOneFormat(flags);
  const fabric = await fabricOf(flags);
  const { cluster, plan } = fabric;
  const links = await fabric.links(texts.length === 0 ? undefined : linksNamed(texts, plan));
  if (flags.prometheus === true) {
    const status = await fabric.status();
    process.stdout.write(prometheusText({ cluster, links, ...(status === undefined ? {} : { status }) }));
  } else if (flags.json) printJson(links);
  else {
    const causes = dropLines(links);
    process.stdout.write(
      table(linkRows(links)) + ['', ...causes].join('\n') + (causes.length > 0 ? '\n' : ''),
    );
  }
}

export async function showMatrix(flags: Shown & { window?: string; reset?: boolean }): Promise<void> {
  requireOneFormat(flags);
  const fabric = await fabricOf(flags);
  const { cluster, plan } = fabric;
  const bridged = onlyBridges(plan).networks.map(({ name }) => name);
  if (bridged.length > 0) {
    process.stderr.write(
      `lodge: not in the matrix: ${bridged.join(', ')}. A bridge of the kernel counts links, not pairs: lodge fabric links\n`,
    );
  }
  if (flags.reset === true && flags.window === undefined) {
    throw new LodgeError('usage', '--reset begins a window again, and none is named', {
      fix: '--window NAME --reset',
    });
  }
  const matrix = await fabric.matrix({
    ...(flags.window === undefined ? {} : { window: flags.window }),
    ...(flags.reset === true ? { reset: true } : {}),
  });
  if (flags.window !== undefined && flags.reset !== true && matrix.sinceNs === 0) {
    process.stderr.write(
      `lodge: window '${flags.window}' was never begun (--reset begins it): this is since the fabric began\n`,
    );
  }
  if (flags.prometheus === true) process.stdout.write(prometheusText({ cluster, links: [], matrix }));
  else if (flags.json) printJson(matrixRecord(matrix));
  else process.stdout.write(table(matrixRows(matrix)));
}

export async function showEvents(flags: Events): Promise<void> {
  const sinceNs =
    flags.since === undefined
      ? undefined
      : parseMomentNs(flags.since, ofMs(Date.now()), `--since ${flags.since}`);
  const stopWatching = flags.follow === true ? endWithReader() : () => {};
  try {
    await showEventsOf(jobClusterNamed(flags.cluster), flags, sinceNs);
  } finally {
    stopWatching();
  }
}

async function showEventsOf(
  ofJob: JobCluster | undefined,
  flags: Events,
  sinceNs: bigint | undefined,
): Promise<void> {
  if (ofJob !== undefined) {
    await showJobEvents(ofJob, flags, sinceNs);
    return;
  }
  const cluster = hostClusterNamed(flags.cluster);
  const { subject } = flags;
  const filter: EventFilter = {
    sinceNs,
    ...(flags.kind === undefined ? {} : { kinds: new Set(flags.kind.split(',').map(eventKind)) }),
    ...(subject === undefined
      ? {}
      : { subject: (text: string) => text === subject || text.endsWith(`/${subject}`) }),
  };
  const show = (event: ClusterEvent): void => {
    process.stdout.write(
      flags.json ? `${JSON.stringify(eventRecord(event))}\n` : `${eventRow(event).join('  ')}\n`,
    );
  };
  const directory = clusterDir(cluster);
  if (flags.follow !== true) {
    const events = await readEvents(directory, filter);
    if (flags.json) for (const event of events) show(event);
    else process.stdout.write(table(events.map(eventRow)));
    return;
  }
  const interrupt = interruptible((name) => new LodgeError('usage', `ended by ${name}`));
  for await (const event of followEvents(directory, filter, interrupt.signal)) show(event);
  interrupt.stop();
}

/** Events of all hosts of a cluster of this job, in the order of their clocks. */
async function showJobEvents(
  { plan, hostOfGuest }: JobCluster,
  flags: Events,
  sinceNs: bigint | undefined,
): Promise<void> {
  const { openJob } = await import('../server/job.ts');
  const { hosts } = await openJob(thisJobId());
  const used = new Set(Object.values(hostOfGuest));
  const words = [
    ...['fabric', 'events', '--cluster', plan.name],
    ...(flags.subject === undefined ? [] : ['--subject', flags.subject]),
    ...(flags.kind === undefined ? [] : ['--kind', flags.kind]),
    ...(sinceNs === undefined ? [] : ['--since', String(sinceNs)]),
  ];
  const there = hosts.filter(({ name }) => used.has(name));
  const { eventsOn, followOn, inOrderOfTime } = await import('./job-events.ts');
  const row = ({ time, host, kind, subject, text }: HostEvent): string[] => [time, host, kind, subject, text];
  const jsonLine = (event: HostEvent): string => `${JSON.stringify(event)}\n`;
  if (flags.follow === true) {
    await followOn(there, words, (event) => {
      process.stdout.write(flags.json ? jsonLine(event) : table([row(event)]));
    });
    return;
  }
  const events = inOrderOfTime(await eventsOn(there, words));
  process.stdout.write(flags.json ? events.map(jsonLine).join('') : table(events.map(row)));
}

function eventRecord({ timeNs, kind, subject, text }: ClusterEvent): EventRecord {
  return { time: eventTime(timeNs), timeNs: String(timeNs), kind, subject, text };
}

function eventKind(text: string): EventKind {
  const kinds: readonly string[] = eventKinds;
  if (kinds.includes(text)) return text as EventKind;
  const near = nearest(text, kinds);
  throw new LodgeError('usage', `'${text}' is not a kind of event`, {
    where: '--kind',
    fix: near === undefined ? `kinds: ${kinds.join(', ')}` : `did you mean '${near}'?`,
  });
}

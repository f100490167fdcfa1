/** From what a cluster is to what it should be: ordered steps. Pure; with nothing to do there are none but `keep`. */

import type { FabricPlan, LinkPlan, PortLimits, PortPlan } from '../fabric/plan.ts';
import { formatShape } from '../fabric/shape.ts';
import type { GuestStatus } from '../guest/state.ts';
import { canonicalJson } from './canonical.ts';
import { guestChanges, type KeyChange } from './guest-changes.ts';
import type { ClusterPlan, PlannedGuest } from './plan.ts';
import { formatUplinkRule } from './uplink-rule.ts';

/** A guest of the cluster as it was found. */
export interface ActualGuest {
  fullName: string;
  status: GuestStatus;
  /** Of the plan it was started from; none when that is of no cluster. */
  digest?: string;
  /** Of the names and keys it was given; none before it was given any. */
  filesDigest?: string;
}

export interface ActualCluster {
  guests: readonly ActualGuest[];
  /** The fabric as it is, with what was changed while it ran. */
  fabric?: FabricPlan;
  /** Guests as they were planned when the cluster was last made what its spec said. */
  planned?: readonly PlannedGuest[];
}

export interface LinkChanges {
  added: string[];
  removed: string[];
  changed: string[];
  /** What changes of those in `changed`, by their names. */
  how: Record<string, string>;
}

export type Step =
  | { kind: 'remove'; guest: string }
  | ({ kind: 'fabric'; isNew: boolean } & LinkChanges)
  | { kind: 'start'; guest: string }
  /** `changes` where it is known what the guest that is there was started from. */
  | { kind: 'replace'; guest: string; why: 'changed' | 'ended'; changes?: KeyChange[] }
  /** It is on its way up, as it should be: somebody has to wait for it. */
  | { kind: 'await'; guest: string }
  | { kind: 'keep'; guest: string }
  /** Names and keys of the cluster are written in the guest; after it runs. */
  | { kind: 'set-up'; guest: string };

/**
 * The steps, in the order in which they are to be done: first what makes room, then the fabric, then guests.
 * @param filesDigest what {@link ActualGuest.filesDigest} should be, by full name; of guests with an agent only
 */
export function diffCluster(
  desired: ClusterPlan,
  actual: ActualCluster,
  filesDigest: ReadonlyMap<string, string>,
): Step[] {
  const wanted = new Set(desired.guests.map((guest) => guest.fullName));
  const found = new Map(actual.guests.map((guest) => [guest.fullName, guest]));
  const steps: Step[] = actual.guests
    .filter((guest) => !wanted.has(guest.fullName))
    .map((guest) => ({ kind: 'remove', guest: guest.fullName }));
  const links = diffFabric(actual.fabric, desired.fabric);
  if (links !== undefined) steps.push({ kind: 'fabric', isNew: actual.fabric === undefined, ...links });
  const setUps: Step[] = [];
  const planned = new Map(actual.planned?.map((guest) => [guest.fullName, guest]));
  for (const desiredGuest of desired.guests) {
    const { fullName: guest } = desiredGuest;
    const there = found.get(guest);
    const step = guestStep(desiredGuest, there, planned.get(guest));
    steps.push(step);
    const files = filesDigest.get(guest);
    const isSame = step.kind === 'keep' && there?.filesDigest === files;
    if (files !== undefined && !isSame) setUps.push({ kind: 'set-up', guest });
  }
  return [...steps, ...setUps];
}

function guestStep(
  desired: PlannedGuest,
  there: ActualGuest | undefined,
  planned: PlannedGuest | undefined,
): Step {
  const { fullName: guest, digest } = desired;
  if (there === undefined) return { kind: 'start', guest };
  if (there.digest !== digest) {
    const isKnown = planned !== undefined && planned.digest === there.digest;
    return {
      kind: 'replace',
      guest,
      why: 'changed',
      ...(isKnown ? { changes: guestChanges(planned, desired) } : {}),
    };
  }
  switch (there.status) {
    case 'running':
      return { kind: 'keep', guest };
    case 'starting':
      return { kind: 'await', guest };
    default:
      return { kind: 'replace', guest, why: 'ended' };
  }
}

/** Whether there is anything to be done. */
export function isNothing(steps: readonly Step[]): boolean {
  return steps.every((step) => step.kind === 'keep');
}

/** The links that differ; undefined when the fabrics are the same. */
export function diffFabric(actual: FabricPlan | undefined, desired: FabricPlan): LinkChanges | undefined {
  if (actual !== undefined && canonicalJson(actual) === canonicalJson(desired)) return undefined;
  const before = actual === undefined ? new Map<string, LinkFacts>() : linksOf(actual);
  const after = linksOf(desired);
  const changed = [...after].flatMap(([name, link]): [string, string][] => {
    const was = before.get(name);
    return was === undefined || canonicalJson(was) === canonicalJson(link)
      ? []
      : [[name, linkChange(was, link)]];
  });
  return {
    added: [...after.keys()].filter((name) => !before.has(name)),
    removed: [...before.keys()].filter((name) => !after.has(name)),
    changed: changed.map(([name]) => name),
    how: Object.fromEntries(changed),
  };
}

/** All there is to a link. */
interface LinkFacts {
  link: LinkPlan;
  /** Of a port. What a link between switches joins is in its name. */
  end: PortPlan['end'] | undefined;
  switch: string | undefined;
  limits: PortLimits | undefined;
  mtuBytes: number;
  subnet: string;
}

function linksOf({ networks }: FabricPlan): Map<string, LinkFacts> {
  return new Map(
    networks.flatMap(({ ports, links, switches, mtuBytes, subnet }) => [
      ...ports.map(({ link, switch: at, limits, end }): [string, LinkFacts] => [
        link.name,
        { link, end, switch: switches[at], limits, mtuBytes, subnet },
      ]),
      ...links.map(({ link }): [string, LinkFacts] => [
        link.name,
        { link, end: undefined, switch: undefined, limits: undefined, mtuBytes, subnet },
      ]),
    ]),
  );
}

/** What of a link is not as it was: `out 10ms → 20ms, healed`. */
function linkChange(before: LinkFacts, after: LinkFacts): string {
  const differs = (key: keyof LinkFacts): boolean =>
    canonicalJson(before[key] ?? null) !== canonicalJson(after[key] ?? null);
  const shapes = (['out', 'in'] as const).flatMap((direction) => {
    const [was, is] = [before.link[direction], after.link[direction]];
    if (canonicalJson(was) === canonicalJson(is)) return [];
    const [old, text] = [formatShape(was), formatShape(is)];
    return [old === text ? `${direction} queue` : `${direction} ${old} → ${text}`];
  });
  const { capture, isCut } = after.link;
  const captures = canonicalJson(before.link.capture ?? null) !== canonicalJson(capture ?? null);
  return [
    ...shapes,
    ...(before.link.isCut === isCut ? [] : [isCut ? 'cut' : 'healed']),
    ...(captures ? [capture === undefined ? 'no capture' : 'capture'] : []),
    ...(differs('switch') ? [`switch ${before.switch} → ${after.switch}`] : []),
    ...(differs('mtuBytes') ? [`mtu ${before.mtuBytes} → ${after.mtuBytes}`] : []),
    ...(differs('subnet') ? [`subnet ${before.subnet} → ${after.subnet}`] : []),
    ...(differs('limits') ? ['limits'] : []),
    ...(differs('end') ? endChange(before.end, after.end) : []),
  ].join(', ');
}

/** What of the end of a port is not as it was. */
function endChange(before: LinkFacts['end'], after: LinkFacts['end']): string[] {
  const changed = (what: string, was: string, is: string): string[] =>
    was === is ? [] : [`${what} ${was} → ${is}`];
  if (before?.kind === 'guest' && after?.kind === 'guest') {
    const { address, mac } = after.interface;
    const found = [
      ...changed('address', before.interface.address, address),
      ...changed('mac', before.interface.mac, mac),
    ];
    return found.length > 0 ? found : ['its interface'];
  }
  if (before?.kind !== 'uplink' || after?.kind !== 'uplink') return ['its end'];
  const rules = ({ allow }: typeof after): string => allow.map(formatUplinkRule).join('; ');
  const found = [
    ...changed('gateway', before.gateway, after.gateway),
    ...changed('allow', rules(before), rules(after)),
  ];
  return found.length > 0 ? found : ['its end'];
}

/** All links of a fabric, those of ports first. */
export function allLinks(fabric: FabricPlan): LinkPlan[] {
  return fabric.networks.flatMap((network) => [...network.ports, ...network.links].map(({ link }) => link));
}

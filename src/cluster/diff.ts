/** From what a cluster is to what it should be: ordered steps. Pure; with nothing to do there are none but `keep`. */

import type { FabricPlan, LinkPlan, NetworkPlan } from '../fabric/plan.ts';
import type { GuestStatus } from '../guest/state.ts';
import { canonicalJson } from './canonical.ts';
import type { ClusterPlan } from './plan.ts';

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
}

export interface LinkChanges {
  added: string[];
  removed: string[];
  changed: string[];
}

export type Step =
  | { kind: 'remove'; guest: string }
  | ({ kind: 'fabric'; isNew: boolean } & LinkChanges)
  | { kind: 'start'; guest: string }
  | { kind: 'replace'; guest: string; why: 'changed' | 'ended' }
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
  for (const { fullName: guest, digest } of desired.guests) {
    const there = found.get(guest);
    const step = guestStep(guest, digest, there);
    steps.push(step);
    const files = filesDigest.get(guest);
    const isSame = step.kind === 'keep' && there?.filesDigest === files;
    if (files !== undefined && !isSame) setUps.push({ kind: 'set-up', guest });
  }
  return [...steps, ...setUps];
}

function guestStep(guest: string, digest: string, there: ActualGuest | undefined): Step {
  if (there === undefined) return { kind: 'start', guest };
  if (there.digest !== digest) return { kind: 'replace', guest, why: 'changed' };
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
  const before = actual === undefined ? new Map<string, string>() : linksOf(actual);
  const after = linksOf(desired);
  return {
    added: [...after.keys()].filter((name) => !before.has(name)),
    removed: [...before.keys()].filter((name) => !after.has(name)),
    changed: [...after]
      .filter(([name, text]) => before.has(name) && before.get(name) !== text)
      .map(([name]) => name),
  };
}

/** What there is to a link, in one text, by its name. */
function linksOf(fabric: FabricPlan): Map<string, string> {
  return new Map(
    fabric.networks.flatMap((network) =>
      [...network.ports, ...network.links].map(({ link, ...rest }): [string, string] => [
        link.name,
        canonicalJson({ link, ...rest, ...sharedBy(network) }),
      ]),
    ),
  );
}

/** What a network's links have of it. */
function sharedBy({ mtuBytes, subnet }: NetworkPlan): Partial<NetworkPlan> {
  return { mtuBytes, subnet };
}

/** All links of a fabric, those of ports first. */
export function allLinks(fabric: FabricPlan): LinkPlan[] {
  return fabric.networks.flatMap((network) => [...network.ports, ...network.links].map(({ link }) => link));
}

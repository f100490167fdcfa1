/** Looks at what the plan of a cluster needs to know: its spec's files, and what each kind of guest gets on this host. */

import { readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { type LocatedDocument, readDocument } from '../document.ts';
import { LodgeError, retold } from '../errors.ts';
import { onlyBridges } from '../fabric/bridge/devices.ts';
import { lookAtBridges } from '../fabric/bridge/look.ts';
import { requireBridges } from '../fabric/bridge/requirements.ts';
import { compileFilter } from '../fabric/capture/filter.ts';
import type { FabricPlan } from '../fabric/plan.ts';
import { aloneOnHost } from '../guest/alone.ts';
import type { Membership } from '../guest/interface.ts';
import type { GuestPlan } from '../guest/plan.ts';
import { asksPlacement, isOnBridge } from '../guest/planner.ts';
import { checkLook, type GuestLook, lookForGuest, planFromLook } from '../guest/resolve.ts';
import type { GuestSpec } from '../guest/spec.ts';
import { guestsDir, requireShortPaths } from '../guest/state.ts';
import { thisUser } from '../guest/user.ts';
import { requireSources } from '../guest/volume-sources.ts';
import type { Store } from '../image/store.ts';
import { type AsGraph, parseAsGraph } from './as-graph.ts';
import { canonicalJson, digestOf } from './canonical.ts';
import type { Step } from './diff.ts';
import { type Pressure, parsePressure } from './governor.ts';
import { memoryByNode, withoutMemoryOf } from './huge-pages.ts';
import { placedFault } from './placed-fault.ts';
import {
  type ClusterOutline,
  type ClusterPlan,
  clusterNameOf,
  completeCluster,
  type FoundForGuest,
  type OutlinedGuest,
  outlineCluster,
  type PlannedGuest,
  readClusterSpec,
} from './plan.ts';
import type { CaptureSpec, ClusterSpec, MemberSpec } from './spec.ts';
import { readClusterPlan } from './state.ts';

export interface LookOptions {
  store: Store;
  onProgress: (text: string) => void;
  cwd: string;
}

/** What a cluster is given beside what its spec says. */
export interface ClusterExtension {
  document(document: LocatedDocument<ClusterSpec>): LocatedDocument<ClusterSpec>;
  outline(outline: ClusterOutline): ClusterOutline;
}

/** What decides what a guest gets on a host: guests that are alike get the same. */
export interface AskedGuest {
  spec: GuestSpec;
  /** Whether it is in a network that is a bridge of the kernel. */
  isOnBridge: boolean;
}

export function askedGuest({ spec, interfaces }: Pick<PlannedGuest, 'spec' | 'interfaces'>): AskedGuest {
  return { spec, isOnBridge: isOnBridge({ interfaces }) };
}

/** What this host has for the guests of a cluster. */
export interface HostLook {
  /** Which accelerator and image such a guest gets here. */
  find(guest: AskedGuest): Promise<FoundForGuest>;
  /**
   * The plan of a guest to be started; each call is another guest, and gets CPUs of its own where it is pinned.
   * @param before plans of guests that are to be started, too, and are not yet: what they will hold is not free
   */
  guestPlan(cluster: string, guest: PlannedGuest, before?: readonly GuestPlan[]): Promise<GuestPlan>;
  /** What it would be if no other guest were there. */
  alonePlan(cluster: string, guest: PlannedGuest): Promise<GuestPlan>;
}

export interface ClusterLook {
  plan: ClusterPlan;
  /** The plan of one of its guests: see {@link HostLook.guestPlan}. */
  guestPlan(guest: PlannedGuest, before?: readonly GuestPlan[]): Promise<GuestPlan>;
  /**
   * Whether guests that are to be started find the directories that they share; one that runs has them.
   * @param starting full names
   * @throws LodgeError `share-unusable` with its place in the spec
   */
  requireSources(starting: ReadonlySet<string>): void;
}

/**
 * Reads a spec and completes it with what is found here; nothing is changed.
 * @throws LodgeError for what is wrong with the spec or cannot be had
 */
export async function lookAtCluster(
  file: string,
  options: LookOptions,
  extension?: ClusterExtension,
): Promise<ClusterLook> {
  // A cluster that is there keeps its directory, from wherever it is changed.
  const outline = await readOutline(file, (name) => readClusterPlan(name)?.cwd ?? options.cwd, extension);
  requireReachable(outline);
  await checkBridges(outline.fabric, outline.bridges);
  const look = lookHere({ ...options, cwd: outline.cwd });
  const found = new Map<string, FoundForGuest>();
  for (const guest of outline.guests) {
    const asked = askedGuest(guest);
    const key = canonicalJson(asked);
    if (!found.has(key)) found.set(key, await placed(guest, look.find(asked)));
  }
  const plan = completeCluster(outline, (guest) => found.get(canonicalJson(askedGuest(guest)))!);
  const outlined = new Map(outline.guests.map((guest) => [guest.name, guest]));
  return {
    plan,
    guestPlan: (guest, before) => placed(outlined.get(guest.name)!, look.guestPlan(plan.name, guest, before)),
    requireSources(starting) {
      for (const guest of plan.guests.filter(({ fullName }) => starting.has(fullName))) {
        try {
          requireSources(guest.spec, plan.cwd);
        } catch (error) {
          throw placedFault(error, outlined.get(guest.name)!);
        }
      }
    },
  };
}

/** @throws LodgeError `host-io` at the guest whose sockets would have too long a path */
function requireReachable({ guests }: ClusterOutline): void {
  const dir = guestsDir();
  for (const { fullName, where } of guests) {
    try {
      requireShortPaths(join(dir, fullName));
    } catch (error) {
      if (!(error instanceof LodgeError)) throw error;
      throw retold(error, { where, detail: error.where ?? '' });
    }
  }
}

/** What is found for a guest; faults of the spec with their places. */
async function placed<T>(guest: OutlinedGuest, finding: Promise<T>): Promise<T> {
  try {
    return await finding;
  } catch (error) {
    throw placedFault(error, guest);
  }
}

/**
 * Reads a spec and the files that it names.
 * @param cwdOf the working directory of the cluster of this name
 * @param job of Slurm that the cluster is in
 * @throws LodgeError for what is wrong with the spec
 */
export async function readOutline(
  file: string,
  cwdOf: (name: string) => string,
  extension?: ClusterExtension,
  job?: string,
): Promise<ClusterOutline> {
  const written = readClusterSpec(readDocument(file, file), file);
  const document = extension?.document(written) ?? written;
  const path = resolve(file);
  await checkFilters(document);
  const asGraphs = readAsGraphs(document, dirname(path));
  const cwd = cwdOf(clusterNameOf(document.value, path));
  const { home } = thisUser();
  const outline = outlineCluster({
    ...{ document, file: path, asGraphs, guestsDir: guestsDir(), cwd, home },
    ...(job === undefined ? {} : { job }),
  });
  return extension?.outline(outline) ?? outline;
}

/** Looks at this host for guests; what is asked twice is looked at once. */
export function lookHere(options: LookOptions): HostLook {
  const looks = new Map<string, Promise<GuestLook>>();
  const lookFor = (guest: AskedGuest): Promise<GuestLook> => {
    const key = canonicalJson(guest);
    const known = looks.get(key);
    if (known !== undefined) return known;
    const { spec, isOnBridge: onBridge } = guest;
    const look = lookForGuest(spec, options, { hasInterfaces: true, isOnBridge: onBridge });
    // Those with a placement are given what others have left.
    if (!asksPlacement(spec)) looks.set(key, look);
    return look;
  };
  const givenCpus: number[] = [];
  let last: Promise<unknown> = Promise.resolve();
  return {
    async find(guest) {
      const { spec } = guest;
      const look = await lookFor(guest);
      checkLook(look);
      const { accelerator, image } = look;
      return {
        accelerator,
        imageId: image.kind === 'linux' ? image.id : digestOf([image, filesOf(spec)]),
        hasAgent: image.kind === 'linux',
      };
    },
    guestPlan(clusterName, guest, before = []) {
      const plan = async (): Promise<GuestPlan> => {
        const look = lookBeside(await lookFor(askedGuest(guest)), before);
        const takenCpus = [...look.takenCpus, ...givenCpus];
        const planned = besideOthers(before, () =>
          planFromLook({ ...look, takenCpus }, memberOf(clusterName, guest)),
        );
        givenCpus.push(...planned.layout.vcpus.flatMap(({ hostCpus }) => hostCpus));
        return planned;
      };
      if (!asksPlacement(guest.spec)) return plan();
      // One after the other: guests are started at once, and nobody knows of another's CPUs before it is.
      const planned = last.then(plan);
      last = planned.catch(() => {});
      return planned;
    },
    async alonePlan(clusterName, guest) {
      return planFromLook(aloneOnHost(await lookFor(askedGuest(guest))), memberOf(clusterName, guest));
    },
  };
}

/** What is left of the host for a guest when others have what they were planned to have. */
function lookBeside(look: GuestLook, before: readonly GuestPlan[]): GuestLook {
  return look.machine === undefined ? look : { ...look, machine: withoutMemoryOf(look.machine, before) };
}

/** Where memory is short because of guests that were planned before, says so. */
function besideOthers<T>(before: readonly GuestPlan[], plan: () => T): T {
  try {
    return plan();
  } catch (error) {
    const held = memoryByNode(before);
    const isOfMemory = error instanceof LodgeError && ['pages', 'memory'].includes(String(error.asked?.[0]));
    if (!isOfMemory || held.length === 0) throw error;
    throw retold(error, { detail: ['guests that are to be started before it have', ...held].join('\n') });
  }
}

function memberOf(
  clusterName: string,
  { fullName, name, interfaces, routes, forward, digest }: PlannedGuest,
): { member: Membership } {
  const cluster = { name: clusterName, digest };
  return { member: { name: fullName, hostname: name, interfaces, hosts: [], routes, forward, cluster } };
}

/**
 * Plans guests that are pinned or want pages of their own before the first of them is started, each beside those before
 * it: so what is not there for all of them is refused in time. Where guests are ended first, what these hold is not free yet, and is looked at
 * when it is.
 * @throws LodgeError for what cannot be had
 */
export async function planPlaced(
  guests: readonly PlannedGuest[],
  steps: readonly Step[],
  guestPlan: (guest: PlannedGuest, before: readonly GuestPlan[]) => Promise<GuestPlan>,
): Promise<(guest: PlannedGuest) => Promise<GuestPlan>> {
  const plans = new Map<string, GuestPlan>();
  const isFirst = !steps.some(({ kind }) => kind === 'remove' || kind === 'replace');
  const starting = new Set(steps.flatMap((step) => (step.kind === 'start' ? [step.guest] : [])));
  for (const guest of guests) {
    if (!isFirst || !starting.has(guest.fullName) || !asksPlacement(guest.spec)) continue;
    plans.set(guest.fullName, await guestPlan(guest, [...plans.values()]));
  }
  return async (guest) => plans.get(guest.fullName) ?? (await guestPlan(guest, []));
}

/**
 * Whether this host can have the bridges of a fabric.
 * @param places of the networks in the spec, where it is there
 * @throws LodgeError `bridge-unmet`, `missing-program`, before anything is started
 */
export async function checkBridges(
  fabric: FabricPlan,
  places: ReadonlyMap<string, string> = new Map(),
): Promise<void> {
  if (onlyBridges(fabric).networks.length === 0) return;
  requireBridges(fabric, await lookAtBridges(), (network) => places.get(network));
}

/** Long enough for any frame: only whether it is a filter is looked at. */
const anySnapBytes = 65_535;

/** @throws LodgeError `spec-value` for what is no capture filter, with its place; `missing-program` */
async function checkFilters({ value, locate }: LocatedDocument<ClusterSpec>): Promise<void> {
  const places = new Map<string, string>();
  const note = (capture: CaptureSpec | undefined, ...path: string[]): void => {
    const filter = typeof capture === 'object' ? capture.filter : undefined;
    if (filter !== undefined && !places.has(filter))
      places.set(filter, locate([...path, 'capture', 'filter']));
  };
  for (const [network, { capture, members }] of Object.entries(value.fabric ?? {})) {
    note(capture, 'fabric', network);
    if (Array.isArray(members)) continue;
    for (const [name, member] of Object.entries(members as Record<string, MemberSpec | null>)) {
      note(member?.capture, 'fabric', network, 'members', name);
    }
  }
  for (const [filter, where] of places) await compileFilter(filter, anySnapBytes, where);
}

/**
 * The graphs that topologies name, by what was written after `as-graph:`.
 * @param directory what their paths are relative to
 * @throws LodgeError `usage`, `spec-value` at the topology that names a file which cannot be read, or is no graph
 */
export function readAsGraphs(
  { value, locate }: LocatedDocument<ClusterSpec>,
  directory: string,
): Map<string, AsGraph> {
  const graphs = new Map<string, AsGraph>();
  for (const [network, { topology }] of Object.entries(value.fabric ?? {})) {
    if (topology?.kind !== 'as-graph' || graphs.has(topology.file)) continue;
    const path = resolve(directory, topology.file);
    try {
      graphs.set(topology.file, parseAsGraph(readDocument(path, path), path));
    } catch (error) {
      if (!(error instanceof LodgeError)) throw error;
      throw retold(error, {
        message: `the graph of network '${network}': ${error.where}: ${error.message}`,
        where: locate(['fabric', network, 'topology']),
      });
    }
  }
  return graphs;
}

/** Sizes and times of the files that a spec names: a guest boots from them as they are. */
function filesOf({ image, kernel }: GuestSpec): unknown[] {
  const paths = typeof image === 'string' ? [image] : [image.kernel, image.initrd];
  return [...paths, kernel].map((path) => {
    const stats = path === undefined ? undefined : statSync(path, { throwIfNoEntry: false });
    return stats === undefined ? null : [stats.size, stats.mtimeMs];
  });
}

/** How much this machine waits now; nothing where its kernel does not tell. */
export function readPressure(): Pressure {
  const [cpu, memory] = ['cpu', 'memory'].map((name) => {
    try {
      return readFileSync(`/proc/pressure/${name}`, 'utf8');
    } catch {
      return undefined;
    }
  });
  const [cpuSome, memoryFull] = [parsePressure(cpu, 'some'), parsePressure(memory, 'full')];
  return {
    ...(cpuSome === undefined ? {} : { cpuSome }),
    ...(memoryFull === undefined ? {} : { memoryFull }),
  };
}

/** Memory that a process and all that it started have now; 0 when it is gone. Format: proc(5). */
export function residentMemoryBytes(pid: number): number {
  try {
    const kibibytes = Number(
      /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0,
    );
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
    return children.reduce(
      (sum, child) => sum + (child > 0 ? residentMemoryBytes(child) : 0),
      kibibytes * 1024,
    );
  } catch {
    return 0;
  }
}

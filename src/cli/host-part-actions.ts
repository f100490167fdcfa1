/** What `host-part` does. */

import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { applySteps, stepsTo } from '../cluster/apply.ts';
import { requireSeen } from '../cluster/checkpoint/files.ts';
import { requireSavable } from '../cluster/checkpoint/plan.ts';
import type { Step } from '../cluster/diff.ts';
import { bootRoom, usableCpuCount } from '../cluster/governor.ts';
import { clusterKeys, planSetUps } from '../cluster/guest-setup.ts';
import { lockCluster } from '../cluster/lock.ts';
import { checkBridges, type HostLook, lookHere, planPlaced, readPressure } from '../cluster/look.ts';
import { guestAt, type Places, placedFault } from '../cluster/placed-fault.ts';
import type { ClusterPlan, FoundForGuest } from '../cluster/plan.ts';
import { makeClusterDir, writeClusterSecret } from '../cluster/state.ts';
import { LodgeError } from '../errors.ts';
import type { GuestPlan } from '../guest/plan.ts';
import { listGuests, viewGuest } from '../guest/state.ts';
import { sweep } from '../guest/sweep.ts';
import { requireSources } from '../guest/volume-sources.ts';
import { openStore } from '../image/store.ts';
import { probeLimits } from '../machine/basics.ts';
import type { MachineBasics } from '../machine/machine.ts';
import { bodyOfError, type ErrorBody } from '../server/api.ts';
import { actionsFor, checkMemory, endCluster, residentBytes, startingIn } from './cluster-actions.ts';
import type { HostPartRequest } from './host-part.ts';

export interface LookAnswer {
  /** In the order of the guests that were asked for; up to the first for which there is nothing. */
  found: FoundForGuest[];
  /** Why there is nothing for that one. */
  fault?: ErrorBody;
  cpus: number;
  /** Left for guests. */
  memoryBytes: number;
  /** What the guests here have. */
  usedBytes: number;
  /** Of this job here, whatever is used of it. */
  totalBytes: number;
  /** Whether there is a default route, without which no uplink begins. */
  hasWayOut: boolean;
  /** As the host calls itself, which need not be what Slurm calls it. */
  hostName: string;
}

export interface StepsAnswer {
  steps: Step[];
}

export async function hostPartVerb(): Promise<void> {
  const lines = readLines();
  const first = await lines.next();
  const request = JSON.parse(first.value ?? 'null') as HostPartRequest | null;
  const answer = await act(request, lines);
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

async function act(request: HostPartRequest | null, input: AsyncGenerator<string>): Promise<object> {
  switch (request?.op) {
    case 'look':
      return look(request);
    case 'check':
    case 'apply':
      return apply(request);
    case 'down':
      return { guests: await endCluster(request.name, request.graceMs, tell) };
    case 'lock': {
      const lock = await lockCluster(request.name);
      tell('locked');
      await input.next();
      await lock.release();
      return {};
    }
    default:
      throw new LodgeError('usage', 'this is not what agents of a job send');
  }
}

async function look({ cwd, guests }: HostPartRequest & { op: 'look' }): Promise<LookAnswer> {
  const here = lookHere({ store: openStore(), onProgress: tell, cwd });
  const found: FoundForGuest[] = [];
  let fault: ErrorBody | undefined;
  for (const guest of guests) {
    try {
      found.push(await here.find(guest));
    } catch (error) {
      // Who asks has the spec, and tells the place.
      fault = bodyOfError(error);
      break;
    }
  }
  const basics = probeLimits();
  const usedBytes = listGuests().reduce((sum, guest) => sum + residentBytes(guest), 0);
  return {
    found,
    ...(fault === undefined ? {} : { fault }),
    cpus: usableCpuCount(basics),
    memoryBytes: basics.limits.availableMemoryBytes,
    usedBytes,
    totalBytes: lastingMemoryBytes(basics),
    hasWayOut: hasDefaultRoute(),
    hostName: hostname(),
  };
}

/** Memory of this job or host that does not change from moment to moment. */
export function lastingMemoryBytes({ memory, limits }: MachineBasics): number {
  return Math.min(memory.totalBytes, limits.memoryBytes ?? Number.POSITIVE_INFINITY);
}

/** Whether /proc/net/route has a line whose destination and mask are 0: proc(5). */
export function hasDefaultRoute(): boolean {
  try {
    const lines = readFileSync('/proc/net/route', 'latin1')
      .split('\n')
      .map((line) => line.split('\t'));
    return lines.some((fields) => fields[1] === '00000000' && fields[7] === '00000000');
  } catch {
    return false;
  }
}

async function apply({
  op,
  whole,
  part,
  secret,
  places,
  trial,
}: HostPartRequest & { op: 'check' | 'apply' }): Promise<StepsAnswer> {
  if (trial !== undefined) requireSeen(trial);
  await checkBridges(part.fabric);
  const store = openStore();
  await sweep(store);
  const keys = clusterKeys(whole.name, Buffer.from(secret, 'hex'));
  const setUps = planSetUps(whole, keys);
  const steps = stepsTo(part, setUps);
  checkMemory(part, steps);
  if (op === 'check') requireSourcesHere(part, steps, places);
  const here = lookHere({ store, onProgress: op === 'check' ? tell : () => {}, cwd: part.cwd });
  const guestPlan = await planPlaced(part.guests, steps, async (guest, before) => {
    try {
      return await here.guestPlan(part.name, guest, before);
    } catch (error) {
      throw placedFault(error, guestAt(places, guest.name));
    }
  });
  if (op === 'check') {
    if (whole.onEnd !== undefined) await requireSavableHere(part, steps, here);
    return { steps };
  }
  makeClusterDir(part.name);
  writeClusterSecret(part.name, secret);
  const basics = probeLimits();
  await applySteps({
    plan: part,
    steps,
    setUps,
    guestPlan,
    actions: actionsFor(whole, keys, store),
    room: () => bootRoom(usableCpuCount(basics), readPressure()),
    onProgress: ({ doing, ready }) => tell(`${ready} ${doing}`),
  });
  return { steps };
}

/** Whether guests that are to be started find the directories that they share. @throws LodgeError `share-unusable` */
function requireSourcesHere({ guests, cwd }: ClusterPlan, steps: readonly Step[], places: Places): void {
  const starting = startingIn(steps);
  for (const { name, spec } of guests.filter(({ fullName }) => starting.has(fullName))) {
    try {
      requireSources(spec, cwd);
    } catch (error) {
      throw placedFault(error, guestAt(places, name));
    }
  }
}

/** Whether all guests can be saved at the end of the job. @throws LodgeError `checkpoint` */
async function requireSavableHere(part: ClusterPlan, steps: readonly Step[], here: HostLook): Promise<void> {
  const starting = startingIn(steps);
  const plans = new Map<string, GuestPlan>();
  for (const guest of part.guests) {
    const there = starting.has(guest.fullName) ? undefined : viewGuest(guest.fullName)?.plan;
    plans.set(guest.name, there ?? (await here.alonePlan(part.name, guest)));
  }
  requireSavable(plans);
}

function tell(text: string): void {
  process.stderr.write(`${text}\n`);
}

async function* readLines(): AsyncGenerator<string> {
  let text = '';
  for await (const piece of process.stdin) {
    text += (piece as Buffer).toString();
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n')) {
      yield text.slice(0, at);
      text = text.slice(at + 1);
    }
  }
  if (text !== '') yield text;
}

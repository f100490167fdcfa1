/** Makes a cluster what its plan says, step by step; whatever was done before, and by whomever. */

import { setTimeout as delay } from 'node:timers/promises';
import { describeError, LodgeError } from '../errors.ts';
import type { GuestPlan } from '../guest/plan.ts';
import { type GuestView, viewGuest } from '../guest/state.ts';
import { foldHostList } from '../host-list.ts';
import { diffCluster, isNothing, type Step } from './diff.ts';
import type { ClusterEvent } from './events.ts';
import { bootCost, forEachBounded, runGoverned } from './governor.ts';
import type { GuestSetUp } from './guest-setup.ts';
import type { ClusterPlan, PlannedGuest } from './plan.ts';
import {
  actualGuest,
  guestsOf,
  makeClusterDir,
  readClusterPlan,
  readFabricPlan,
  writeClusterPlan,
  writeFilesDigest,
} from './state.ts';

/** What is done on the host, by whoever can. */
export interface ClusterActions {
  /** Starts a guest and resolves when it is ready. */
  startGuest(plan: GuestPlan): Promise<void>;
  /** Ends a guest, in good order where it can, and removes all it left. */
  removeGuest(guest: GuestView): Promise<void>;
  /** Writes names and keys in a guest that runs, and starts what needs them. */
  setUpGuest(guest: PlannedGuest, setUp: GuestSetUp): Promise<void>;
  /** Makes the fabric what the plan on disk says. */
  applyFabric(): Promise<void>;
  note(event: Omit<ClusterEvent, 'timeNs'>): Promise<void>;
}

export interface ApplyInput {
  plan: ClusterPlan;
  steps: readonly Step[];
  setUps: ReadonlyMap<string, GuestSetUp>;
  guestPlan(guest: PlannedGuest): Promise<GuestPlan>;
  actions: ClusterActions;
  /** What may boot at once, in CPUs; asked for before each boot. */
  room: () => number;
  onProgress(progress: ApplyProgress): void;
}

export interface ApplyProgress {
  doing: string;
  /** Guests to be started, and those that are ready. */
  guests: number;
  ready: number;
  /** Until all are, as far as it can be told. */
  leftMs?: number;
}

/** What is to be done to come from what there is to the plan. */
export function stepsTo(plan: ClusterPlan, setUps: ReadonlyMap<string, GuestSetUp>): Step[] {
  const fabric = readFabricPlan(plan.name);
  const guests = guestsOf(plan.name).map(actualGuest);
  const digests = new Map([...setUps].map(([name, { digest }]) => [name, digest]));
  const planned = readClusterPlan(plan.name)?.guests ?? [];
  return diffCluster(plan, { guests, planned, ...(fabric === undefined ? {} : { fabric }) }, digests);
}

/** Ends and set-ups at once: they wait more than they work. */
const mostAtOnce = 32;

/**
 * Does the steps. A guest that fails does not hold up the others.
 * @throws LodgeError `cluster-incomplete` with all that failed, after everything else was done
 */
export async function applySteps(input: ApplyInput): Promise<void> {
  const { plan, steps, actions } = input;
  if (isNothing(steps)) {
    // The fabric lives in the host agent: asked, it is there.
    await actions.applyFabric();
    return;
  }
  makeClusterDir(plan.name);
  writeClusterPlan(plan);
  const run = new Application(input);
  await actions.note({ kind: 'apply-began', subject: plan.name, text: describeSteps(steps) }).catch(() => {});
  try {
    await run.all();
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    await actions.note({ kind: 'apply-failed', subject: plan.name, text }).catch(() => {});
    throw error;
  }
  await actions
    .note({ kind: 'apply-ended', subject: plan.name, text: 'the cluster is as asked' })
    .catch(() => {});
}

class Application {
  readonly #input: ApplyInput;
  readonly #guests: Map<string, PlannedGuest>;
  readonly #failures = new Map<string, unknown>();
  readonly #progress: ApplyProgress;
  readonly #startedMs = Date.now();

  constructor(input: ApplyInput) {
    this.#input = input;
    this.#guests = new Map(input.plan.guests.map((guest) => [guest.fullName, guest]));
    const guests = input.steps.filter(
      ({ kind }) => kind === 'start' || kind === 'replace' || kind === 'await',
    ).length;
    this.#progress = { doing: 'starting', guests, ready: 0 };
  }

  async all(): Promise<void> {
    const { steps, actions, room } = this.#input;
    const leaving = steps.filter((step) => step.kind === 'remove' || step.kind === 'replace');
    this.#tell(leaving.length > 0 ? 'ending guests' : 'making the fabric');
    await forEachBounded(leaving, mostAtOnce, (step) =>
      this.#trying(step.guest, () => this.#remove(step.guest)),
    );
    if (leaving.length > 0) this.#tell('making the fabric');
    await actions.applyFabric();
    this.#tell('booting');
    const boots = steps.flatMap((step) =>
      step.kind === 'start' || step.kind === 'replace' || step.kind === 'await' ? [step] : [],
    );
    await runGoverned(
      boots.map((step) => ({
        cost: bootCost(this.#guests.get(step.guest)!.accelerator),
        run: () => this.#trying(step.guest, () => this.#bringUp(step)),
      })),
      room,
    );
    const booted = new Set(boots.map((step) => step.guest));
    const others = steps.flatMap((step) =>
      step.kind === 'set-up' && !booted.has(step.guest) ? [step.guest] : [],
    );
    if (others.length > 0) this.#tell('telling the others');
    await forEachBounded(others, mostAtOnce, (guest) => this.#trying(guest, () => this.#setUp(guest)));
    if (this.#failures.size > 0) throw this.#incomplete();
  }

  async #trying(guest: string, action: () => Promise<void>): Promise<void> {
    if (this.#failures.has(guest)) return;
    try {
      await action();
    } catch (error) {
      this.#failures.set(guest, error);
      const text = error instanceof Error ? error.message : String(error);
      await this.#input.actions
        .note({ kind: 'apply-step', subject: guest.slice(guest.indexOf('.') + 1), text })
        .catch(() => {});
    }
  }

  async #remove(guest: string): Promise<void> {
    const view = viewGuest(guest);
    if (view !== undefined) await this.#input.actions.removeGuest(view);
  }

  async #bringUp({ kind, guest }: { kind: 'start' | 'replace' | 'await'; guest: string }): Promise<void> {
    const planned = this.#guests.get(guest)!;
    if (kind !== 'await' || !(await comesUp(guest))) {
      // Left over by one that failed to come up meanwhile.
      if (kind === 'await') await this.#remove(guest);
      await this.#input.actions.startGuest(await this.#input.guestPlan(planned));
    }
    await this.#setUp(guest);
    this.#progress.ready++;
    this.#tell('booting');
  }

  async #setUp(guest: string): Promise<void> {
    const setUp = this.#input.setUps.get(guest);
    const view = viewGuest(guest);
    if (setUp === undefined || view === undefined) return;
    await this.#input.actions.setUpGuest(this.#guests.get(guest)!, setUp);
    writeFilesDigest(view.dir, setUp.digest);
  }

  #tell(doing: string): void {
    const { ready, guests } = this.#progress;
    const eachMs = (Date.now() - this.#startedMs) / ready;
    this.#progress.doing = doing;
    if (ready > 0) this.#progress.leftMs = eachMs * (guests - ready);
    this.#input.onProgress({ ...this.#progress });
  }

  #incomplete(): LodgeError {
    const failed = [...this.#failures];
    const names = failed.map(([guest]) => guest.slice(guest.indexOf('.') + 1));
    const shown = failed.slice(0, mostFailuresShown).map(([, error]) => error);
    const lines = shown.flatMap((error, i) =>
      describeError(error)
        .replace(/^lodge: /, '')
        .split('\n')
        .map((line, at) => (at === 0 ? `${names[i]}: ${line}` : line)),
    );
    const more = failed.length - shown.length;
    return new LodgeError(
      'cluster-incomplete',
      `${failed.length} of ${this.#input.plan.guests.length} guests are not as asked: ${foldHostList(names)}`,
      {
        detail: [...lines, ...(more > 0 ? [`and ${more} more`] : [])].join('\n'),
        fix: `the others run; mend what is told above, then: lodge apply ${this.#input.plan.file}`,
      },
    );
  }
}

const mostFailuresShown = 5;

/** Waits for a guest that somebody else has started. @returns whether it runs */
async function comesUp(guest: string): Promise<boolean> {
  for (;;) {
    const status = viewGuest(guest)?.status;
    if (status !== 'starting') return status === 'running';
    await delay(50);
  }
}

/** The steps in a line: `3 to start, 1 to replace, 2 links changed`. */
export function describeSteps(steps: readonly Step[]): string {
  const count = (kind: Step['kind']): number => steps.filter((step) => step.kind === kind).length;
  const fabric = steps.find((step) => step.kind === 'fabric');
  const links =
    fabric === undefined || fabric.isNew
      ? []
      : ([
          [fabric.added.length, 'added'],
          [fabric.removed.length, 'removed'],
          [fabric.changed.length, 'changed'],
        ] as const);
  const parts = [
    [count('remove'), 'to remove'],
    [count('start') + count('await'), 'to start'],
    [count('replace'), 'to replace'],
    [count('keep'), 'kept'],
    ...links.map(([n, how]) => [n, `link${n === 1 ? '' : 's'} ${how}`] as const),
  ] as const;
  const told = parts.filter(([n]) => n > 0).map(([n, what]) => `${n} ${what}`);
  return told.length === 0 ? 'the fabric changes' : told.join(', ');
}

/**
 * Kill -9 of any process of lodge at any moment: the next `lodge ps` tells the truth, no process is left that nobody
 * owns, and nothing lies about. LODGE_KILL_ROUNDS and LODGE_KILL_SEED choose how often and which moments.
 */

import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/random.ts';
import { type FoundProcess, type ListedGuest, Runtime, type Started, until } from './lodge.ts';

const rounds = Number(process.env.LODGE_KILL_ROUNDS ?? 8);
const seed = Number(process.env.LODGE_KILL_SEED ?? Date.now() % 2 ** 31);

const random = seededRandom(seed);

/** What is started, by the flags of `lodge run`. */
const variants = {
  uml: ['-a', 'uml'],
  tcg: ['-a', 'tcg'],
  netns: ['-a', 'netns'],
  virtiofs: ['-a', 'tcg', '--mount-type', 'virtiofs'],
} as const;
type Variant = keyof typeof variants;

const kinds = ['lodge', 'keeper', 'vmm', 'beside', 'agent'] as const;
type Kind = (typeof kinds)[number];

function kindOf({ line }: FoundProcess): Kind | undefined {
  if (/^\S*\/keeper /.test(line)) return 'keeper';
  if (/^\S*(qemu-system-x86_64|linux\.uml|dist\/agent) /.test(line)) return 'vmm';
  if (/^\S*\/(confine|virtiofsd) /.test(line)) return 'beside';
  if (/\/dist\/\S+ agent$/.test(line)) return 'agent';
  return /^\S*node \S+ run /.test(line) ? 'lodge' : undefined;
}

interface Round {
  number: number;
  variant: Variant;
  mode: 'foreground' | 'detached';
  /** Between the start and the kill. */
  afterMs: number;
  victim: Kind;
  pick: number;
}

function planRounds(): Round[] {
  const names = Object.keys(variants) as Variant[];
  return Array.from({ length: rounds }, (_, i) => {
    const variant = names[i % names.length]!;
    const mode = random.fraction() < 0.5 ? 'foreground' : 'detached';
    const upMs = { uml: 2500, netns: 800, tcg: 6000, virtiofs: 6000 }[variant];
    const possible = kinds.filter((kind) =>
      kind === 'agent' ? mode === 'detached' : kind === 'beside' ? variant === 'virtiofs' : true,
    );
    return {
      number: i + 1,
      variant,
      mode,
      afterMs: Math.floor(random.fraction() * upMs),
      victim: possible[random.below(possible.length)]!,
      pick: random.fraction(),
    };
  });
}

describe(`killing anything at any moment (LODGE_KILL_SEED=${seed})`, () => {
  let here: Runtime;

  beforeAll(() => {
    console.log(`LODGE_KILL_SEED=${seed} LODGE_KILL_ROUNDS=${rounds}`);
    here = new Runtime();
  });

  afterAll(async () => {
    expect(await here.close()).toEqual([]);
  });

  it.each(planRounds())('round $number: $variant $mode, $victim after $afterMs ms', async (round) => {
    const name = `round-${round.number}`;
    const started = startGuest(here, name, round);
    await delay(round.afterMs);
    const killed = killOne(here, round);
    // A run that was not hit is ended as a person would.
    if (killed !== 'lodge' && round.mode === 'foreground') await endSoon(started);
    await started.end;

    const guests = await settled(here);
    for (const guest of guests) await checkGuest(here, guest, round, killed);
    expect(await orphans(here, guests)).toEqual([]);
    expect(here.files()).toEqual(guests.map((guest) => `guests/${guest.name}`));

    if (guests.length > 0) expect((await here.lodge(['rm', '-f', name])).code).toBe(0);
    expect(await here.ps()).toEqual([]);
    expect(await orphans(here, [])).toEqual([]);
    expect(here.files()).toEqual([]);
  });
});

function startGuest(here: Runtime, name: string, { variant, mode }: Round): Started {
  const flags = ['run', ...variants[variant], '--name', name];
  if (mode === 'detached') return here.startLodge([...flags, '-d'], { input: '' });
  return here.startLodge([...flags, '--', 'sh', '-c', 'while :; do sleep 0.1; done'], { input: '' });
}

/** Kills one process of the kind wanted, or of any kind if there is none yet. @returns what was killed */
function killOne(here: Runtime, { victim, pick }: Round): Kind | undefined {
  const all = here.processes().filter((found) => kindOf(found) !== undefined);
  const wanted = all.filter((found) => kindOf(found) === victim);
  const from = wanted.length > 0 ? wanted : all;
  const chosen = from[Math.floor(pick * from.length)];
  if (chosen === undefined) return undefined;
  try {
    process.kill(chosen.pid, 'SIGKILL');
  } catch {
    // It ended by itself just now.
  }
  return kindOf(chosen);
}

async function endSoon({ child, end }: Started): Promise<void> {
  await Promise.race([end, delay(3000)]);
  for (let i = 0; i < 100 && child.exitCode === null && child.signalCode === null; i++) {
    child.kill('SIGINT');
    await Promise.race([end, delay(200)]);
  }
}

/** The guests there are when none is on its way any more. */
async function settled(here: Runtime): Promise<ListedGuest[]> {
  return until('no guest is between two states', async () => {
    const guests = await here.ps();
    const isSettled = guests.every(({ status }) => status === 'running' || status === 'exited');
    return isSettled ? guests : undefined;
  });
}

/** What `ps` says of a guest is so. */
async function checkGuest(
  here: Runtime,
  guest: ListedGuest,
  round: Round,
  killed: Kind | undefined,
): Promise<void> {
  expect(guest).toMatchObject({ mode: 'detached', accelerator: variants[round.variant][1] });
  const { code } = await here.lodge(['exec', guest.name, '--', 'true']);
  if (code === 123 && round.variant === 'uml' && killed === 'vmm') {
    // A process of user-mode Linux that is killed is missed by its kernel only when it is to run again: by this exec.
    expect(await here.ps()).toMatchObject([{ name: guest.name, status: 'exited' }]);
    return;
  }
  expect(code, `exec into a guest that is ${guest.status}`).toBe(guest.status === 'running' ? 0 : 125);
}

/**
 * Processes that belong to no guest that runs, once those that were killed have had time to go. All of a guest is in
 * its keeper's process group; not all of it names the guest's directory.
 */
async function orphans(here: Runtime, guests: readonly ListedGuest[]): Promise<string[]> {
  const running = guests.filter(({ status }) => status === 'running').map(({ dir }) => dir);
  const look = (): string[] => {
    const all = here.processes().filter((found) => kindOf(found) !== 'agent');
    const owned = new Set(
      all.filter(({ line }) => running.some((dir) => line.includes(dir))).map(({ pid }) => processGroup(pid)),
    );
    return all.filter(({ pid }) => !owned.has(processGroup(pid))).map(({ pid, line }) => `${pid}: ${line}`);
  };
  await until('they are gone', () => look().length === 0 || undefined, 10_000).catch(() => {});
  return look();
}

/** @returns undefined for a process that is gone */
function processGroup(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // Its name, in parentheses, may hold anything; state, parent and group follow it.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2];
  } catch {
    return undefined;
  }
}

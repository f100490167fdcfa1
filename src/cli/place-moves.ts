/** `lodge place --current`: which moves pay. */

import { LodgeError } from '../errors.ts';
import type { Routing } from '../machine/network/links.ts';
import type { HostNetwork } from '../machine/network/network.ts';
import { deadlineIn } from '../placement/mapper/deadline.ts';
import { readMapping } from '../placement/mapping-file.ts';
import { parseMoveCost } from '../placement/move-cost.ts';
import { findMoves, type Moves } from '../placement/moves.ts';
import { rankName, type Traffic } from '../placement/traffic/graph.ts';
import { formatTime, parseTimeMs } from '../units.ts';
import type { NetworkFlags, PlaceFlags } from './place.ts';
import {
  leftOfLimitMs,
  readPlaceText,
  timeLimitMs,
  wholeFlag,
  writePlacement,
  writeResult,
} from './place-files.ts';
import type { GlobalOptions } from './program.ts';
import { table } from './table.ts';

type Look = (flags: NetworkFlags, seed: number) => Promise<{ traffic: Traffic; network: HostNetwork }>;

export async function movesVerb(flags: PlaceFlags, globals: GlobalOptions, look: Look): Promise<void> {
  const cost = parseMoveCost(flags.moveCost ?? '');
  const horizonSeconds = parseTimeMs(flags.horizon, '--horizon') / 1000;
  const limitMs = timeLimitMs(flags.timeLimit);
  const budget = budgetOf(flags.budget);
  const { traffic, network } = await look(flags, wholeFlag('--seed', flags.seed, 0, Number.MAX_SAFE_INTEGER));
  const windowSeconds =
    flags.window === undefined ? traffic.windowSeconds : parseTimeMs(flags.window, '--window') / 1000;
  if (windowSeconds === 0)
    throw new LodgeError('usage', 'nothing is counted in no time', { where: '--window' });
  if (windowSeconds === undefined) {
    throw new LodgeError('usage', 'the traffic does not say in which time its bytes were counted', {
      where: '--window',
      fix: '--window 1s where they are bytes per second',
    });
  }
  const current = readMapping(readPlaceText(flags.current!), flags.current!, traffic, network);
  const deadline = deadlineIn(leftOfLimitMs(limitMs), () => performance.now());
  const moves = findMoves(traffic, network, current, {
    cost,
    horizonSeconds,
    windowSeconds,
    ...budget,
    deadline,
  });
  if (flags.output !== undefined) writePlacement(flags.output, traffic, network, moves.placement);
  if (flags.plot !== undefined) {
    const { plot } = await import('../placement/plot/page.ts');
    const { placement, routing } = { placement: moves.placement, routing: flags.routing as Routing };
    writeResult(flags.plot, [
      plot({ traffic, network, placement, before: current, routing, file: flags.plot }),
    ]);
  }
  if (globals.json) {
    const { placement: _, steps, ...rest } = moves;
    const named = steps.map((step) => ({
      ...step,
      rank: rankName(traffic, step.rank),
      from: network.name(step.from),
      to: network.name(step.to),
      ...(step.with === undefined ? {} : { with: rankName(traffic, step.with) }),
    }));
    process.stdout.write(`${JSON.stringify({ ...rest, steps: named })}\n`);
    return;
  }
  if (flags.output !== '-' && flags.plot !== '-')
    process.stdout.write(table(moveRows(moves, traffic, network)));
  process.stderr.write(`lodge: ${summary(moves)}\n`);
  if (!moves.hasFreeRoom) {
    process.stderr.write(
      'lodge: no place has free room: only swaps are possible, and both guests of one stand still for it\n',
    );
  }
}

/** A number is one of moves, a time one of moving. */
function budgetOf(text: string | undefined): { mostMoves: number; mostSeconds: number } {
  const none = { mostMoves: Number.POSITIVE_INFINITY, mostSeconds: Number.POSITIVE_INFINITY };
  if (text === undefined) return none;
  if (/^\d+$/.test(text)) return { ...none, mostMoves: wholeFlag('--budget', text, 0, 2 ** 31) };
  return { ...none, mostSeconds: parseTimeMs(text, '--budget') / 1000 };
}

function moveRows({ steps }: Moves, traffic: Traffic, network: HostNetwork): string[][] {
  if (steps.length === 0) return [];
  return [
    ['STEP', 'GROUP', 'WHAT', 'WHO', 'FROM', 'TO', 'GAIN', 'COST', 'TAKES'],
    ...steps.map((step, i) => [
      String(i + 1),
      String(step.group),
      step.kind,
      step.with === undefined
        ? rankName(traffic, step.rank)
        : `${rankName(traffic, step.rank)} with ${rankName(traffic, step.with)}`,
      network.name(step.from),
      network.name(step.to),
      `${step.gain.toFixed(3)}s`,
      `${step.cost.toFixed(3)}s`,
      formatTime(step.seconds * 1000),
    ]),
  ];
}

function summary({ steps, gain, cost, seconds, end }: Moves): string {
  if (steps.length === 0) return end === 'nothing pays' ? 'no move pays' : `no move was found: ${end}`;
  const why = {
    'nothing pays': 'nothing more pays',
    budget: 'the budget allows no more',
    'time limit': 'the time limit was reached',
  };
  return `${steps.length} ${steps.length === 1 ? 'step saves' : 'steps save'} ${gain.toFixed(3)}s of links for ${cost.toFixed(3)}s and ${steps.length === 1 ? 'takes' : 'take'} ${formatTime(seconds * 1000)}; ${why[end]}`;
}

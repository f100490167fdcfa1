/** What `lodge place` and its parts do. */

import { LodgeError } from '../errors.ts';
import type { Routing } from '../machine/network/links.ts';
import { type HostNetwork, usablePlaces } from '../machine/network/network.ts';
import { deadlineIn } from '../placement/mapper/deadline.ts';
import type { Effort } from '../placement/mapper/mapper.ts';
import { readMapping } from '../placement/mapping-file.ts';
import { type Metrics, measure } from '../placement/metrics.ts';
import { type Objective, overfullPlaces, place, requireRoom } from '../placement/place.ts';
import { readNetwork } from '../placement/read-network.ts';
import { readDemand, readTraffic } from '../placement/read-traffic.ts';
import { generateTraffic } from '../placement/traffic/generate.ts';
import { pairCount, type Traffic } from '../placement/traffic/graph.ts';
import { edgeList, scotchGraph } from '../placement/traffic/write.ts';
import { formatCount } from '../units.ts';
import type { NetworkFlags, PlaceFlags } from './place.ts';
import {
  leftOfLimitMs,
  readPlaceText,
  requireOneOutput,
  timeLimitMs,
  wholeFlag,
  writePlacement,
  writeResult,
} from './place-files.ts';
import { metricRows, placementRows } from './place-report.ts';
import { printJson } from './print-json.ts';
import type { GlobalOptions } from './program.ts';
import { openProgress } from './progress.ts';
import { table } from './table.ts';

async function look(flags: NetworkFlags, seed: number): Promise<{ traffic: Traffic; network: HostNetwork }> {
  const { traffic: trafficText, topology } = flags;
  if (trafficText === undefined || topology === undefined) {
    throw new LodgeError('usage', `${trafficText === undefined ? '--traffic' : '--topology'} is missing`, {
      fix: 'as in lodge place --traffic halo7:8x8x8 --topology torus:8x8x8',
    });
  }
  const cwd = process.cwd();
  const ranks = flags.ranks === undefined ? {} : { ranks: wholeFlag('--ranks', flags.ranks, 1, 2 ** 24) };
  const read = readTraffic(trafficText, { cwd, seed, ...ranks });
  const network = await readNetwork(topology, cwd);
  if (flags.demand === undefined) return { traffic: read, network };
  const demand = readDemand(readPlaceText(flags.demand), flags.demand, read);
  return { traffic: { ...read, demand }, network };
}

/** Part of what is left that the search itself may take. */
const shareOfSearch = 0.93;
/** And of short ones, what is set aside beside that. */
const reservedMs = 40;

export async function placeVerb(flags: PlaceFlags, globals: GlobalOptions): Promise<void> {
  requireOneOutput(flags, globals);
  if (flags.current !== undefined) {
    const { movesVerb } = await import('./place-moves.ts');
    return movesVerb(flags, globals, look);
  }
  const seed = wholeFlag('--seed', flags.seed, 0, Number.MAX_SAFE_INTEGER);
  const threads = wholeFlag('--threads', flags.threads ?? '1', 1, 256);
  const limitMs = timeLimitMs(flags.timeLimit);
  const { traffic, network } = await look(flags, seed);
  requireRoom(traffic, network);
  const progress = openProgress(globals);
  const startedMs = performance.now();
  progress.show(`placing ${traffic.ranks} ranks on ${usablePlaces(network)} places`);
  const leftMs = leftOfLimitMs(limitMs);
  const placed = await place(traffic, network, {
    objective: flags.objective as Objective,
    seed,
    effort: flags.effort as Effort,
    routing: flags.routing as Routing,
    // What is left is for what comes after the search: measuring, and handing over.
    end: deadlineIn(leftMs, () => performance.now()),
    deadline: deadlineIn(Math.max(leftMs / 2, leftMs * shareOfSearch - reservedMs), () => performance.now()),
    threads,
    onProgress: (doing) => progress.show(`placing ${traffic.ranks} ranks: ${doing}`),
  });
  const seconds = (performance.now() - startedMs) / 1000;
  progress.clear();
  if (flags.output !== undefined) writePlacement(flags.output, traffic, network, placed.placement);
  if (flags.plot !== undefined) {
    const { plot } = await import('../placement/plot/page.ts');
    writeResult(flags.plot, [
      plot({
        traffic,
        network,
        placement: placed.placement,
        routing: flags.routing as Routing,
        file: flags.plot,
      }),
    ]);
  }
  if (globals.json) {
    const { placement, ...rest } = placed;
    const record = {
      ranks: traffic.ranks,
      places: network.places,
      seed,
      threads,
      seconds,
      notes: traffic.notes,
      ...rest,
    };
    const shown = flags.output === undefined ? { ...record, placement: Array.from(placement) } : record;
    process.stdout.write(`${JSON.stringify(shown)}\n`);
    return;
  }
  for (const note of traffic.notes) process.stderr.write(`lodge: ${note}\n`);
  if (flags.output === '-' || flags.plot === '-') return;
  process.stdout.write(table(placementRows(traffic, network, placed, seconds)));
  if (flags.output === undefined) process.stderr.write('lodge: -o map.csv writes the placement itself\n');
}

export async function evaluateVerb(
  flags: NetworkFlags & { placement?: string; seed?: string },
  globals: GlobalOptions,
): Promise<void> {
  requireOneOutput({ ...(flags.plot !== undefined && { plot: flags.plot }) }, globals);
  if (flags.placement === undefined) {
    throw new LodgeError('usage', '--placement is missing', {
      fix: 'name the file of a placement: .map or .csv',
    });
  }
  const { traffic, network } = await look(
    flags,
    wholeFlag('--seed', flags.seed ?? '1', 0, Number.MAX_SAFE_INTEGER),
  );
  const placement = readMapping(readPlaceText(flags.placement), flags.placement, traffic, network);
  const metrics: Metrics = measure(traffic, network, placement, flags.routing as Routing);
  const overfull = overfullPlaces(traffic, network, placement);
  if (flags.plot !== undefined) {
    const { plot } = await import('../placement/plot/page.ts');
    writeResult(flags.plot, [
      plot({ traffic, network, placement, routing: flags.routing as Routing, file: flags.plot }),
    ]);
  }
  if (globals.json) {
    const named = overfull.map(({ place: at, ...rest }) => ({ place: network.name(at), ...rest }));
    process.stdout.write(
      `${JSON.stringify({ ranks: traffic.ranks, pairs: pairCount(traffic), ...metrics, overfull: named, notes: traffic.notes })}\n`,
    );
    return;
  }
  for (const note of traffic.notes) process.stderr.write(`lodge: ${note}\n`);
  if (flags.plot !== '-') process.stdout.write(table(metricRows(metrics)));
  if (overfull.length > 0) {
    const { place: at, ranks, room } = overfull[0]!;
    process.stderr.write(
      `lodge: ${formatCount(overfull.length, 'place holds', 'places hold')} more than there is room for: ${network.name(at)} has ${formatCount(ranks, 'rank')}, and room for ${formatCount(room, 'guest')}\n`,
    );
  }
}

export async function generateVerb(
  pattern: string,
  flags: { inOrder?: boolean; output: string; seed: string; json: boolean },
): Promise<void> {
  const seed = wholeFlag('--seed', flags.seed, 0, Number.MAX_SAFE_INTEGER);
  const traffic = generateTraffic(pattern, seed, flags.inOrder !== true);
  writeResult(flags.output, /\.csv$/i.test(flags.output) ? edgeList(traffic) : scotchGraph(traffic));
  if (flags.json && flags.output !== '-')
    printJson({ file: flags.output, ranks: traffic.ranks, pairs: pairCount(traffic) });
}

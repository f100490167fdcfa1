/**
 * Placements as files. Scotch's form (`.map`): the number of ranks, then for each a line with its number and that of its
 * place. CSV: `rank,place`, each a name or a number. Pure.
 */

import { LodgeError } from '../errors.ts';
import type { HostNetwork } from '../machine/network/network.ts';
import { printable } from '../printable.ts';
import type { Placement } from './mapper/problem.ts';
import { rankName, type Traffic } from './traffic/graph.ts';

export function* scotchMapping(placement: Placement): Generator<string> {
  yield `${placement.length}\n`;
  yield* pieces(placement.length, (rank) => `${rank}\t${placement[rank]}\n`);
}

/** With the names of ranks and places, in quotes where they have commas. */
export function* csvMapping(traffic: Traffic, network: HostNetwork, placement: Placement): Generator<string> {
  yield 'rank,place\n';
  yield* pieces(
    placement.length,
    (rank) => `${quoted(rankName(traffic, rank))},${quoted(network.name(placement[rank]!))}\n`,
  );
}

/** The host of each rank, one in each line: what SLURM_HOSTFILE and machine files want. */
export function* hostList(network: HostNetwork, placement: Placement): Generator<string> {
  const hostOf = (place: number): string => network.name(place).replace(/\/\d+$/, '');
  yield* pieces(placement.length, (rank) => `${hostOf(placement[rank]!)}\n`);
}

function* pieces(count: number, line: (rank: number) => string): Generator<string> {
  let piece = '';
  for (let rank = 0; rank < count; rank++) {
    piece += line(rank);
    if (piece.length > 1 << 16) {
      yield piece;
      piece = '';
    }
  }
  yield piece;
}

function quoted(name: string): string {
  return /[",\n]/.test(name) ? `"${name.replaceAll('"', '""')}"` : name;
}

/**
 * Reads either form.
 * @throws LodgeError `mapping`, with file, line and column
 */
export function readMapping(text: string, file: string, traffic: Traffic, network: HostNetwork): Placement {
  const lines = text.replace(/^\u{feff}/u, '').split('\n');
  const first = lines.find((line) => line.trim() !== '') ?? '';
  const isScotch = !first.includes(',');
  const placement = new Int32Array(traffic.ranks).fill(-1);
  const fault = (line: number, column: number, what: string, fix?: string): LodgeError =>
    new LodgeError('mapping', what, {
      where: `${file}:${line}:${column}`,
      ...(fix === undefined ? {} : { fix }),
    });
  const ranks =
    traffic.names === undefined ? undefined : new Map(traffic.names.map((name, rank) => [name, rank]));
  let expected: number | undefined;
  let given = 0;
  for (const [i, raw] of lines.entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    if (isScotch && expected === undefined) {
      if (!/^\d{1,9}$/.test(line)) {
        throw fault(
          i + 1,
          1,
          `'${printable(line).slice(0, 40)}' is no number of ranks`,
          'a .map begins with it; CSV has rank,place',
        );
      }
      expected = Number(line);
      continue;
    }
    const fields = isScotch ? line.split(/\s+/) : fieldsOf(line);
    if (fields.length !== 2) {
      throw fault(
        i + 1,
        1,
        `'${printable(line).slice(0, 40)}' is no rank and place`,
        isScotch ? 'as in 0 17' : 'as in 0,17',
      );
    }
    const [rankText, placeText] = fields as [string, string];
    if (
      !isScotch &&
      given === 0 &&
      /^(rank|guest|name)$/i.test(rankText) &&
      /^(place|host|node)$/i.test(placeText)
    )
      continue;
    const column = raw.indexOf(placeText, raw.indexOf(rankText) + rankText.length) + 1;
    const rank = ranks?.get(rankText) ?? (/^\d{1,8}$/.test(rankText) ? Number(rankText) : -1);
    if (!(rank >= 0 && rank < traffic.ranks)) {
      throw fault(
        i + 1,
        raw.search(/\S/) + 1,
        `there is no rank '${printable(rankText)}'`,
        `there are ${traffic.ranks}, from 0`,
      );
    }
    const named = isScotch ? undefined : network.placeNamed(placeText);
    const place = named ?? (/^\d{1,8}$/.test(placeText) ? Number(placeText) : -1);
    if (!(place >= 0 && place < network.places)) {
      throw fault(
        i + 1,
        column,
        `there is no place '${printable(placeText)}'`,
        `there are ${network.places}, from 0`,
      );
    }
    if (placement[rank] !== -1)
      throw fault(i + 1, raw.search(/\S/) + 1, `rank ${printable(rankText)} comes twice`);
    placement[rank] = place;
    given++;
  }
  if (expected !== undefined && expected !== given) {
    throw new LodgeError('mapping', `the head says ${expected} ranks, and ${given} follow`, {
      where: `${file}:1:1`,
    });
  }
  const missing = placement.indexOf(-1);
  if (missing >= 0) {
    throw new LodgeError('mapping', `rank ${rankName(traffic, missing)} has no place`, {
      where: file,
      fix: 'every rank needs a line',
    });
  }
  return placement;
}

/** Fields of a line of CSV, with quotes where there are any. */
function fieldsOf(line: string): string[] {
  const fields: string[] = [];
  for (const match of line.matchAll(/\s*(?:"((?:[^"]|"")*)"|([^,]*))\s*(?:,|$)/g)) {
    if (match.index === line.length && !line.endsWith(',')) break;
    fields.push(match[1]?.replaceAll('""', '"') ?? match[2]!.trim());
  }
  return fields;
}

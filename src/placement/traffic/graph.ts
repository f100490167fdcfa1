/** Who talks with whom and how much: a sparse weighted graph in typed arrays. Pure. */

import { LodgeError } from '../../errors.ts';

/**
 * Compressed rows: the neighbours of rank r are `neighbours[offsets[r]]` up to, and without, `offsets[r + 1]`, ascending,
 * each once, never r itself. Every pair is in the rows of both of its ranks.
 */
export interface Traffic {
  ranks: number;
  offsets: Int32Array;
  neighbours: Int32Array;
  /** Bytes between the two, both ways together; the same in both rows. */
  weights: Float64Array;
  /** Bytes from the row's rank to the neighbour; without it, half of the weight each way. */
  outgoing?: Float64Array;
  /** What one rank takes of a place, where that is told. */
  demand?: Demand;
  /** Names of ranks, where they have any. */
  names?: readonly string[];
  /** Seconds in which the bytes were counted, where that is known. */
  windowSeconds?: number;
  /** What of the file was left out, for people. */
  notes: readonly string[];
}

export interface Demand {
  cpus?: Float64Array;
  memoryBytes?: Float64Array;
}

/** More ranks than this are refused. */
export const mostRanks = 2 ** 24;
/** Entries of all rows; an index has 31 bits. */
const mostEntries = 2 ** 30;

/** Arcs as they are read, each from one rank to another with its bytes; grown as they come. */
export class ArcList {
  from = new Int32Array(1024);
  to = new Int32Array(1024);
  bytes = new Float64Array(1024);
  count = 0;

  add(from: number, to: number, bytes: number): void {
    if (this.count === this.from.length) this.#grow();
    this.from[this.count] = from;
    this.to[this.count] = to;
    this.bytes[this.count++] = bytes;
  }

  #grow(): void {
    if (2 * this.count > mostEntries) {
      throw new LodgeError('traffic', `it has more than ${mostEntries} connections`);
    }
    const larger = <A extends Int32Array | Float64Array>(old: A, made: A): A => {
      made.set(old);
      return made;
    };
    this.from = larger(this.from, new Int32Array(2 * this.count));
    this.to = larger(this.to, new Int32Array(2 * this.count));
    this.bytes = larger(this.bytes, new Float64Array(2 * this.count));
  }
}

/**
 * Rows of a list of arcs; arcs of the same pair are added up, those of a rank to itself cost nothing wherever it is, and
 * are left out.
 * @param directed the bytes go from the first to the second; else both ways, half each
 */
export function trafficOfArcs(ranks: number, arcs: ArcList, directed: boolean): Traffic {
  const { from, to, bytes, count } = arcs;
  const starts = new Int32Array(ranks + 1);
  let selves = 0;
  for (let arc = 0; arc < count; arc++) {
    if (from[arc] === to[arc]) {
      selves++;
      continue;
    }
    starts[from[arc]! + 1]!++;
    starts[to[arc]! + 1]!++;
  }
  for (let rank = 0; rank < ranks; rank++) starts[rank + 1]! += starts[rank]!;
  const entries = starts[ranks]!;
  const fill = starts.slice(0, ranks);
  const neighbours = new Int32Array(entries);
  const weights = new Float64Array(entries);
  const outgoing = directed ? new Float64Array(entries) : undefined;
  for (let arc = 0; arc < count; arc++) {
    const [a, b, amount] = [from[arc]!, to[arc]!, bytes[arc]!];
    if (a === b) continue;
    const [atA, atB] = [fill[a]!++, fill[b]!++];
    neighbours[atA] = b;
    neighbours[atB] = a;
    weights[atA] = amount;
    weights[atB] = amount;
    if (outgoing !== undefined) outgoing[atA] = amount;
  }
  const merged = mergeRows({ ranks, offsets: starts, neighbours, weights, ...(outgoing && { outgoing }) });
  const notes =
    selves === 0 ? [] : [`${selves} connections of a rank to itself cost nothing and were left out`];
  return { ...merged, notes };
}

type Rows = Pick<Traffic, 'ranks' | 'offsets' | 'neighbours' | 'weights' | 'outgoing'>;

/** Sorts each row by neighbour and adds up what comes twice, in place. */
function mergeRows(rows: Rows): Rows {
  const { ranks, offsets, neighbours, weights, outgoing } = rows;
  let kept = 0;
  let order = new Int32Array(64);
  const ends = new Int32Array(ranks + 1);
  let copy = new Float64Array(64);
  let copyOut = new Float64Array(64);
  let copyTo = new Int32Array(64);
  for (let rank = 0; rank < ranks; rank++) {
    const start = offsets[rank]!;
    const length = offsets[rank + 1]! - start;
    if (length > order.length) {
      order = new Int32Array(2 * length);
      copy = new Float64Array(2 * length);
      copyOut = new Float64Array(2 * length);
      copyTo = new Int32Array(2 * length);
    }
    for (let i = 0; i < length; i++) {
      copyTo[i] = neighbours[start + i]!;
      copy[i] = weights[start + i]!;
      if (outgoing !== undefined) copyOut[i] = outgoing[start + i]!;
      order[i] = i;
    }
    sortBy(order, length, copyTo);
    for (let i = 0; i < length; i++) {
      const at = order[i]!;
      const to = copyTo[at]!;
      if (kept > ends[rank]! && neighbours[kept - 1] === to) {
        weights[kept - 1]! += copy[at]!;
        if (outgoing !== undefined) outgoing[kept - 1]! += copyOut[at]!;
        continue;
      }
      neighbours[kept] = to;
      weights[kept] = copy[at]!;
      if (outgoing !== undefined) outgoing[kept] = copyOut[at]!;
      kept++;
    }
    ends[rank + 1] = kept;
  }
  return {
    ranks,
    offsets: ends,
    neighbours: neighbours.slice(0, kept),
    weights: weights.slice(0, kept),
    ...(outgoing === undefined ? {} : { outgoing: outgoing.slice(0, kept) }),
  };
}

/** Sorts the first `length` indices by what they point at: by insertion where there are few. */
function sortBy(order: Int32Array, length: number, keys: Int32Array): void {
  if (length > 32) {
    order.subarray(0, length).sort((a, b) => keys[a]! - keys[b]! || a - b);
    return;
  }
  for (let i = 1; i < length; i++) {
    const index = order[i]!;
    const key = keys[index]!;
    let j = i - 1;
    while (j >= 0 && keys[order[j]!]! > key) {
      order[j + 1] = order[j]!;
      j--;
    }
    order[j + 1] = index;
  }
}

/** Bytes of all pairs together. */
export function totalBytes({ weights }: Traffic): number {
  let sum = 0;
  for (const weight of weights) sum += weight;
  return sum / 2;
}

/** Pairs that talk. */
export function pairCount({ neighbours }: Traffic): number {
  return neighbours.length / 2;
}

/** Name of a rank: its own, else its number. */
export function rankName({ names }: Traffic, rank: number): string {
  return names?.[rank] ?? String(rank);
}

/** The same traffic with the ranks renamed: rank r becomes `to[r]`. */
export function renumbered(traffic: Traffic, to: Int32Array): Traffic {
  const arcs = new ArcList();
  for (let rank = 0; rank < traffic.ranks; rank++) {
    for (let at = traffic.offsets[rank]!; at < traffic.offsets[rank + 1]!; at++) {
      const other = traffic.neighbours[at]!;
      if (traffic.outgoing !== undefined) arcs.add(to[rank]!, to[other]!, traffic.outgoing[at]!);
      else if (rank < other) arcs.add(to[rank]!, to[other]!, traffic.weights[at]!);
    }
  }
  return trafficOfArcs(traffic.ranks, arcs, traffic.outgoing !== undefined);
}

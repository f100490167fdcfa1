/** Traffic as a Scotch graph, and as an edge list. Pure. */

import { rankName, type Traffic } from './graph.ts';

/** Scotch's weights are whole numbers of 31 bits; the sum of all must have no more. */
const largestScotchSum = 2 ** 31 - 1;

/**
 * Scotch's form, in pieces. Weights are kept where they are whole and small enough, else scaled to 1 to 1000.
 */
export function* scotchGraph(traffic: Traffic): Generator<string> {
  const { ranks, offsets, neighbours, weights } = traffic;
  let sum = 0;
  let largest = 0;
  let areWhole = true;
  for (const weight of weights) {
    sum += weight;
    largest = Math.max(largest, weight);
    if (!Number.isInteger(weight)) areWhole = false;
  }
  const keep = areWhole && sum <= largestScotchSum;
  yield `0\n${ranks} ${neighbours.length}\n0 010\n`;
  let piece = '';
  for (let rank = 0; rank < ranks; rank++) {
    piece += String(offsets[rank + 1]! - offsets[rank]!);
    for (let at = offsets[rank]!; at < offsets[rank + 1]!; at++) {
      const weight = keep ? weights[at]! : Math.max(1, Math.round((1000 * weights[at]!) / largest));
      piece += `\t${weight} ${neighbours[at]}`;
    }
    piece += '\n';
    if (piece.length > 1 << 16) {
      yield piece;
      piece = '';
    }
  }
  yield piece;
}

/** `from,to,bytes`, in pieces; undirected traffic is in there once for each pair. */
export function* edgeList(traffic: Traffic): Generator<string> {
  const { ranks, offsets, neighbours, weights, outgoing } = traffic;
  yield 'from,to,bytes\n';
  let piece = '';
  for (let rank = 0; rank < ranks; rank++) {
    for (let at = offsets[rank]!; at < offsets[rank + 1]!; at++) {
      const other = neighbours[at]!;
      if (outgoing === undefined ? other < rank : outgoing[at] === 0) continue;
      const bytes = outgoing === undefined ? weights[at]! : outgoing[at]!;
      piece += `${rankName(traffic, rank)},${rankName(traffic, other)},${bytes}\n`;
      if (piece.length > 1 << 16) {
        yield piece;
        piece = '';
      }
    }
  }
  yield piece;
}

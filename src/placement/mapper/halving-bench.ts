/**
 * What halving works with, used again for each graph: to make it anew for each of thousands of small ones takes longer
 * than to halve them. Arrays are longer than what they hold.
 */

import { GainHeap } from './heap.ts';

/** Vertices with weights; `lean` is what it costs to be in the second half rather than in the first. */
export interface HalvingGraph {
  count: number;
  starts: Int32Array;
  ends: Int32Array;
  weights: Float64Array;
  sizes: Int32Array;
  lean: Float64Array;
}

/** A graph and its halves. */
export interface Level {
  graph: HalvingGraph;
  /** 0 or 1 for each vertex. */
  sides: Uint8Array;
  /** Vertex of the next coarser graph of each vertex. */
  of: Int32Array;
}

export interface Bench {
  gains: Float64Array;
  heaps: readonly [GainHeap, GainHeap];
  isLocked: Uint8Array;
  moved: Int32Array;
  /** Halves that are tried. */
  tried: Uint8Array;
  order: Int32Array;
  pairs: Int32Array;
  slot: Int32Array;
  /** The graph that is halved, then ever coarser ones. */
  levels: Level[];
}

/** @param count vertices of the largest graph */
export function benchFor(count: number): Bench {
  const gains = new Float64Array(count);
  return {
    gains,
    heaps: [new GainHeap(gains), new GainHeap(gains)],
    isLocked: new Uint8Array(count),
    moved: new Int32Array(count),
    tried: new Uint8Array(count),
    order: new Int32Array(count),
    pairs: new Int32Array(2 * count),
    slot: new Int32Array(count),
    levels: [],
  };
}

/** The level at a depth, with room for a graph of so many vertices, and entries in their rows. */
export function levelAt({ levels }: Bench, depth: number, vertices: number, entries: number): Level {
  const known = levels[depth];
  if (known !== undefined && known.of.length >= vertices && known.graph.ends.length >= entries) return known;
  // A little more than needed: parts of one size differ in their connections.
  const room = Math.ceil(1.25 * entries);
  const level: Level = {
    graph: {
      count: 0,
      starts: new Int32Array(vertices + 1),
      ends: new Int32Array(room),
      weights: new Float64Array(room),
      sizes: new Int32Array(vertices),
      lean: new Float64Array(vertices),
    },
    sides: new Uint8Array(vertices),
    of: new Int32Array(vertices),
  };
  levels[depth] = level;
  return level;
}

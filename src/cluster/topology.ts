/**
 * Graphs of switches: what a network's `topology` stands for. Pure; the same topology, members and seed give the same
 * graph.
 *
 * Sources: fat tree: M. Al-Fares and others, "A Scalable, Commodity Data Center Network Architecture", SIGCOMM 2008.
 * Dragonfly: J. Kim and others, "Technology-Driven, Highly-Scalable Dragonfly Topology", ISCA 2008.
 */

import { LodgeError } from '../errors.ts';
import { type Random, seededRandom } from '../random.ts';
import type { AsGraph } from './as-graph.ts';

export type Topology =
  | { kind: 'lan' }
  /** Without a number: as many switches as there are members. */
  | { kind: 'ring'; switches?: number }
  | { kind: 'grid' | 'torus'; sizes: number[] }
  | { kind: 'fat-tree'; k: number }
  | { kind: 'dragonfly'; a: number; p: number; h: number }
  | { kind: 'random'; switches: number; degree: number }
  | { kind: 'as-graph'; file: string };

export interface Graph {
  switches: string[];
  /** Indices of two switches; no pair twice, none to itself. */
  links: [a: number, b: number][];
  /** Switch of each member, in the order of the members. */
  seats: number[];
}

/** More than fabrics were tried with is refused. */
export const mostSwitches = 20_000;
export const mostSwitchLinks = 500_000;

export interface GraphContext {
  /** Name of the network: that of a LAN's switch. */
  network: string;
  members: number;
  seed: number;
  /** For `as-graph`. */
  asGraph?: AsGraph;
}

/**
 * The graph of a topology, with a seat for each member.
 * @throws LodgeError `spec-value` when it has no room for so many members; `where` is for the caller to add
 */
export function buildGraph(topology: Topology, context: GraphContext): Graph {
  const { members } = context;
  switch (topology.kind) {
    case 'lan':
      return { switches: [context.network], links: [], seats: new Array<number>(members).fill(0) };
    case 'ring': {
      const count = topology.switches ?? Math.max(1, members);
      return spread(numbered(count), latticeLinks([count], true), members);
    }
    case 'grid':
    case 'torus': {
      const count = topology.sizes.reduce((product, size) => product * size, 1);
      return spread(numbered(count), latticeLinks(topology.sizes, topology.kind === 'torus'), members);
    }
    case 'fat-tree':
      return fatTree(topology.k, members);
    case 'dragonfly':
      return dragonfly(topology, members);
    case 'random': {
      const random = seededRandom(context.seed, `topology ${context.network}`);
      return spread(numbered(topology.switches), randomLinks(topology, random), members);
    }
    case 'as-graph': {
      const { numbers, links } = context.asGraph!;
      return spread(
        numbers.map((number) => `as${number}`),
        links,
        members,
      );
    }
  }
}

function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `s${i + 1}`);
}

/** Members over all switches in order, as evenly as can be. */
function spread(switches: string[], links: [number, number][], members: number): Graph {
  const seats = Array.from({ length: members }, (_, i) => Math.floor((i * switches.length) / members));
  return { switches, links, seats };
}

/** Members on the first switches, in order, so many on each. */
function fill(graph: Omit<Graph, 'seats'>, edges: number, onEach: number, members: number): Graph {
  if (members > edges * onEach) {
    throw new LodgeError(
      'spec-value',
      `it has room for ${edges * onEach} members, and there are ${members}`,
      {
        fix: 'choose a larger one',
      },
    );
  }
  return { ...graph, seats: Array.from({ length: members }, (_, i) => Math.floor(i / onEach)) };
}

/** Neighbours in each dimension; the last one changes fastest. A wrap that would double a link is left out. */
function latticeLinks(sizes: readonly number[], wraps: boolean): [number, number][] {
  const count = sizes.reduce((product, size) => product * size, 1);
  const links: [number, number][] = [];
  for (let at = 0; at < count; at++) {
    let stride = 1;
    for (const size of sizes.toReversed()) {
      const coordinate = Math.floor(at / stride) % size;
      if (coordinate + 1 < size) links.push([at, at + stride]);
      else if (wraps && size > 2) links.push([at, at - coordinate * stride]);
      stride *= size;
    }
  }
  return links;
}

/** Edge switches e1…, aggregation switches a1…, core switches c1…, pod by pod. */
function fatTree(k: number, members: number): Graph {
  const half = k / 2;
  const inPods = k * half;
  const names = (letter: string, count: number): string[] =>
    Array.from({ length: count }, (_, i) => `${letter}${i + 1}`);
  const switches = [...names('e', inPods), ...names('a', inPods), ...names('c', half * half)];
  const links: [number, number][] = [];
  for (let pod = 0; pod < k; pod++) {
    for (let edge = 0; edge < half; edge++) {
      for (let up = 0; up < half; up++) links.push([pod * half + edge, inPods + pod * half + up]);
    }
    for (let up = 0; up < half; up++) {
      for (let core = 0; core < half; core++) {
        links.push([inPods + pod * half + up, 2 * inPods + up * half + core]);
      }
    }
  }
  return fill({ switches, links }, inPods, half, members);
}

/** Groups of `a` switches, all joined in a group; one link between any two groups; switches gNrM. */
function dragonfly({ a, p, h }: { a: number; p: number; h: number }, members: number): Graph {
  const groups = a * h + 1;
  const switches: string[] = [];
  const links: [number, number][] = [];
  for (let group = 0; group < groups; group++) {
    for (let router = 0; router < a; router++) {
      switches.push(`g${group + 1}r${router + 1}`);
      for (let other = router + 1; other < a; other++) links.push([group * a + router, group * a + other]);
    }
  }
  // The l-th of a group's global links goes l + 1 groups on; it is the (groups - 2 - l)-th of that group.
  for (let group = 0; group < groups; group++) {
    for (let l = 0; l < a * h; l++) {
      const other = (group + l + 1) % groups;
      if (other < group) continue;
      links.push([group * a + Math.floor(l / h), other * a + Math.floor((groups - 2 - l) / h)]);
    }
  }
  return fill({ switches, links }, switches.length, p, members);
}

/** A random tree, and then random links between switches that have fewer than `degree`, as long as there are any. */
function randomLinks(
  { switches, degree }: { switches: number; degree: number },
  random: Random,
): [number, number][] {
  const links: [number, number][] = [];
  const neighbours = Array.from({ length: switches }, () => new Set<number>());
  const join = (a: number, b: number): void => {
    neighbours[a]!.add(b);
    neighbours[b]!.add(a);
    links.push(a < b ? [a, b] : [b, a]);
  };
  // Switches that can still take a link, in the order in which they were joined to the tree.
  const open: number[] = [];
  const order = Array.from({ length: switches }, (_, i) => i);
  for (let i = order.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  for (const next of order) {
    if (open.length > 0) {
      const at = random.below(open.length);
      const parent = open[at]!;
      join(parent, next);
      if (neighbours[parent]!.size >= degree) open.splice(at, 1);
    }
    if (neighbours[next]!.size < degree || switches === 1) open.push(next);
  }
  for (let failures = 0; open.length > 1 && failures < 100; ) {
    const a = open[random.below(open.length)]!;
    const b = open[random.below(open.length)]!;
    if (a === b || neighbours[a]!.has(b)) {
      failures++;
      continue;
    }
    failures = 0;
    join(a, b);
    for (const end of [a, b]) {
      if (neighbours[end]!.size >= degree) open.splice(open.indexOf(end), 1);
    }
  }
  return links;
}

/** Of each switch, the number of the part of the graph that it is in. */
export function partsOf(graph: Pick<Graph, 'switches' | 'links'>): Int32Array {
  const neighbours: number[][] = graph.switches.map(() => []);
  for (const [a, b] of graph.links) {
    neighbours[a]!.push(b);
    neighbours[b]!.push(a);
  }
  const parts = new Int32Array(graph.switches.length).fill(-1);
  let count = 0;
  for (let start = 0; start < parts.length; start++) {
    if (parts[start] !== -1) continue;
    const waiting = [start];
    parts[start] = count;
    for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
      for (const next of neighbours[at]!) {
        if (parts[next] !== -1) continue;
        parts[next] = count;
        waiting.push(next);
      }
    }
    count++;
  }
  return parts;
}

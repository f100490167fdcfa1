/** Levels of a network, from outside in, and the network that they make. Pure. */

import { LodgeError } from '../../errors.ts';
import { type Hierarchy, hierarchyOfAxes, hierarchyOfDistances, hierarchyOfTree } from './hierarchy.ts';
import {
  dragonflyLinks,
  hypercubeLinks,
  type Links,
  latticeLinks,
  regularTreeLinks,
  type TreeVertex,
  treeLinks,
} from './links.ts';
import {
  dragonflyMetric,
  hypercubeMetric,
  type Inside,
  latticeMetric,
  type Metric,
  matrixMetric,
  nothingInside,
  type Side,
  treeMetric,
} from './metric.ts';
import { type Axis, type HostNetwork, mostPlaces } from './network.ts';
import { placeNames } from './place-names.ts';

/** A tree of switches with hosts as its leaves, as read from a file. */
export interface IrregularTree {
  /** Of each host, the number of the child taken at each depth from the root down; -1 below a host that is higher up. */
  paths: Int32Array[];
  vertices: TreeVertex[];
  /** Vertex of each host. */
  hosts: Int32Array;
}

/** One level. `weight` is the cost of a hop in it. */
export type Level = { weight: number } & (
  | { kind: 'torus' | 'mesh'; sizes: readonly number[] }
  | { kind: 'hypercube'; dimensions: number }
  /** Children of each switch and parents of what is below it, from the hosts up. */
  | { kind: 'fat-tree'; children: readonly number[]; parents: readonly number[]; costs?: readonly number[] }
  | { kind: 'dragonfly'; routers: number; hosts: number; globals: number }
  /** All at the same distance: `numa` inside a host, `flat` between hosts. */
  | { kind: 'flat' | 'numa'; size: number }
  | { kind: 'matrix'; hosts: number; distances: Float64Array; names?: readonly string[] }
  | { kind: 'tree'; tree: IrregularTree; names: readonly string[] }
);

/** Places of one host; the table of distances between them is their square. */
const mostInside = 1024;

export function levelSize(level: Level): number {
  switch (level.kind) {
    case 'torus':
    case 'mesh':
      return level.sizes.reduce((product, size) => product * size, 1);
    case 'hypercube':
      return 2 ** level.dimensions;
    case 'fat-tree':
      return level.children.reduce((product, size) => product * size, 1);
    case 'dragonfly':
      return (level.routers * level.globals + 1) * level.routers * level.hosts;
    case 'flat':
    case 'numa':
      return level.size;
    case 'matrix':
      return level.hosts;
    case 'tree':
      return level.tree.hosts.length;
  }
}

/** Axes of a level, outermost first; undefined where it has no coordinates. */
function axesOf(level: Level): Axis[] | undefined {
  const { weight } = level;
  switch (level.kind) {
    case 'torus':
    case 'mesh':
      return level.sizes.map((size) => ({
        size,
        kind: level.kind === 'torus' && size > 2 ? 'ring' : 'line',
        cost: weight,
      }));
    case 'hypercube':
      return Array.from({ length: level.dimensions }, () => ({ size: 2, kind: 'line', cost: weight }));
    case 'fat-tree': {
      const costs = level.costs ?? level.children.map((_, i) => 2 * (i + 1));
      return level.children
        .map((size, i): Axis => ({ size, kind: 'flat', cost: costs[i]! * weight }))
        .reverse();
    }
    case 'dragonfly':
      return [
        { size: level.routers * level.globals + 1, kind: 'flat', cost: 5 * weight },
        { size: level.routers, kind: 'flat', cost: 3 * weight },
        { size: level.hosts, kind: 'flat', cost: 2 * weight },
      ];
    case 'flat':
    case 'numa':
      return [{ size: level.size, kind: 'flat', cost: weight }];
    default:
      return undefined;
  }
}

function sidesOf(level: Level): Side[] | undefined {
  if (level.kind !== 'torus' && level.kind !== 'mesh') return undefined;
  return level.sizes.map((size) => ({ size, wraps: level.kind === 'torus', weight: level.weight }));
}

/** Path of each host of a regular tree, from the root down. @param sizes children at each depth, from the root down */
function regularPaths(sizes: readonly number[]): Int32Array[] {
  const hosts = sizes.reduce((product, size) => product * size, 1);
  let stride = hosts;
  return sizes.map((size) => {
    stride /= size;
    const path = new Int32Array(hosts);
    for (let host = 0; host < hosts; host++) path[host] = Math.floor(host / stride) % size;
    return path;
  });
}

function tooDeep(): LodgeError {
  return new LodgeError('topology', 'the tree has more switches at more depths than lodge can number', {
    fix: 'leave out switches that have only one child',
  });
}

function metricOf(level: Level, inside: Inside): Metric {
  const { weight } = level;
  switch (level.kind) {
    case 'torus':
    case 'mesh':
      return latticeMetric(sidesOf(level)!, inside);
    case 'hypercube':
      return hypercubeMetric(level.dimensions, weight, inside);
    case 'fat-tree': {
      const flat = level.costs ?? level.children.map((_, i) => 2 * (i + 1));
      // From distances to costs of links: each is half of what it adds to the level below.
      const costs = flat.map((cost, i) => (weight * (cost - (flat[i - 1] ?? 0))) / 2);
      const metric = treeMetric(regularPaths(level.children.toReversed()), costs.reverse(), inside);
      if (metric === undefined) throw tooDeep();
      return metric;
    }
    case 'dragonfly':
      return dragonflyMetric(level, { terminal: weight, local: weight, global: weight }, inside);
    case 'flat':
    case 'numa': {
      const metric = treeMetric(regularPaths([level.size]), [weight / 2], inside);
      if (metric === undefined) throw tooDeep();
      return metric;
    }
    case 'matrix':
      return matrixMetric(
        level.hosts,
        level.distances.map((distance) => distance * weight),
        inside,
      );
    case 'tree': {
      const metric = treeMetric(
        level.tree.paths,
        new Array<number>(level.tree.paths.length).fill(weight),
        inside,
      );
      if (metric === undefined) throw tooDeep();
      return metric;
    }
  }
}

function linksOf(level: Level): Links | undefined {
  switch (level.kind) {
    case 'torus':
    case 'mesh':
      return latticeLinks(sidesOf(level)!);
    case 'hypercube':
      return hypercubeLinks(level.dimensions);
    case 'fat-tree':
      return regularTreeLinks(level.children, level.parents);
    case 'flat':
    case 'numa':
      return regularTreeLinks([level.size], [1]);
    case 'dragonfly':
      return dragonflyLinks(level);
    case 'tree':
      return treeLinks(level.tree.vertices, level.tree.hosts);
    case 'matrix':
      return undefined;
  }
}

/** Places of one host, by the innermost levels: the first in which two places differ says how far they are apart. */
function insideOf(levels: readonly Level[]): Inside {
  if (levels.length === 0) return nothingInside;
  const places = levels.reduce((product, level) => product * levelSize(level), 1);
  if (places > mostInside) {
    throw new LodgeError(
      'topology',
      `${places} places in one host are more than lodge can keep distances of`,
      {
        fix: `at most ${mostInside}; places that are alike are slots: 'slots:${places}'`,
      },
    );
  }
  const within = insideOf(levels.slice(1));
  const metric = metricOf(levels[0]!, within);
  const distances = new Float64Array(places * places);
  for (let a = 0; a < places; a++) {
    for (let b = 0; b < places; b++) distances[a * places + b] = metric.distance(a, b);
  }
  return { places, distances };
}

/**
 * The network that levels make, from outside in.
 * @param slots guests that each place can hold
 * @throws LodgeError `topology` when it is too large
 */
export function networkOfLevels(levels: readonly Level[], slots: number, form: string): HostNetwork {
  const outer = levels[0]!;
  const hosts = levelSize(outer);
  const inner = levels.slice(1);
  const places = inner.reduce((product, level) => product * levelSize(level), hosts);
  if (!(places <= mostPlaces)) {
    throw new LodgeError('topology', `'${form}' has ${places} places`, { fix: `at most ${mostPlaces}` });
  }
  const inside = insideOf(inner);
  const metric = metricOf(outer, inside);
  const axes = levels.map(axesOf);
  const regular = axes.every((some) => some !== undefined) ? axes.flat() : undefined;
  const sides = sidesOf(outer);
  const makeHierarchy = (): Hierarchy =>
    regular !== undefined
      ? hierarchyOfAxes(regular, places)
      : outer.kind === 'tree'
        ? hierarchyOfTree(outer.tree.paths, inside.places)
        : hierarchyOfDistances(metric);
  let hierarchy: Hierarchy | undefined;
  const hostNames = outer.kind === 'tree' || outer.kind === 'matrix' ? outer.names : undefined;
  const links = linksOf(outer);
  return {
    form,
    places,
    metric,
    capacity: { guests: new Int32Array(places).fill(slots) },
    ...(regular === undefined ? {} : { axes: regular }),
    ...(sides === undefined ? {} : { sides }),
    inside: inside.places,
    hierarchy: () => {
      hierarchy ??= makeHierarchy();
      return hierarchy;
    },
    ...(links === undefined ? {} : { links }),
    ...placeNames(hosts, inside.places, { hostNames, sides }),
  };
}

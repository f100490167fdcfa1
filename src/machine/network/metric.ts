/**
 * Distances between places in constant time and without a matrix where the shape allows: the hottest function of the
 * mapper. One class for all shapes, so that the one place that calls it stays monomorphic and is inlined.
 */

/** How distances of the outermost level are found. */
export const shapes = { packed: 0, lattice: 1, tree: 2, dragonfly: 3, matrix: 4, hypercube: 5 } as const;
type Shape = (typeof shapes)[keyof typeof shapes];

/** Lattices of up to three dimensions have their coordinates in one word, ten bits each, the top one a guard. */
const fieldBits = 10;
const fieldMask = 1023;
export const longestPackedSide = 512;
const packedBias = 512 | (512 << 10) | (512 << 20);

export interface MetricParts {
  places: number;
  shape: Shape;
  /** Of each host: what its distances are found by. */
  key: Int32Array;
  /** Costs, as the shape uses them. */
  table: Float64Array;
  /** Of each host: cost from it up to the root of a tree. */
  up?: Float64Array;
  /** Coordinates of each host in a lattice of many dimensions, and where each dimension's costs begin in the table. */
  coordinates?: Int16Array;
  starts?: Int32Array;
  /** Places of a host; a place is `host * inside + place in it`. */
  inside: number;
  /** Distances between the places of one host, row by row. */
  innerTable: Float64Array;
  /** Of a dragonfly: its groups and routers in each. */
  groups?: number;
  routers?: number;
}

export class Metric {
  /** What it was made of: a thread makes its own of the same memory. */
  readonly parts: MetricParts;
  readonly places: number;
  readonly hosts: number;
  readonly #shape: Shape;
  readonly #key: Int32Array;
  readonly #table: Float64Array;
  readonly #up: Float64Array;
  readonly #coordinates: Int16Array;
  readonly #starts: Int32Array;
  readonly #inside: number;
  readonly #innerTable: Float64Array;
  readonly #groups: number;
  readonly #routers: number;

  constructor(parts: MetricParts) {
    this.parts = parts;
    this.places = parts.places;
    this.#inside = parts.inside;
    this.hosts = parts.places / parts.inside;
    this.#shape = parts.shape;
    this.#innerTable = parts.innerTable;
    this.#table = parts.table;
    this.#up = parts.up ?? new Float64Array(0);
    this.#coordinates = parts.coordinates ?? new Int16Array(0);
    this.#starts = parts.starts ?? new Int32Array(0);
    this.#groups = parts.groups ?? 0;
    this.#routers = parts.routers ?? 0;
    this.#key = parts.key;
  }

  /** Weighted hops between two places; 0 from a place to itself. */
  distance(a: number, b: number): number {
    if (a === b) return 0;
    if (this.#inside === 1) return this.#between(a, b);
    const inside = this.#inside;
    const hostA = (a / inside) | 0;
    const hostB = (b / inside) | 0;
    if (hostA === hostB) {
      return this.#innerTable[(a - hostA * inside) * inside + (b - hostB * inside)]!;
    }
    return this.#between(hostA, hostB);
  }

  /**
   * Distances between some hosts alone, numbered in their order.
   * @param hosts ascending
   * @returns undefined where distances follow from the numbers of hosts
   */
  restrictedTo(hosts: Int32Array): Metric | undefined {
    const { shape, key, up, coordinates, starts, inside } = this.parts;
    if (shape === shapes.matrix || shape === shapes.hypercube) return undefined;
    const parts = { ...this.parts, places: hosts.length * inside };
    if (shape === shapes.lattice) {
      const dimensions = starts!.length;
      const kept = new Int16Array(hosts.length * dimensions);
      for (let i = 0; i < hosts.length; i++) {
        const from = hosts[i]! * dimensions;
        kept.set(coordinates!.subarray(from, from + dimensions), i * dimensions);
      }
      return new Metric({ ...parts, coordinates: kept });
    }
    return new Metric({
      ...parts,
      key: hosts.map((host) => key[host]!),
      ...(up === undefined ? {} : { up: Float64Array.from(hosts, (host) => up[host]!) }),
    });
  }

  #between(a: number, b: number): number {
    const table = this.#table;
    const key = this.#key;
    switch (this.#shape) {
      case shapes.packed: {
        const difference = key[a]! - key[b]! + packedBias;
        return (
          table[difference & fieldMask]! +
          table[1024 + ((difference >> fieldBits) & fieldMask)]! +
          table[2048 + ((difference >> (2 * fieldBits)) & fieldMask)]!
        );
      }
      case shapes.tree: {
        const up = this.#up;
        return up[a]! + up[b]! - table[Math.clz32(key[a]! ^ key[b]!)]!;
      }
      case shapes.hypercube:
        return table[0]! * bitsSet(a ^ b);
      case shapes.matrix:
        return table[a * this.hosts + b]!;
      case shapes.dragonfly:
        return this.#acrossDragonfly(key[a]!, key[b]!);
      default:
        return this.#inLattice(a, b);
    }
  }

  /** The table is: from a host to its router and down again; a local link; a global one. */
  #acrossDragonfly(a: number, b: number): number {
    const table = this.#table;
    if (a === b) return table[0]!;
    const routers = this.#routers;
    const groupA = (a / routers) | 0;
    const groupB = (b / routers) | 0;
    if (groupA === groupB) return table[0]! + table[1]!;
    const groups = this.#groups;
    const starts = this.#starts;
    const out = groupB > groupA ? groupB - groupA - 1 : groupB - groupA - 1 + groups;
    const locals =
      (starts[out] === a - groupA * routers ? 0 : 1) +
      (starts[groups - 2 - out] === b - groupB * routers ? 0 : 1);
    return table[0]! + table[2]! + locals * table[1]!;
  }

  #inLattice(a: number, b: number): number {
    const starts = this.#starts;
    const coordinates = this.#coordinates;
    const dimensions = starts.length;
    let sum = 0;
    for (let d = 0; d < dimensions; d++) {
      sum += this.#table[starts[d]! + coordinates[a * dimensions + d]! - coordinates[b * dimensions + d]!]!;
    }
    return sum;
  }
}

function bitsSet(word: number): number {
  let bits = word - ((word >>> 1) & 0x55555555);
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

export interface Side {
  size: number;
  wraps: boolean;
  /** Cost of a hop. */
  weight: number;
}

/** Hops along one side between two coordinates that differ by so much. */
export function hopsAlong({ size, wraps }: Side, difference: number): number {
  const straight = Math.abs(difference);
  return wraps ? Math.min(straight, size - straight) : straight;
}

/** What is inside each host: its places, and the distances between them. */
export interface Inside {
  places: number;
  distances: Float64Array;
}

export const nothingInside: Inside = { places: 1, distances: new Float64Array(1) };

/** A mesh or torus of hosts; the last side changes fastest. */
export function latticeMetric(sides: readonly Side[], inside: Inside): Metric {
  const hosts = sides.reduce((product, { size }) => product * size, 1);
  const common = { places: hosts * inside.places, inside: inside.places, innerTable: inside.distances };
  if (sides.length <= 3 && sides.every(({ size }) => size <= longestPackedSide)) {
    const table = new Float64Array(3 * 1024);
    sides.forEach((side, d) => {
      for (let by = 1 - side.size; by < side.size; by++) {
        table[d * 1024 + 512 + by] = side.weight * hopsAlong(side, by);
      }
    });
    // The last side, then as often as the side before is long, with another coordinate of it in each: and so on.
    const key = new Int32Array(hosts);
    let filled = 1;
    for (let d = sides.length - 1; d >= 0; d--) {
      const { size } = sides[d]!;
      for (let at = size - 1; at >= 0; at--) {
        const bits = at << (d * fieldBits);
        const start = at * filled;
        for (let i = 0; i < filled; i++) key[start + i] = key[i]! | bits;
      }
      filled *= size;
    }
    return new Metric({ ...common, shape: shapes.packed, key, table });
  }
  const starts = new Int32Array(sides.length);
  const table = new Float64Array(sides.reduce((sum, { size }) => sum + 2 * size, 0));
  const coordinates = new Int16Array(hosts * sides.length);
  let at = 0;
  let stride = hosts;
  sides.forEach((side, d) => {
    starts[d] = at + side.size;
    for (let by = 1 - side.size; by < side.size; by++) {
      table[starts[d]! + by] = side.weight * hopsAlong(side, by);
    }
    at += 2 * side.size;
    stride /= side.size;
    for (let host = 0; host < hosts; host++) {
      coordinates[host * sides.length + d] = Math.floor(host / stride) % side.size;
    }
  });
  return new Metric({ ...common, shape: shapes.lattice, key: new Int32Array(0), table, coordinates, starts });
}

/** @param dimensions up to 30 */
export function hypercubeMetric(dimensions: number, weight: number, inside: Inside): Metric {
  return new Metric({
    places: 2 ** dimensions * inside.places,
    shape: shapes.hypercube,
    key: new Int32Array(0),
    table: Float64Array.of(weight),
    inside: inside.places,
    innerTable: inside.distances,
  });
}

/** Any distances at all between hosts. @param distances row by row, symmetric, zero on the diagonal */
export function matrixMetric(hosts: number, distances: Float64Array, inside: Inside): Metric {
  return new Metric({
    places: hosts * inside.places,
    shape: shapes.matrix,
    key: new Int32Array(0),
    table: distances,
    inside: inside.places,
    innerTable: inside.distances,
  });
}

/**
 * A tree whose hosts are its leaves. The distance is the cost up to the lowest switch above both, and down.
 * @param path of each host, the number of the child taken at each depth, from the root down
 * @param costs cost of a link at each depth, the first one from the root to its children
 * @returns undefined when the paths have more than 31 bits together
 */
export function treeMetric(
  paths: readonly Int32Array[],
  costs: readonly number[],
  inside: Inside,
): Metric | undefined {
  const hosts = paths[0]?.length ?? 0;
  const widths = paths.map((children) => {
    const largest = children.reduce((most, child) => Math.max(most, child), 0);
    return Math.max(1, 32 - Math.clz32(largest));
  });
  const bits = widths.reduce((sum, width) => sum + width, 0);
  if (bits > 31) return undefined;
  const key = new Int32Array(hosts);
  const up = new Float64Array(hosts);
  const table = new Float64Array(33);
  let left = bits;
  let above = 0;
  paths.forEach((children, depth) => {
    const width = widths[depth]!;
    // The highest bit in which two keys differ lies in this field: the paths part at this depth.
    for (let bit = left - width; bit < left; bit++) table[31 - bit] = 2 * above;
    left -= width;
    for (let host = 0; host < hosts; host++) {
      const child = children[host]!;
      // A leaf higher up than others has no child here.
      if (child < 0) continue;
      key[host]! |= child << left;
      up[host]! += costs[depth]!;
    }
    above += costs[depth]!;
  });
  return new Metric({
    places: hosts * inside.places,
    shape: shapes.tree,
    key,
    table,
    up,
    inside: inside.places,
    innerTable: inside.distances,
  });
}

/** Groups of `routers` routers with `hosts` hosts and `globals` global links each: as many groups as there are links for. */
export interface DragonflySizes {
  routers: number;
  hosts: number;
  globals: number;
}

export interface DragonflyCosts {
  terminal: number;
  local: number;
  global: number;
}

export function dragonflyMetric(sizes: DragonflySizes, costs: DragonflyCosts, inside: Inside): Metric {
  const { routers, hosts, globals } = sizes;
  const groups = routers * globals + 1;
  const all = groups * routers * hosts;
  const key = new Int32Array(all);
  for (let host = 0; host < all; host++) key[host] = Math.floor(host / hosts);
  // The router that has the way to the group `out + 1` further on.
  const starts = new Int32Array(groups);
  for (let out = 0; out < groups - 1; out++) starts[out] = Math.floor(out / globals);
  return new Metric({
    places: all * inside.places,
    shape: shapes.dragonfly,
    key,
    table: Float64Array.of(2 * costs.terminal, costs.local, costs.global),
    starts,
    inside: inside.places,
    innerTable: inside.distances,
    groups,
    routers,
  });
}

/**
 * Links of a network between hosts, and which of them traffic takes. Each direction of a link is a link of its own.
 * Links inside hosts are not counted.
 *
 * Routes: tori and meshes by dimension order (each dimension in turn, the short way round), or minimal adaptive (at each
 * host on the way, every dimension in which there is still way to go is as likely); trees up to the lowest switch above
 * both and down, spread evenly over parallel links; dragonflies by the one shortest way.
 */

import { type DragonflySizes, hopsAlong, type Side } from './metric.ts';

export type Routing = 'dimension-order' | 'adaptive';

/** Takes what goes over a link. */
export type AddLoad = (link: number, amount: number) => void;

export interface Links {
  /** Numbers of links are below it; some of them may stand for none. */
  count: number;
  /** Links that there are. */
  present: number;
  /** Parallel links that one stands for. */
  width(link: number): number;
  name(link: number): string;
  /** Calls `add` for each link on the way between two different hosts, with what of `amount` takes it. */
  route(from: number, to: number, amount: number, routing: Routing, add: AddLoad): void;
}

/** Link `2 * (host * dimensions + d)` goes up in dimension d, the next one down. */
export function latticeLinks(sides: readonly Side[]): Links {
  const hosts = sides.reduce((product, { size }) => product * size, 1);
  const dimensions = sides.length;
  const sizes = sides.map(({ size }) => size);
  const strides = sides.map((_, d) => sizes.slice(d + 1).reduce((product, size) => product * size, 1));
  const coordinate = (host: number, d: number): number => Math.floor(host / strides[d]!) % sizes[d]!;
  const step = (host: number, d: number, by: number): number => {
    const at = coordinate(host, d);
    return host + (((at + by + sizes[d]!) % sizes[d]!) - at) * strides[d]!;
  };
  const linkOf = (host: number, d: number, by: number): number =>
    2 * (host * dimensions + d) + (by > 0 ? 0 : 1);

  /** Goes `hops` along one dimension. @returns where it ends */
  const along = (from: number, d: number, by: number, hops: number, amount: number, add: AddLoad): number => {
    let at = from;
    for (let hop = 0; hop < hops; hop++) {
      add(linkOf(at, d, by), amount);
      at = step(at, d, by);
    }
    return at;
  };

  const inOrder = (from: number, to: number, amount: number, add: AddLoad): void => {
    let at = from;
    for (let d = 0; d < dimensions; d++) {
      const side = sides[d]!;
      const difference = coordinate(to, d) - coordinate(from, d);
      if (difference === 0) continue;
      const hops = hopsAlong(side, difference);
      const up = hops === (difference + side.size) % side.size;
      const isEven = side.wraps && 2 * hops === side.size && side.size > 2;
      // Half way round, both ways are as short.
      if (isEven) {
        along(at, d, -1, hops, amount / 2, add);
        at = along(at, d, 1, hops, amount / 2, add);
      } else if (side.wraps) at = along(at, d, up ? 1 : -1, hops, amount, add);
      else at = along(at, d, Math.sign(difference), hops, amount, add);
    }
  };

  const adaptive = (from: number, to: number, amount: number, add: AddLoad): void => {
    // Every choice of ways round that is as short takes an equal share.
    const ways: { by: number; hops: number }[][] = sides.map((side, d) => {
      const difference = coordinate(to, d) - coordinate(from, d);
      const hops = hopsAlong(side, difference);
      if (difference === 0) return [{ by: 1, hops: 0 }];
      if (!side.wraps) return [{ by: Math.sign(difference), hops }];
      if (2 * hops === side.size && side.size > 2) return [1, -1].map((by) => ({ by, hops }));
      return [{ by: hops === (difference + side.size) % side.size ? 1 : -1, hops }];
    });
    const shares = ways.reduce((product, { length }) => product * length, 1);
    for (let choice = 0; choice < shares; choice++) {
      let rest = choice;
      const chosen = ways.map((options) => {
        const option = options[rest % options.length]!;
        rest = Math.floor(rest / options.length);
        return option;
      });
      throughBox(from, chosen, amount / shares, add);
    }
  };

  /** Probability of each host of the box between both, from the first on; one step goes along one dimension. */
  const throughBox = (
    from: number,
    ways: readonly { by: number; hops: number }[],
    amount: number,
    add: AddLoad,
  ): void => {
    const extents = ways.map(({ hops }) => hops + 1);
    const volume = extents.reduce((product, extent) => product * extent, 1);
    const boxStrides = extents.map((_, d) =>
      extents.slice(d + 1).reduce((product, extent) => product * extent, 1),
    );
    const share = new Float64Array(volume);
    share[0] = amount;
    // In the order of box numbers, every host comes after all from which one steps to it.
    for (let cell = 0; cell < volume; cell++) {
      if (share[cell] === 0) continue;
      let host = from;
      let open = 0;
      for (let d = 0; d < dimensions; d++) {
        const at = Math.floor(cell / boxStrides[d]!) % extents[d]!;
        if (at < extents[d]! - 1) open++;
        host = step(host, d, ways[d]!.by * at);
      }
      if (open === 0) continue;
      for (let d = 0; d < dimensions; d++) {
        if (Math.floor(cell / boxStrides[d]!) % extents[d]! === extents[d]! - 1) continue;
        add(linkOf(host, d, ways[d]!.by), share[cell]! / open);
        share[cell + boxStrides[d]!]! += share[cell]! / open;
      }
    }
  };

  return {
    count: 2 * hosts * dimensions,
    // Two in a row have one way between them, also on a torus.
    present: sides.reduce(
      (sum, { size, wraps }) => sum + (hosts / size) * 2 * (wraps && size > 2 ? size : size - 1),
      0,
    ),
    width: () => 1,
    name: (link) => {
      const host = Math.floor(link / (2 * dimensions));
      const d = Math.floor(link / 2) % dimensions;
      const at = sizes.map((_, i) => coordinate(host, i)).join(',');
      return `(${at}) ${link % 2 === 0 ? '+' : '-'}${axisName(d)}`;
    },
    route: (from, to, amount, routing, add) => {
      if (routing === 'adaptive') adaptive(from, to, amount, add);
      else inOrder(from, to, amount, add);
    },
  };
}

export function axisName(d: number): string {
  return d < 3 ? 'xyz'[d]! : `d${d}`;
}

/** Link `host * dimensions + d` changes bit d; by dimension order the lowest bit first. */
export function hypercubeLinks(dimensions: number): Links {
  const sides = Array.from({ length: dimensions }, () => ({ size: 2, wraps: false, weight: 1 }));
  // The last side of a lattice is the lowest bit.
  return latticeLinks(sides);
}

/** A switch of a tree, or a host. */
export interface TreeVertex {
  /** -1 for the root. */
  parent: number;
  depth: number;
  /** Parallel links to what is above it. */
  width: number;
  name: string;
}

/** Link `2 * vertex` goes up from it, the next one down to it. @param hosts vertex of each host */
export function treeLinks(vertices: readonly TreeVertex[], hosts: Int32Array): Links {
  const parent = Int32Array.from(vertices, (vertex) => vertex.parent);
  const depth = Int32Array.from(vertices, (vertex) => vertex.depth);
  return {
    count: 2 * vertices.length,
    // Nothing is above the root.
    present: 2 * (vertices.length - 1),
    width: (link) => vertices[link >> 1]!.width,
    name: (link) => `${vertices[link >> 1]!.name} ${link % 2 === 0 ? 'up' : 'down'}`,
    route: (from, to, amount, _, add) => {
      let up = hosts[from]!;
      let down = hosts[to]!;
      while (up !== down) {
        if (depth[up]! >= depth[down]!) {
          add(2 * up, amount);
          up = parent[up]!;
        } else {
          add(2 * down + 1, amount);
          down = parent[down]!;
        }
      }
    },
  };
}

/**
 * An extended generalised fat tree as a tree whose links stand for several. Below its parents, a subtree has as many
 * switches at its top as there are ways up in it. Vertices are numbered from the root down, those of one depth in the
 * order of their hosts; links as in {@link treeLinks}. Source: S. Öhring and others, "On generalized fat trees", IPPS 1995.
 * @param children of each switch, and `parents` of what is below it, from the hosts up
 */
export function regularTreeLinks(children: readonly number[], parents: readonly number[]): Links {
  const depths = children.length;
  /** By depth: the first vertex, the parallel links to above, and how many of these vertices have one parent. */
  const first = [0];
  const widths = [0];
  const siblings = [1];
  let [vertices, here] = [1, 1];
  for (let depth = 1; depth <= depths; depth++) {
    const level = depths - depth;
    first.push(vertices);
    widths.push(parents.slice(0, level + 1).reduce((product, count) => product * count, 1));
    siblings.push(children[level]!);
    here *= children[level]!;
    vertices += here;
  }
  const depthOf = (link: number): number => first.findLastIndex((vertex) => vertex <= link >> 1);
  return {
    count: 2 * vertices,
    // Nothing is above the root.
    present: 2 * (vertices - 1),
    width: (link) => widths[depthOf(link)]!,
    name: (link) => {
      const depth = depthOf(link);
      const index = (link >> 1) - first[depth]!;
      const name =
        depth === 0
          ? 'root'
          : depth === depths
            ? `host ${index}`
            : `subtree ${index} of level ${depths - depth}`;
      return `${name} ${link % 2 === 0 ? 'up' : 'down'}`;
    },
    route: (from, to, amount, _, add) => {
      let [up, down] = [from, to];
      for (let depth = depths; up !== down; depth--) {
        add(2 * (first[depth]! + up), amount);
        add(2 * (first[depth]! + down) + 1, amount);
        up = Math.floor(up / siblings[depth]!);
        down = Math.floor(down / siblings[depth]!);
      }
    },
  };
}

/** Links of hosts up and down, then those between the routers of a group, then those between groups. */
export function dragonflyLinks({ routers, hosts, globals }: DragonflySizes): Links {
  const groups = routers * globals + 1;
  const hostCount = groups * routers * hosts;
  const locals = 2 * hostCount;
  const firstGlobal = locals + groups * routers * routers;
  return {
    count: firstGlobal + groups * (groups - 1),
    // No router has a link to itself.
    present: firstGlobal + groups * (groups - 1) - groups * routers,
    width: () => 1,
    name: (link) => {
      if (link < locals) return `host ${link >> 1} ${link % 2 === 0 ? 'up' : 'down'}`;
      if (link < firstGlobal) {
        const router = Math.floor((link - locals) / routers);
        const group = Math.floor(router / routers);
        return `g${group + 1}r${(router % routers) + 1} to g${group + 1}r${((link - locals) % routers) + 1}`;
      }
      const group = Math.floor((link - firstGlobal) / (groups - 1));
      const out = (link - firstGlobal) % (groups - 1);
      return `g${group + 1} to g${((group + out + 1) % groups) + 1}`;
    },
    route: (from, to, amount, _, add) => {
      add(2 * from, amount);
      add(2 * to + 1, amount);
      const [a, b] = [Math.floor(from / hosts), Math.floor(to / hosts)];
      const [groupA, groupB] = [Math.floor(a / routers), Math.floor(b / routers)];
      const local = (group: number, one: number, other: number): void => {
        if (one !== other) add(locals + (group * routers + one) * routers + other, amount);
      };
      if (groupA === groupB) {
        local(groupA, a % routers, b % routers);
        return;
      }
      const out = (groupB - groupA - 1 + groups) % groups;
      local(groupA, a % routers, Math.floor(out / globals));
      add(firstGlobal + groupA * (groups - 1) + out, amount);
      local(groupB, Math.floor((groups - 2 - out) / globals), b % routers);
    },
  };
}

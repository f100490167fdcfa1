/**
 * Ways through a network's switches: the shortest, by number of links. Distances to a switch are found when a frame
 * first goes there (breadth first from it) and kept until links are cut, healed, added or removed.
 */

/** The distance of what cannot be reached. */
const unreachable = 0xffff;

/** Memory for distances; the oldest are forgotten. 10,000 switches: those of 1,677 destinations. */
const cacheBytes = 32 * 2 ** 20;

export interface RouteLink {
  /** Switches, by index in the network. */
  a: number;
  b: number;
  /** Number of the direction from `a` to `b`; the one back is the next. */
  direction: number;
}

export class Routes {
  readonly switches: number;
  /** Links at each switch: from `#start[switch]` to before `#start[switch + 1]`. */
  readonly #start: Int32Array;
  readonly #neighbours: Int32Array;
  /** Away from the switch. */
  readonly #directions: Int32Array;
  readonly #distances = new Map<number, Uint16Array>();
  readonly #isUp: (direction: number) => boolean;

  /**
   * @param switches 65,535 at most
   * @param isUp whether the link of a direction can be used; asked when distances are found, and at each hop
   */
  constructor(switches: number, links: readonly RouteLink[], isUp: (direction: number) => boolean) {
    this.switches = switches;
    this.#isUp = isUp;
    this.#start = new Int32Array(switches + 1);
    for (const { a, b } of links) {
      this.#start[a + 1] = this.#start[a + 1]! + 1;
      this.#start[b + 1] = this.#start[b + 1]! + 1;
    }
    for (let i = 0; i < switches; i++) this.#start[i + 1] = this.#start[i + 1]! + this.#start[i]!;
    this.#neighbours = new Int32Array(links.length * 2);
    this.#directions = new Int32Array(links.length * 2);
    const filled = this.#start.slice();
    for (const { a, b, direction } of links) {
      this.#put(filled, a, b, direction);
      this.#put(filled, b, a, direction ^ 1);
    }
  }

  /** To be called when a link was cut or healed. */
  forget(): void {
    this.#distances.clear();
  }

  /**
   * The direction to take next; of several that are as short, the one that the hash says.
   * @returns -1 when there is no way, or `from` is the destination
   */
  next(from: number, destination: number, hash: number): number {
    const distances = this.#distancesTo(destination);
    const wanted = distances[from]! - 1;
    if (wanted < 0 || wanted === unreachable - 1) return -1;
    const end = this.#start[from + 1]!;
    let ways = 0;
    let first = -1;
    for (let i = this.#start[from]!; i < end; i++) {
      if (distances[this.#neighbours[i]!] !== wanted || !this.#isUp(this.#directions[i]!)) continue;
      if (first < 0) first = i;
      ways++;
    }
    if (ways === 0) return -1;
    if (ways === 1) return this.#directions[first]!;
    // At each switch another choice of the same flow, or the ways of a fat tree would not all be used.
    let mixed = Math.imul(hash ^ Math.imul(from + 1, 0x9e3779b1), 0x85ebca6b);
    mixed ^= mixed >>> 16;
    let chosen = (mixed >>> 0) % ways;
    for (let i = first; i < end; i++) {
      if (distances[this.#neighbours[i]!] !== wanted || !this.#isUp(this.#directions[i]!)) continue;
      if (chosen-- === 0) return this.#directions[i]!;
    }
    return -1;
  }

  /**
   * Calls `visit` for the directions that lead to the children of a switch in the tree of shortest paths from `root`.
   * Every switch has one parent, so a frame that follows the tree meets each once.
   */
  children(at: number, root: number, visit: (direction: number) => void): void {
    const distances = this.#distancesTo(root);
    const wanted = distances[at]! + 1;
    if (wanted > unreachable) return;
    const end = this.#start[at + 1]!;
    for (let i = this.#start[at]!; i < end; i++) {
      const neighbour = this.#neighbours[i]!;
      if (distances[neighbour] !== wanted) continue;
      const direction = this.#directions[i]!;
      if (this.#parent(neighbour, wanted - 1, distances) === (direction ^ 1)) visit(direction);
    }
  }

  /** Number of links between two switches; infinity when there is no way. */
  hops(from: number, destination: number): number {
    const distance = this.#distancesTo(destination)[from]!;
    return distance === unreachable ? Number.POSITIVE_INFINITY : distance;
  }

  /** The direction from a switch to its parent: the first that is one nearer to the root. */
  #parent(of: number, wanted: number, distances: Uint16Array): number {
    const end = this.#start[of + 1]!;
    for (let i = this.#start[of]!; i < end; i++) {
      if (distances[this.#neighbours[i]!] === wanted && this.#isUp(this.#directions[i]!))
        return this.#directions[i]!;
    }
    return -1;
  }

  #put(filled: Int32Array, from: number, to: number, direction: number): void {
    const at = filled[from]!;
    filled[from] = at + 1;
    this.#neighbours[at] = to;
    this.#directions[at] = direction;
  }

  #distancesTo(destination: number): Uint16Array {
    return this.#distances.get(destination) ?? this.#search(destination);
  }

  #search(destination: number): Uint16Array {
    const distances = new Uint16Array(this.switches).fill(unreachable);
    const queue = new Int32Array(this.switches);
    let tail = 0;
    distances[destination] = 0;
    queue[tail++] = destination;
    for (let head = 0; head < tail; head++) {
      const at = queue[head]!;
      const distance = distances[at]! + 1;
      const end = this.#start[at + 1]!;
      for (let i = this.#start[at]!; i < end; i++) {
        const neighbour = this.#neighbours[i]!;
        if (distances[neighbour] !== unreachable || !this.#isUp(this.#directions[i]!)) continue;
        distances[neighbour] = distance;
        queue[tail++] = neighbour;
      }
    }
    const kept = Math.max(1, Math.floor(cacheBytes / (this.switches * 2)));
    if (this.#distances.size >= kept) this.#distances.delete(this.#distances.keys().next().value!);
    this.#distances.set(destination, distances);
    return distances;
  }
}

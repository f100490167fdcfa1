/** Vertices by their gain, the largest first, each found again to be moved or taken out. All in typed arrays. */

export class GainHeap {
  readonly #gains: Float64Array;
  readonly #heap: Int32Array;
  /** Where each vertex is in the heap; -1 when it is not. */
  readonly #position: Int32Array;
  size = 0;

  /** @param gains of each vertex; {@link put} after one changed */
  constructor(gains: Float64Array) {
    this.#gains = gains;
    this.#heap = new Int32Array(gains.length);
    this.#position = new Int32Array(gains.length).fill(-1);
  }

  /** Empties it. */
  clear(): void {
    for (let i = 0; i < this.size; i++) this.#position[this.#heap[i]!] = -1;
    this.size = 0;
  }

  has(vertex: number): boolean {
    return this.#position[vertex]! >= 0;
  }

  /** The vertex with the largest gain; -1 when there is none. */
  top(): number {
    return this.size === 0 ? -1 : this.#heap[0]!;
  }

  /** Takes the vertex with the largest gain out of it; there must be one. */
  pop(): number {
    const vertex = this.#heap[0]!;
    this.remove(vertex);
    return vertex;
  }

  remove(vertex: number): void {
    const at = this.#position[vertex]!;
    if (at < 0) return;
    this.#position[vertex] = -1;
    const last = this.#heap[--this.size]!;
    if (at < this.size) this.#settle(last, at);
  }

  /** Adds a vertex, or moves one that is in it and whose gain has changed. */
  put(vertex: number): void {
    const at = this.#position[vertex]!;
    this.#settle(vertex, at < 0 ? this.size++ : at);
  }

  /** Puts a vertex where it belongs, up or down from a position that is free or its own. */
  #settle(vertex: number, from: number): void {
    const heap = this.#heap;
    const position = this.#position;
    const gains = this.#gains;
    const size = this.size;
    const gain = gains[vertex]!;
    let at = from;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const other = heap[above]!;
      if (gains[other]! >= gain) break;
      heap[at] = other;
      position[other] = at;
      at = above;
    }
    for (;;) {
      let below = 2 * at + 1;
      if (below >= size) break;
      if (below + 1 < size && gains[heap[below + 1]!]! > gains[heap[below]!]!) below++;
      const other = heap[below]!;
      if (gains[other]! <= gain) break;
      heap[at] = other;
      position[other] = at;
      at = below;
    }
    heap[at] = vertex;
    position[vertex] = at;
  }
}

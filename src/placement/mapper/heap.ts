/** Vertices by their gain, the largest first, each found again to be moved or taken out. All in typed arrays. */

export class GainHeap {
  readonly #gains: Float64Array;
  readonly #heap: Int32Array;
  /** Where each vertex is in the heap; -1 when it is not. */
  readonly #position: Int32Array;
  size = 0;

  /** @param gains of each vertex; {@link update} after one changed */
  constructor(gains: Float64Array) {
    this.#gains = gains;
    this.#heap = new Int32Array(gains.length);
    this.#position = new Int32Array(gains.length).fill(-1);
  }

  /** Empties it, for vertices below `count`. */
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

  add(vertex: number): void {
    this.#position[vertex] = this.size;
    this.#heap[this.size] = vertex;
    this.#up(this.size++);
  }

  remove(vertex: number): void {
    const at = this.#position[vertex]!;
    if (at < 0) return;
    this.#position[vertex] = -1;
    const last = this.#heap[--this.size]!;
    if (at === this.size) return;
    this.#heap[at] = last;
    this.#position[last] = at;
    this.#up(at);
    this.#down(this.#position[last]!);
  }

  /** To be called when the gain of a vertex that is in it has changed. */
  update(vertex: number): void {
    const at = this.#position[vertex]!;
    this.#up(at);
    this.#down(this.#position[vertex]!);
  }

  #up(from: number): void {
    const [heap, position, gains] = [this.#heap, this.#position, this.#gains];
    const vertex = heap[from]!;
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
    heap[at] = vertex;
    position[vertex] = at;
  }

  #down(from: number): void {
    const [heap, position, gains] = [this.#heap, this.#position, this.#gains];
    const vertex = heap[from]!;
    const gain = gains[vertex]!;
    let at = from;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= this.size) break;
      if (below + 1 < this.size && gains[heap[below + 1]!]! > gains[heap[below]!]!) below++;
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

/**
 * Who sends how much to whom: frames and bytes by pair of endpoints, as totals, in windows, and as a rate that decays.
 * Sparse: a row for each pair that ever spoke, found by an open-addressed index, all in typed arrays.
 *
 * The rate is decayed forwards: what is added is scaled up by the time at which it comes, and scaled down when it is
 * read, so that adding costs a multiplication. Source: G. Cormode, V. Shkapenyuk, D. Srivastava and B. Xu, "Forward
 * decay", ICDE 2009.
 */

/** A window's name is a client's; more than these would be a leak. */
const mostWindows = 8;
/** Half-lives after which scales are taken back to 1. */
const rescaleAfter = 200;
/** Rows that no pair of real endpoints needs; beyond, traffic is counted in one row for all. */
const mostRows = 2 ** 22;
/** Source and destination of that row. */
const theRest = -2;

interface Window {
  sinceNs: number;
  frames: Float64Array;
  bytes: Float64Array;
}

export interface MatrixRow {
  source: number;
  destination: number;
  frames: number;
  bytes: number;
  bytesPerSecond: number;
}

export class TrafficMatrix {
  readonly halfLifeNs: number;
  #rows = 0;
  #index = new Int32Array(256).fill(-1);
  #sources = new Int32Array(64);
  #destinations = new Int32Array(64);
  #frames = new Float64Array(64);
  #bytes = new Float64Array(64);
  /** Bytes, each times 2 to the power of half-lives from `#scaledFromNs` to when it came. */
  #decayed = new Float64Array(64);
  #scaledFromNs = 0;
  #scale = 1;
  #scaleNs = 0;
  readonly #windows = new Map<string, Window>();

  constructor(halfLifeMs = 10_000) {
    this.halfLifeNs = halfLifeMs * 1e6;
  }

  get rows(): number {
    return this.#rows;
  }

  get windowNames(): string[] {
    return [...this.#windows.keys()];
  }

  /** Row of a pair, made when there is none. Rows stay what they are. */
  row(source: number, destination: number): number {
    let at = this.#slot(source, destination);
    let row = this.#index[at]!;
    if (row >= 0) return row;
    if (this.#rows >= mostRows - 1 && source !== theRest) return this.row(theRest, theRest);
    if (this.#rows === this.#sources.length) this.#grow();
    if (this.#rows * 2 >= this.#index.length) {
      this.#rehash();
      at = this.#slot(source, destination);
    }
    row = this.#rows++;
    this.#sources[row] = source;
    this.#destinations[row] = destination;
    this.#index[at] = row;
    return row;
  }

  add(row: number, frames: number, bytes: number, timeNs: number): void {
    if (timeNs !== this.#scaleNs) this.#rescale(timeNs);
    this.#frames[row] = this.#frames[row]! + frames;
    this.#bytes[row] = this.#bytes[row]! + bytes;
    this.#decayed[row] = this.#decayed[row]! + bytes * this.#scale;
  }

  /** Since when a window counts; 0 for one that was never reset. */
  sinceNs(window?: string): number {
    return (window === undefined ? undefined : this.#windows.get(window))?.sinceNs ?? 0;
  }

  /** Rows with traffic in the window, or with a rate left of at least a byte per second. */
  *read(timeNs: number, windowName?: string): Generator<MatrixRow> {
    if (timeNs !== this.#scaleNs) this.#rescale(timeNs);
    const window = windowName === undefined ? undefined : this.#windows.get(windowName);
    // The integral of what one byte is worth over all time to come is one byte.
    const perSecond = Math.LN2 / (this.halfLifeNs / 1e9) / this.#scale;
    for (let row = 0; row < this.#rows; row++) {
      const frames = this.#frames[row]! - (window?.frames[row] ?? 0);
      const bytesPerSecond = this.#decayed[row]! * perSecond;
      if (frames === 0 && bytesPerSecond < 1) continue;
      yield {
        source: this.#sources[row]!,
        destination: this.#destinations[row]!,
        frames,
        bytes: this.#bytes[row]! - (window?.bytes[row] ?? 0),
        bytesPerSecond,
      };
    }
  }

  /** Begins a window now. @returns false when there are as many as there may be */
  reset(window: string, timeNs: number): boolean {
    if (!this.#windows.has(window) && this.#windows.size >= mostWindows) return false;
    this.#windows.set(window, {
      sinceNs: timeNs,
      frames: this.#frames.slice(0, this.#rows),
      bytes: this.#bytes.slice(0, this.#rows),
    });
    return true;
  }

  /** Takes back what `read` gave, with all windows gone. */
  restore(rows: Iterable<MatrixRow>, timeNs: number): void {
    this.#rows = 0;
    this.#index.fill(-1);
    this.#frames.fill(0);
    this.#bytes.fill(0);
    this.#decayed.fill(0);
    this.#windows.clear();
    this.#scaledFromNs = timeNs;
    this.#scaleNs = timeNs;
    this.#scale = 1;
    for (const { source, destination, frames, bytes, bytesPerSecond } of rows) {
      const row = this.row(source, destination);
      this.#frames[row] = frames;
      this.#bytes[row] = bytes;
      this.#decayed[row] = (bytesPerSecond * (this.halfLifeNs / 1e9)) / Math.LN2;
    }
  }

  #rescale(timeNs: number): void {
    this.#scaleNs = timeNs;
    const halfLives = (timeNs - this.#scaledFromNs) / this.halfLifeNs;
    this.#scale = 2 ** halfLives;
    if (halfLives < rescaleAfter) return;
    for (let row = 0; row < this.#rows; row++) this.#decayed[row] = this.#decayed[row]! / this.#scale;
    this.#scaledFromNs = timeNs;
    this.#scale = 1;
  }

  #slot(source: number, destination: number): number {
    const mask = this.#index.length - 1;
    let hash = Math.imul(source, 0x9e3779b1) ^ Math.imul(destination, 0x85ebca6b);
    hash ^= hash >>> 15;
    let at = Math.imul(hash, 0x2c1b3c6d) & mask;
    for (;;) {
      const row = this.#index[at]!;
      if (row < 0 || (this.#sources[row] === source && this.#destinations[row] === destination)) return at;
      at = (at + 1) & mask;
    }
  }

  #rehash(): void {
    this.#index = new Int32Array(this.#index.length * 2).fill(-1);
    for (let row = 0; row < this.#rows; row++) {
      this.#index[this.#slot(this.#sources[row]!, this.#destinations[row]!)] = row;
    }
  }

  #grow(): void {
    const size = this.#sources.length * 2;
    const grown = <Numbers extends Int32Array | Float64Array>(to: Numbers, from: Numbers): Numbers => {
      to.set(from);
      return to;
    };
    this.#sources = grown(new Int32Array(size), this.#sources);
    this.#destinations = grown(new Int32Array(size), this.#destinations);
    this.#frames = grown(new Float64Array(size), this.#frames);
    this.#bytes = grown(new Float64Array(size), this.#bytes);
    this.#decayed = grown(new Float64Array(size), this.#decayed);
  }
}

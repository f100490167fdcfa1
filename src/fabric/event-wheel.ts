/**
 * What is due later: a hashed timing wheel over typed arrays. Source of the method: G. Varghese and T. Lauck, "Hashed
 * and hierarchical timing wheels", SOSP 1987 (scheme 6).
 *
 * Deadlines are nanoseconds of fabric time. The wheel turns in ticks of 2^15 ns (33 us); an event fires when its tick
 * is over, never early. Events of one tick fire in the order in which they were put in, so that frames of one
 * direction, whose deadlines never fall, keep their order.
 */

const tickNs = 2 ** 15;
/** A power of two: 537 ms in one turn. Events further away wait for more turns. */
const buckets = 2 ** 14;
const words = buckets / 32;

/** An event is a frame on a link; what the numbers mean is the caller's affair. */
export type Fire = (direction: number, slot: number, root: number, deadlineNs: number) => void;

export interface WheelEvent {
  direction: number;
  slot: number;
  root: number;
  deadlineNs: number;
}

export class EventWheel {
  #count = 0;
  /** The next tick to look at: all before it are done. */
  #cursor = 0;
  readonly #heads = new Int32Array(buckets).fill(-1);
  readonly #tails = new Int32Array(buckets).fill(-1);
  readonly #occupied = new Int32Array(words);
  /** By event. */
  #deadlines: Float64Array;
  #directions: Int32Array;
  #slots: Int32Array;
  #roots: Int32Array;
  #nexts: Int32Array;
  #free = -1;
  #fresh = 0;
  readonly #limit: number;

  /** @param limit events at most */
  constructor(limit = 2 ** 20) {
    this.#limit = limit;
    const size = Math.min(limit, 1024);
    this.#deadlines = new Float64Array(size);
    this.#directions = new Int32Array(size);
    this.#slots = new Int32Array(size);
    this.#roots = new Int32Array(size);
    this.#nexts = new Int32Array(size);
  }

  get count(): number {
    return this.#count;
  }

  get isFull(): boolean {
    return this.#count >= this.#limit;
  }

  /** @returns false when there are as many events as there may be */
  insert(deadlineNs: number, direction: number, slot: number, root: number): boolean {
    let event = this.#free;
    if (event >= 0) this.#free = this.#nexts[event]!;
    else {
      if (this.#fresh === this.#deadlines.length && !this.#grow()) return false;
      event = this.#fresh++;
    }
    this.#deadlines[event] = deadlineNs;
    this.#directions[event] = direction;
    this.#slots[event] = slot;
    this.#roots[event] = root;
    this.#append(event, Math.max(Math.floor(deadlineNs / tickNs), this.#cursor));
    this.#count++;
    return true;
  }

  /**
   * Fires what is due. Events that are put in meanwhile fire too when they are due.
   *
   * @param budget after about so many events it stops, between two ticks
   * @returns whether all that is due has fired
   */
  advance(nowNs: number, fire: Fire, budget = Number.POSITIVE_INFINITY): boolean {
    const end = Math.floor(nowNs / tickNs);
    let left = budget;
    while (this.#cursor < end) {
      if (this.#count === 0) {
        this.#cursor = end;
        break;
      }
      const tick = this.#nextOccupied();
      if (tick >= end) {
        this.#cursor = end;
        break;
      }
      this.#cursor = tick;
      if (left <= 0) return false;
      left -= this.#fireTick(tick, fire);
      this.#cursor = tick + 1;
    }
    return true;
  }

  /** When to call `advance` next, at the earliest; infinity when nothing waits. */
  nextNs(): number {
    return this.#count === 0 ? Number.POSITIVE_INFINITY : (this.#nextOccupied() + 1) * tickNs;
  }

  /** All events, in the order in which they will fire. */
  events(): WheelEvent[] {
    const found: WheelEvent[] = [];
    for (let bucket = 0; bucket < buckets; bucket++) {
      for (let event = this.#heads[bucket]!; event >= 0; event = this.#nexts[event]!)
        found.push(this.#describe(event));
    }
    // Stable: events of one tick are in one bucket, in order. What is overdue comes first, as it was put in.
    const tick = (event: WheelEvent) => Math.max(Math.floor(event.deadlineNs / tickNs), this.#cursor);
    return found.sort((a, b) => tick(a) - tick(b));
  }

  /** Takes out the events of a direction, and gives them in the order in which they would have fired. */
  take(direction: number): WheelEvent[] {
    const kept: WheelEvent[] = [];
    const taken: WheelEvent[] = [];
    for (const event of this.events()) (event.direction === direction ? taken : kept).push(event);
    if (taken.length === 0) return taken;
    this.clear();
    for (const event of kept) this.insert(event.deadlineNs, event.direction, event.slot, event.root);
    return taken;
  }

  /** Forgets all events; who held their slots must release them. */
  clear(): void {
    this.#heads.fill(-1);
    this.#tails.fill(-1);
    this.#occupied.fill(0);
    this.#free = -1;
    this.#fresh = 0;
    this.#count = 0;
  }

  #describe(event: number): WheelEvent {
    return {
      direction: this.#directions[event]!,
      slot: this.#slots[event]!,
      root: this.#roots[event]!,
      deadlineNs: this.#deadlines[event]!,
    };
  }

  #append(event: number, tick: number): void {
    const bucket = tick % buckets;
    const tail = this.#tails[bucket]!;
    this.#nexts[event] = -1;
    if (tail >= 0) this.#nexts[tail] = event;
    else {
      this.#heads[bucket] = event;
      this.#occupied[bucket >>> 5] = this.#occupied[bucket >>> 5]! | (1 << (bucket & 31));
    }
    this.#tails[bucket] = event;
  }

  /** Number of events that fired. Those of later turns stay. */
  #fireTick(tick: number, fire: Fire): number {
    const bucket = tick % buckets;
    const endNs = (tick + 1) * tickNs;
    let fired = 0;
    let firedBefore: number;
    do {
      firedBefore = fired;
      let event = this.#heads[bucket]!;
      this.#heads[bucket] = -1;
      this.#tails[bucket] = -1;
      this.#occupied[bucket >>> 5] = this.#occupied[bucket >>> 5]! & ~(1 << (bucket & 31));
      while (event >= 0) {
        const next = this.#nexts[event]!;
        const deadlineNs = this.#deadlines[event]!;
        if (deadlineNs >= endNs) this.#append(event, tick);
        else {
          const direction = this.#directions[event]!;
          const slot = this.#slots[event]!;
          const root = this.#roots[event]!;
          this.#nexts[event] = this.#free;
          this.#free = event;
          this.#count--;
          fired++;
          fire(direction, slot, root, deadlineNs);
        }
        event = next;
      }
    } while (fired > firedBefore && this.#heads[bucket]! >= 0);
    return fired;
  }

  /** The first tick from the cursor on whose bucket is not empty; there is one. */
  #nextOccupied(): number {
    const first = this.#cursor % buckets;
    let word = first >>> 5;
    let bits = this.#occupied[word]! & (-1 << (first & 31));
    for (let looked = 0; looked <= words; looked++) {
      if (bits !== 0) {
        const bucket = (word << 5) + (31 - Math.clz32(bits & -bits));
        return this.#cursor + ((bucket - first + buckets) % buckets);
      }
      word = (word + 1) % words;
      bits = this.#occupied[word]!;
    }
    throw new Error('the event wheel counts events that are in no bucket');
  }

  #grow(): boolean {
    const size = Math.min(this.#limit, this.#deadlines.length * 2);
    if (size === this.#deadlines.length) return false;
    const grown = <Numbers extends Int32Array | Float64Array>(to: Numbers, from: Numbers): Numbers => {
      to.set(from);
      return to;
    };
    this.#deadlines = grown(new Float64Array(size), this.#deadlines);
    this.#directions = grown(new Int32Array(size), this.#directions);
    this.#slots = grown(new Int32Array(size), this.#slots);
    this.#roots = grown(new Int32Array(size), this.#roots);
    this.#nexts = grown(new Int32Array(size), this.#nexts);
    return true;
  }
}

/**
 * When a fabric works. What comes within one turn of the event loop goes out together at its end; what is due later
 * wakes it by a timer. A timer of Node is up to a millisecond late, so for the last bit it looks again in each turn,
 * and sleeps in between for shorter times than a timer can. An idle fabric has no timer.
 */

import type { Fabric } from './fabric.ts';

/** What wants to write at the end of the turn. */
export interface Flushable {
  flush(): void;
}

/** Frames delivered in one turn, before sockets get theirs. */
const budget = 16_384;
/** Before what is due within this time a timer could be late. */
const nearNs = 1.5e6;

export class Turns {
  readonly #fabric: Fabric;
  readonly #dirty: Flushable[] = [];
  #isPending = false;
  #timer: NodeJS.Timeout | undefined;
  #timerNs = Number.POSITIVE_INFINITY;
  #isStopped = false;

  constructor(fabric: Fabric) {
    this.#fabric = fabric;
    fabric.onWork = () => this.soon();
  }

  /** Works at the end of this turn. */
  soon(): void {
    if (this.#isPending || this.#isStopped) return;
    this.#isPending = true;
    setImmediate(this.#run);
  }

  /** Flushes at the end of this turn; to be called once for each, until it was flushed. */
  flushLater(end: Flushable): void {
    this.#dirty.push(end);
    this.soon();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  readonly #run = (): void => {
    this.#isPending = false;
    if (this.#isStopped) return;
    const isDone = this.#fabric.advance(budget);
    const dirty = this.#dirty;
    for (let i = 0; i < dirty.length; i++) dirty[i]!.flush();
    dirty.length = 0;
    if (!isDone) this.soon();
    else this.#arm();
  };

  #arm(): void {
    const { clock, wheel } = this.#fabric;
    const nextNs = wheel.nextNs();
    if (clock.isFrozen || nextNs === Number.POSITIVE_INFINITY) return;
    const waitNs = nextNs - clock.now();
    if (waitNs < nearNs) {
      this.soon();
      return;
    }
    // One that comes too early finds nothing to do and sets the next.
    if (this.#timerNs <= nextNs) return;
    clearTimeout(this.#timer);
    this.#timerNs = nextNs;
    this.#timer = setTimeout(this.#wake, Math.floor(waitNs / 1e6) - 1);
  }

  readonly #wake = (): void => {
    this.#timerNs = Number.POSITIVE_INFINITY;
    this.soon();
  };
}

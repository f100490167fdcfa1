/**
 * When a fabric works. What comes within one turn of the event loop goes out together at its end; what is due later
 * wakes it by a timer. A timer of Node is up to a millisecond late, so for the last bit it looks again in each turn;
 * when a turn brought nothing, the thread first sleeps, for less than a timer can. So a link with a delay costs a
 * twentieth of a core while something is on its way, not a whole one, and a frame that comes meanwhile waits for 0.1 ms
 * at most. An idle fabric has no timer.
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
/** Shorter sleeps cost more than they save. */
const shortestSleepNs = 20e3;
const longestSleepNs = 100e3;
/** Nobody changes it: to wait for it is to sleep. */
const sleepCell = new Int32Array(new SharedArrayBuffer(4));

export class Turns {
  readonly #fabric: Fabric;
  readonly #dirty: Flushable[] = [];
  #isPending = false;
  /** Something came since the last turn. */
  #isBusy = false;
  #timer: NodeJS.Timeout | undefined;
  #timerNs = Number.POSITIVE_INFINITY;
  #isStopped = false;

  constructor(fabric: Fabric) {
    this.#fabric = fabric;
    fabric.onWork = () => this.soon();
  }

  /** Works at the end of this turn. */
  soon(): void {
    this.#isBusy = true;
    this.#next();
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

  #next(): void {
    if (this.#isPending || this.#isStopped) return;
    this.#isPending = true;
    setImmediate(this.#run);
  }

  readonly #run = (): void => {
    this.#isPending = false;
    if (this.#isStopped) return;
    const wasBusy = this.#isBusy;
    this.#isBusy = false;
    const isDone = this.#fabric.advance(budget);
    const dirty = this.#dirty;
    for (let i = 0; i < dirty.length; i++) dirty[i]!.flush();
    dirty.length = 0;
    if (!isDone) this.#next();
    else this.#arm(wasBusy);
  };

  #arm(wasBusy: boolean): void {
    const { clock, wheel } = this.#fabric;
    const nextNs = wheel.nextNs();
    if (clock.isFrozen || nextNs === Number.POSITIVE_INFINITY) return;
    const waitNs = nextNs - clock.now();
    if (waitNs < nearNs) {
      if (!wasBusy && waitNs > shortestSleepNs) {
        Atomics.wait(sleepCell, 0, 0, Math.min(waitNs, longestSleepNs) / 1e6);
      }
      this.#next();
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

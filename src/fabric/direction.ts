/**
 * One direction of a link: its shape, and what it does to a frame that comes onto it. First the bandwidth: a frame
 * begins to leave when those before it have left, and takes its bytes times 8 over the rate. Then chance: it is lost,
 * sent twice, or sent ahead of its delay. Then the delay, with jitter.
 */

import { type Random, seededRandom } from '../random.ts';
import { dropReasons } from './drops.ts';
import type { Switch } from './network.ts';
import type { Observer } from './observer.ts';
import type { Shape } from './plan.ts';
import type { Port } from './port.ts';
import { defaultQueueBytes } from './shape.ts';

/** What `Direction.plan` says besides a number of departures. */
export const lostToChance = -1;
export const lostToQueue = -2;

export class Direction {
  /** Place in the fabric's list; the other direction of the link is `id ^ 1`. */
  readonly id: number;
  /** Name of the link, and which direction of it. */
  readonly link: string;
  readonly isOut: boolean;
  /** What it leads to: one of both. */
  toPort: Port | undefined;
  toSwitch: Switch | undefined;
  observer: Observer | undefined;
  isCut = false;
  /** False when a frame that comes onto it leaves it at once: nothing to look up. */
  isShaped = false;
  shape: Shape = {};

  frames = 0;
  bytes = 0;
  deliveredFrames = 0;
  deliveredBytes = 0;
  readonly dropped = new Float64Array(dropReasons.length);
  /** On their way. */
  heldFrames = 0;
  /** Memory of those, by slots; a frame that is held twice counts twice. */
  heldBytes = 0;
  /** When what came so far will have left, as far as bandwidth goes. */
  freeNs = 0;

  random: Random;
  #nsPerByte = 0;
  #queueBytes = 0;
  #delayNs = 0;
  #jitterNs = 0;
  #loss = 0;
  #duplicate = 0;
  #reorder = 0;
  /** Results of `plan`. */
  firstNs = 0;
  secondNs = 0;
  /** Whether the first may overtake those that wait. */
  isAhead = false;

  constructor(id: number, link: string, isOut: boolean, seed: number) {
    this.id = id;
    this.link = link;
    this.isOut = isOut;
    this.random = seededRandom(seed, `${link}/${isOut ? 'out' : 'in'}`);
  }

  get delayNs(): number {
    return this.#delayNs;
  }

  get nsPerByte(): number {
    return this.#nsPerByte;
  }

  setShape(shape: Shape): void {
    this.shape = shape;
    const { bandwidthBitsPerSecond: rate } = shape;
    this.#nsPerByte = rate === undefined ? 0 : 8e9 / rate;
    this.#queueBytes = shape.queueBytes ?? defaultQueueBytes(rate ?? 0);
    this.#delayNs = (shape.delayMs ?? 0) * 1e6;
    this.#jitterNs = (shape.jitterMs ?? 0) * 1e6;
    this.#loss = shape.loss ?? 0;
    this.#duplicate = shape.duplicate ?? 0;
    this.#reorder = shape.reorder ?? 0;
    this.isShaped =
      this.#nsPerByte > 0 ||
      this.#delayNs > 0 ||
      this.#jitterNs > 0 ||
      this.#loss > 0 ||
      this.#duplicate > 0 ||
      this.#reorder > 0;
  }

  /** Bytes that wait for the bandwidth, the rest of the one that is being sent among them. */
  queuedBytes(timeNs: number): number {
    return this.#nsPerByte > 0 && this.freeNs > timeNs ? (this.freeNs - timeNs) / this.#nsPerByte : 0;
  }

  /**
   * Decides what becomes of a frame that comes onto this shaped direction now.
   * @returns how often it will leave, at `firstNs` and `secondNs`; or `lostToQueue`, or `lostToChance`
   */
  plan(timeNs: number, length: number): number {
    let sentNs = timeNs;
    if (this.#nsPerByte > 0) {
      if (this.freeNs > timeNs) {
        sentNs = this.freeNs;
        if ((sentNs - timeNs) / this.#nsPerByte + length > this.#queueBytes) return lostToQueue;
      }
      sentNs += length * this.#nsPerByte;
      this.freeNs = sentNs;
    }
    if (this.#loss > 0 && this.random.fraction() < this.#loss) return lostToChance;
    const isTwice = this.#duplicate > 0 && this.random.fraction() < this.#duplicate;
    this.isAhead = this.#reorder > 0 && this.random.fraction() < this.#reorder;
    this.firstNs = this.isAhead ? sentNs : sentNs + this.#delay();
    if (!isTwice) return 1;
    this.secondNs = sentNs + this.#delay();
    return 2;
  }

  /** When a frame that was queued or on its way under another shape leaves under this one; see `Graph.setShape`. */
  replan(timeNs: number, sentNs: number, deadlineNs: number, length: number): number {
    if (sentNs <= timeNs) return Math.min(deadlineNs, timeNs + this.#delayNs);
    this.freeNs = Math.max(timeNs, this.freeNs) + length * this.#nsPerByte;
    return this.freeNs + this.#delayNs;
  }

  #delay(): number {
    if (this.#jitterNs === 0) return this.#delayNs;
    return Math.max(0, this.#delayNs + (this.random.fraction() * 2 - 1) * this.#jitterNs);
  }
}

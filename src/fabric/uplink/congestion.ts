/**
 * Congestion control (RFC 5681) for what passt sends to guests, which has none: it sends all that the window allows at
 * once, and after any acknowledgement that comes a second time all of that again, and each of these segments is
 * acknowledged once more. So it is told of no larger window than the way to the guest has been seen to take, of a loss
 * once, and of nothing that it knows already. Pure; the clock is the caller's.
 */

import { mostFlows } from './flows.ts';

/** More would be lost where a guest's own socket has no room: four times this, shared by its connections. */
const mostWindowBytes = 131_072;
/** RFC 6928: ten segments. */
const firstSegments = 10;
const leastSegments = 2;
/** Acknowledgements that come so often tell of a loss, not of frames that overtook one another. */
const repeatsOfLoss = 3;
/** Where nothing else helps, passt is told again after this time; by itself it tries again after 2 s. */
const tellAgainMs = 300;

/**
 * `recovering`: what waits is being sent again. `settling`: all that was sent before the loss has arrived; segments that
 * came twice are still acknowledged, before the first that is new.
 */
const phases = { open: 0, recovering: 1, settling: 2 } as const;

/** Sequence numbers go round: how far `a` is after `b`. */
function after(a: number, b: number): number {
  return (a - b) | 0;
}

export class Congestion {
  /**
   * Of the last acknowledgement: passt takes it for a loss only when it has heard of the window before, and must be
   * told twice.
   */
  isTwice = false;
  readonly #segmentBytes: number;
  readonly #phase = new Uint8Array(mostFlows);
  readonly #isKnown = new Uint8Array(mostFlows);
  readonly #repeats = new Uint8Array(mostFlows);
  /** What the guest has acknowledged, and what it was sent. */
  readonly #acked = new Uint32Array(mostFlows);
  readonly #sentTo = new Uint32Array(mostFlows);
  /** What was sent when a loss was seen. */
  readonly #lostTo = new Uint32Array(mostFlows);
  readonly #window = new Uint32Array(mostFlows);
  readonly #threshold = new Uint32Array(mostFlows);
  /** As the guest said it, and as passt was told. */
  readonly #saidWindow = new Uint32Array(mostFlows);
  readonly #toldWindow = new Uint32Array(mostFlows);
  readonly #toldMs = new Float64Array(mostFlows);

  /** @param segmentBytes the most data in one segment */
  constructor(segmentBytes: number) {
    this.#segmentBytes = segmentBytes;
  }

  /** A connection begins. */
  begin(flow: number): void {
    this.#phase[flow] = phases.open;
    this.#isKnown[flow] = 0;
    this.#repeats[flow] = 0;
    this.#window[flow] = firstSegments * this.#segmentBytes;
    this.#threshold[flow] = mostWindowBytes;
  }

  /**
   * A segment of passt.
   * @param seq its first sequence number
   * @param to the one after its last
   * @returns false when the guest has acknowledged all of it: it need not have it again
   */
  sent(flow: number, seq: number, to: number, nowMs: number): boolean {
    if (this.#isKnown[flow] === 0) {
      this.#sentTo[flow] = to;
      return true;
    }
    if (to !== seq && after(to, this.#acked[flow]!) <= 0) {
      // What passt was told of it may have been lost.
      return nowMs - this.#toldMs[flow]! >= tellAgainMs;
    }
    const isAgain = to !== seq && after(to, this.#sentTo[flow]!) <= 0 && seq === this.#acked[flow];
    // By itself: it has waited for too long.
    if (isAgain && this.#phase[flow] === phases.open) this.#lose(flow);
    if (after(to, this.#sentTo[flow]!) > 0) this.#sentTo[flow] = to;
    return true;
  }

  /**
   * An acknowledgement of the guest.
   * @param windowBytes that the guest says
   * @param isBare the segment has no data, and neither begins nor ends anything
   * @returns the window that passt is told, in bytes; -1 when it is told nothing
   */
  acknowledged(flow: number, ack: number, windowBytes: number, isBare: boolean, nowMs: number): number {
    this.isTwice = false;
    const progress = this.#isKnown[flow] === 0 ? 0 : after(ack, this.#acked[flow]!);
    if (this.#isKnown[flow] === 0) {
      this.#isKnown[flow] = 1;
      this.#acked[flow] = ack;
      if (after(ack, this.#sentTo[flow]!) > 0) this.#sentTo[flow] = ack;
      return this.#tell(flow, windowBytes, nowMs);
    }
    if (progress > 0) {
      this.#progress(flow, ack, progress);
      return this.#tell(flow, windowBytes, nowMs);
    }
    const isUpdate = this.#saidWindow[flow] !== windowBytes;
    this.#saidWindow[flow] = windowBytes;
    if (!isBare || progress < 0) return this.#tell(flow, windowBytes, nowMs);
    const isWaiting = after(this.#sentTo[flow]!, this.#acked[flow]!) > 0;
    if (!isUpdate && isWaiting && this.#phase[flow] === phases.open) {
      if (this.#repeats[flow]! < repeatsOfLoss) this.#repeats[flow]!++;
      if (this.#repeats[flow] === repeatsOfLoss) {
        this.#lose(flow);
        const before = this.#toldWindow[flow];
        const told = this.#tell(flow, windowBytes, nowMs);
        this.isTwice = told !== before;
        return told;
      }
    }
    // To passt, the same window once more is a loss.
    const isNews = Math.min(windowBytes, this.#window[flow]!) !== this.#toldWindow[flow];
    const isLate = nowMs - this.#toldMs[flow]! >= tellAgainMs;
    return (isUpdate && isNews) || isLate ? this.#tell(flow, windowBytes, nowMs) : -1;
  }

  #progress(flow: number, ack: number, progress: number): void {
    const waitedBytes = after(this.#sentTo[flow]!, this.#acked[flow]!);
    this.#acked[flow] = ack;
    this.#repeats[flow] = 0;
    if (after(ack, this.#sentTo[flow]!) > 0) this.#sentTo[flow] = ack;
    if (this.#phase[flow] === phases.recovering) {
      if (after(ack, this.#lostTo[flow]!) < 0) return;
      this.#phase[flow] = phases.settling;
      this.#window[flow] = this.#threshold[flow]!;
      return;
    }
    this.#phase[flow] = phases.open;
    const window = this.#window[flow]!;
    // What is not used says nothing of what the way would take.
    if (2 * waitedBytes < window) return;
    const more =
      window < this.#threshold[flow]! ? progress : Math.ceil((this.#segmentBytes * progress) / window);
    this.#window[flow] = Math.min(mostWindowBytes, window + more);
  }

  /** The way is full: at first only what is missing is sent again, then half of what was on its way. */
  #lose(flow: number): void {
    const least = leastSegments * this.#segmentBytes;
    this.#threshold[flow] = Math.max(least, after(this.#sentTo[flow]!, this.#acked[flow]!) >>> 1);
    this.#window[flow] = least;
    this.#lostTo[flow] = this.#sentTo[flow]!;
    this.#phase[flow] = phases.recovering;
    this.#repeats[flow] = 0;
  }

  #tell(flow: number, windowBytes: number, nowMs: number): number {
    const told = Math.min(windowBytes, this.#window[flow]!);
    this.#saidWindow[flow] = windowBytes;
    this.#toldWindow[flow] = told;
    this.#toldMs[flow] = nowMs;
    return told;
  }
}

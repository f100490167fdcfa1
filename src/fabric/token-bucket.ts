/** So many per second, and bursts of so many: a bucket that fills with time. */
export class TokenBucket {
  readonly perSecond: number;
  readonly burst: number;
  #tokens: number;
  #filledNs = 0;

  constructor(perSecond: number, burst: number) {
    this.perSecond = perSecond;
    this.burst = burst;
    this.#tokens = burst;
  }

  /** Takes one out. @returns false when there is none */
  take(timeNs: number): boolean {
    if (timeNs > this.#filledNs) {
      const more = ((timeNs - this.#filledNs) / 1e9) * this.perSecond;
      this.#tokens = Math.min(this.burst, this.#tokens + more);
      this.#filledNs = timeNs;
    }
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}

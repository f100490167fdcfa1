/**
 * Fabric time: nanoseconds since the fabric began, less the time in which it was frozen. Numbers with a fraction of 53
 * bits count single nanoseconds for 104 days, and pairs of them for as long again.
 */

export class FabricClock {
  readonly #source: () => number;
  readonly #wallMs: () => number;
  /** Source time at fabric time 0. */
  #originNs: number;
  #frozenAtNs: number | undefined;
  /** Wall-clock time at fabric time 0. */
  #wallSeconds = 0;
  #wallNanoseconds = 0;

  /**
   * @param sourceNs monotonic time from any origin
   * @param wallMs milliseconds since the Unix epoch
   */
  constructor(sourceNs: () => number = () => performance.now() * 1e6, wallMs: () => number = Date.now) {
    this.#source = sourceNs;
    this.#wallMs = wallMs;
    this.#originNs = sourceNs();
    this.#setWall();
  }

  /** Whole nanoseconds. Stands still while frozen. */
  now(): number {
    return this.#frozenAtNs ?? Math.floor(this.#source() - this.#originNs);
  }

  get isFrozen(): boolean {
    return this.#frozenAtNs !== undefined;
  }

  freeze(): void {
    this.#frozenAtNs ??= this.now();
  }

  thaw(): void {
    if (this.#frozenAtNs === undefined) return;
    this.#originNs = this.#source() - this.#frozenAtNs;
    this.#frozenAtNs = undefined;
    this.#setWall();
  }

  /** Whole seconds since the Unix epoch at a fabric time. */
  seconds(timeNs: number): number {
    return this.#wallSeconds + Math.floor((timeNs + this.#wallNanoseconds) / 1e9);
  }

  /** Nanoseconds within that second. */
  nanoseconds(timeNs: number): number {
    return (timeNs + this.#wallNanoseconds) % 1e9;
  }

  #setWall(): void {
    const nowNs = this.now();
    const wallMs = this.#wallMs();
    // In two parts, since one number cannot hold today's nanoseconds.
    let seconds = Math.floor(wallMs / 1e3) - Math.floor(nowNs / 1e9);
    let nanoseconds = Math.floor((wallMs % 1e3) * 1e6) - (nowNs % 1e9);
    if (nanoseconds < 0) {
      nanoseconds += 1e9;
      seconds -= 1;
    }
    this.#wallSeconds = seconds;
    this.#wallNanoseconds = nanoseconds;
  }
}

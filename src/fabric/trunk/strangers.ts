/** Of connections that come to nothing: anybody can knock at the port, as often as they like, so it is told now and then. */

const everyMs = 10_000;

export class Strangers {
  readonly #tell: (from: string, reason: string) => void;
  #count = 0;
  #toldAtMs = Number.NEGATIVE_INFINITY;

  constructor(tell: (from: string, reason: string) => void) {
    this.#tell = tell;
  }

  failed(from: string, reason: string): void {
    this.#count++;
    const nowMs = performance.now();
    if (nowMs - this.#toldAtMs < everyMs) return;
    this.#toldAtMs = nowMs;
    const times = this.#count === 1 ? '' : ` (${this.#count} since the last time)`;
    this.#count = 0;
    this.#tell(from, `${reason}${times}`);
  }
}

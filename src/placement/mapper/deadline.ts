/** Work that stops when its time is over, with the best that it has until then. */

/** Thrown by {@link Deadline.check}; whoever started the work catches it. */
export class TimeIsUp extends Error {
  constructor() {
    super('the time limit is over');
    this.name = 'TimeIsUp';
  }
}

export interface Deadline {
  /** @throws TimeIsUp */
  check(): void;
  /** Milliseconds that are left. */
  leftMs(): number;
}

/** @param now a clock in milliseconds, such as `performance.now` */
export function deadlineIn(limitMs: number, now: () => number): Deadline {
  const end = now() + limitMs;
  return {
    check: () => {
      if (now() >= end) throw new TimeIsUp();
    },
    leftMs: () => end - now(),
  };
}

export const noDeadline: Deadline = { check: () => {}, leftMs: () => Number.POSITIVE_INFINITY };

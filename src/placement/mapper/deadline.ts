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

/** What is over when half of what is now left is over. */
export function firstHalfOf(deadline: Deadline): Deadline {
  const rest = deadline.leftMs() / 2;
  if (!Number.isFinite(rest)) return deadline;
  const leftMs = (): number => deadline.leftMs() - rest;
  return {
    check: () => {
      if (leftMs() <= 0) throw new TimeIsUp();
    },
    leftMs,
  };
}

export const noDeadline: Deadline = { check: () => {}, leftMs: () => Number.POSITIVE_INFINITY };

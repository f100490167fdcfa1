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

/** What is over so much earlier. */
export function earlier(deadline: Deadline, byMs: number): Deadline {
  if (!Number.isFinite(byMs)) return deadline;
  const leftMs = (): number => deadline.leftMs() - byMs;
  return {
    check: () => {
      if (leftMs() <= 0) throw new TimeIsUp();
    },
    leftMs,
  };
}

/** What is over when half of what is now left is over. */
export function firstHalfOf(deadline: Deadline): Deadline {
  return earlier(deadline, deadline.leftMs() / 2);
}

export const noDeadline: Deadline = { check: () => {}, leftMs: () => Number.POSITIVE_INFINITY };

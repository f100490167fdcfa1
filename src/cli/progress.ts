/** What a person sees while they wait: one line on standard error that goes away again. */

export interface Progress {
  /** Replaces the line. On something that is no terminal, {@link ProgressOptions} say what is shown. */
  show(text: string): void;
  /** Takes the line away. */
  clear(): void;
}

export interface ProgressOptions {
  /** Nothing is shown. */
  quiet: boolean;
  /** Every step stays, one line each, also when standard error is no terminal. */
  verbose: boolean;
  /** Where there is no terminal, one line at most in so many milliseconds, for work of hours; without it, none. */
  plainEveryMs?: number;
}

export function openProgress(options: ProgressOptions): Progress {
  const { stderr } = process;
  const startedMs = Date.now();
  const stay = (text: string): void => {
    stderr.write(`lodge: ${((Date.now() - startedMs) / 1000).toFixed(1)}s ${text}\n`);
  };
  if (options.verbose) return { show: stay, clear: () => {} };
  const { plainEveryMs } = options;
  if (options.quiet || (!stderr.isTTY && plainEveryMs === undefined)) {
    return { show: () => {}, clear: () => {} };
  }
  if (!stderr.isTTY) {
    const isDue = every(plainEveryMs!, Date.now);
    return { show: (text) => void (isDue() && stay(text)), clear: () => {} };
  }
  let isShown = false;
  return {
    show: (text) => {
      isShown = true;
      stderr.write(`\r\u001b[Klodge: ${text.slice(0, (stderr.columns || 80) - 10)}…`);
    },
    clear: () => {
      if (isShown) stderr.write('\r\u001b[K');
      isShown = false;
    },
  };
}

/** Says yes the first time, and then no more often than once in so many milliseconds of the clock given. */
export function every(intervalMs: number, nowMs: () => number): () => boolean {
  let dueMs = Number.NEGATIVE_INFINITY;
  return () => {
    const now = nowMs();
    if (now < dueMs) return false;
    dueMs = now + intervalMs;
    return true;
  };
}

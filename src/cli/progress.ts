/** What a person sees while they wait: one line on standard error that goes away again. */

export interface Progress {
  /**
   * Replaces the line. On something that is no terminal only what takes long is shown, a plain line each, unless
   * lodge is told to be verbose or quiet.
   */
  show(text: string, isLong?: boolean): void;
  /** Takes the line away. */
  clear(): void;
}

/** @param verbose every step stays, one line each, also when standard error is no terminal */
export function openProgress(options: { quiet: boolean; verbose: boolean }): Progress {
  const { stderr } = process;
  if (options.verbose) {
    const startedMs = performance.now();
    return {
      show: (text) =>
        stderr.write(`lodge: ${((performance.now() - startedMs) / 1000).toFixed(1)}s ${text}\n`),
      clear: () => {},
    };
  }
  if (options.quiet) return { show: () => {}, clear: () => {} };
  if (!stderr.isTTY) {
    const show = (text: string, isLong = false): void => {
      if (isLong) stderr.write(`lodge: ${text}\n`);
    };
    return { show, clear: () => {} };
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

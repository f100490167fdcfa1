/** What a person sees while they wait: one line on standard error that goes away again. */

import { formatTime } from '../units.ts';
import { isInFront } from './terminal-group.ts';

export interface Progress {
  /**
   * Replaces the line. On something that is no terminal, {@link ProgressOptions} say what is shown.
   * @param isLong it may take long: told where there is no terminal, too
   */
  show(text: string, isLong?: boolean): void;
  /** Takes the line away. */
  clear(): void;
}

export interface ProgressOptions {
  /** Nothing is shown. */
  quiet: boolean;
  /** Every step stays, one line each, also when standard error is no terminal. */
  verbose: boolean;
  /**
   * Where there is no terminal, a line now and then ({@link plainProgress}), for work of hours; without it, only what
   * takes long.
   */
  plainEveryMs?: number;
}

export function openProgress(options: ProgressOptions): Progress {
  const { stderr } = process;
  const startedMs = performance.now();
  const stay = (text: string): void => {
    stderr.write(`lodge: ${((performance.now() - startedMs) / 1000).toFixed(1)}s ${text}\n`);
  };
  if (options.verbose) return { show: stay, clear: () => {} };
  if (options.quiet) return { show: () => {}, clear: () => {} };
  if (!canReplaceLine()) {
    if (options.plainEveryMs !== undefined) return plainProgress(stay, options.plainEveryMs);
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

/** Whether standard error is a terminal that knows how to, and that nobody else is typing at. */
function canReplaceLine(): boolean {
  return process.stderr.isTTY && !['', 'dumb'].includes(process.env.TERM ?? '') && isInFront();
}

/** So many intervals after it was written, a text is written again, to show that the work goes on. */
const intervalsToRepeat = 10;

/**
 * Progress for a log: the first text at once, then the newest one at most once in `everyMs`, and the same one again
 * after ten times as long.
 */
export function plainProgress(write: (text: string) => void, everyMs: number): Progress {
  let newest: string | undefined;
  let written: string | undefined;
  let intervals = 0;
  let timer: NodeJS.Timeout | undefined;
  const put = (): void => {
    written = newest;
    intervals = 0;
    write(newest!);
  };
  const tick = (): void => {
    intervals++;
    if (newest !== undefined && (newest !== written || intervals >= intervalsToRepeat)) put();
  };
  return {
    show: (text) => {
      newest = text;
      if (timer !== undefined) return;
      // Nothing is kept alive by being told about.
      timer = setInterval(tick, everyMs).unref();
      put();
    },
    clear: () => {
      newest = undefined;
    },
  };
}

const barWidth = 20;

/** `[####      ] 12 of 60 up, booting, 30s left` */
export function progressBar(state: {
  doing: string;
  guests: number;
  ready: number;
  leftMs?: number;
}): string {
  const { doing, guests, ready, leftMs } = state;
  if (guests === 0) return doing;
  const filled = Math.floor((barWidth * ready) / guests);
  const left =
    leftMs === undefined || ready === guests ? '' : `, ${formatTime(Math.ceil(leftMs / 1000) * 1000)} left`;
  return `[${'#'.repeat(filled)}${' '.repeat(barWidth - filled)}] ${ready} of ${guests} up, ${doing}${left}`;
}

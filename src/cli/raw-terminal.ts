/** The terminal handed over: every byte goes to the guest and comes from it as it is. */

import { spawnSync } from 'node:child_process';
import { closeSync, fstatSync } from 'node:fs';
import { isatty, type ReadStream } from 'node:tty';

/**
 * Turns all processing by this terminal off. The raw mode of Node.js leaves it to turn line feeds into carriage
 * return and line feed, which the guest's own terminal has done already, or is told not to do by what draws on it.
 * `setRawMode(false)` gives back all that was before, as does the end of this process.
 */
export function makeRaw(terminal: ReadStream): void {
  terminal.setRawMode(true);
  spawnSync('stty', ['-opost'], { stdio: ['inherit', 'ignore', 'ignore'] });
}

/** Ctrl-]: the key that leaves. Programs use it too, so where one runs it is wanted three times. */
export const escapeByte = 0x1d;

const escapeTimes = 3;
const escapeWithinMs = 1000;

/** @returns what is told all that is typed, and says whether this makes it three of {@link escapeByte} in a second */
export function threeTimes(nowMs: () => number = () => performance.now()): (typed: Uint8Array) => boolean {
  let times = 0;
  let sinceMs = 0;
  return (typed) => {
    for (const byte of typed) {
      if (byte !== escapeByte) times = 0;
      else if (times === 0 || nowMs() - sinceMs > escapeWithinMs) {
        times = 1;
        sinceMs = nowMs();
      } else if (++times === escapeTimes) return true;
    }
    return false;
  };
}

let isMinded = false;

/**
 * Lets go of terminals that were hung up when this process exits. Node.js 20 gives each terminal back as it was, and
 * where one is gone by then, ends by SIGABRT instead.
 */
export function leaveLostTerminals(): void {
  if (isMinded) return;
  isMinded = true;
  process.on('exit', () => {
    for (const fd of [0, 1, 2]) {
      try {
        if (fstatSync(fd).isCharacterDevice() && !isatty(fd)) closeSync(fd);
      } catch {
        // It is closed already.
      }
    }
  });
}

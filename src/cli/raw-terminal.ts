/** The terminal handed over: every byte goes to the guest and comes from it as it is. */

import { spawnSync } from 'node:child_process';
import type { ReadStream } from 'node:tty';

/**
 * Turns all processing by this terminal off. The raw mode of Node.js leaves it to turn line feeds into carriage
 * return and line feed, which the guest's own terminal has done already, or is told not to do by what draws on it.
 * `setRawMode(false)` gives back all that was before, as does the end of this process.
 */
export function makeRaw(terminal: ReadStream): void {
  terminal.setRawMode(true);
  spawnSync('stty', ['-opost'], { stdio: ['inherit', 'ignore', 'ignore'] });
}

/** The console of a guest on this terminal. */

import { connect } from 'node:net';
import { join } from 'node:path';
import type { ReadStream } from 'node:tty';
import { LodgeError } from '../errors.ts';
import { guestFiles } from '../guest/plan.ts';
import { thisHostVariable } from '../server/locate.ts';
import { endWithReader } from './end-with-reader.ts';
import { escapeByte, leaveLostTerminals, makeRaw } from './raw-terminal.ts';

export interface ConsoleOptions {
  /** Stops showing when this resolves. */
  untilEnd?: Promise<void>;
  /**
   * Called when the person leaves with Ctrl-], and at signals that ask to end, with the signal. Without it, all of
   * them end the showing; with it, only Ctrl-] does, and the end of the guest.
   */
  onLeave?: (signal?: NodeJS.Signals) => void;
}

/**
 * Joins this terminal to a guest's console until the person leaves or the guest ends. What the guest writes goes
 * to the terminal as it is: that is what a console is; `lodge logs` shows it without control characters.
 * @returns how many bytes were shown
 * @throws LodgeError `guest-not-running`
 */
export async function showConsole(dir: string, options: ConsoleOptions = {}): Promise<number> {
  const socket = connect(join(dir, guestFiles.console));
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', (cause) => {
      reject(
        new LodgeError('guest-not-running', 'the guest has no console any more', {
          fix: 'lodge ps says how it is, lodge logs what it said',
          cause,
        }),
      );
    });
  });
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.on('error', () => {});
  let shownBytes = 0;
  socket.on('data', (bytes) => {
    shownBytes += bytes.length;
    if (process.stdout.write(bytes)) return;
    socket.pause();
    process.stdout.once('drain', () => socket.resume());
  });
  const stdin = process.stdin as ReadStream;
  const isTerminal = stdin.isTTY === true;
  // For another host of a job, the terminal is there.
  const isTyped = isTerminal || process.env[thisHostVariable] !== undefined;
  const leave = (signal?: NodeJS.Signals): void => {
    options.onLeave?.(signal);
    if (signal === undefined || options.onLeave === undefined) socket.destroy();
  };
  const onData = (bytes: Buffer): void => {
    if (isTyped && bytes.includes(escapeByte)) leave();
    else socket.write(bytes);
  };
  if (isTerminal) {
    process.stderr.write('lodge: this is the console; Ctrl-] leaves it\n');
    makeRaw(stdin);
    // One that was hung up cannot be given back; SIGHUP tells.
    stdin.on('error', () => {});
    leaveLostTerminals();
  }
  stdin.on('data', onData);
  const interrupts = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  const handlers = interrupts.map((name) => [name, () => leave(name)] as const);
  for (const [name, handler] of handlers) process.on(name, handler);
  // Of a guest that ends with this process, only what it writes next ends both.
  const stopWatching = options.onLeave === undefined ? endWithReader() : () => {};
  await Promise.race([closed, options.untilEnd ?? closed]);
  // The last output may still be on its way from the keeper.
  await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, 200))]);
  for (const [name, handler] of handlers) process.removeListener(name, handler);
  stopWatching();
  stdin.removeListener('data', onData);
  if (isTerminal) stdin.setRawMode(false);
  stdin.destroy();
  socket.destroy();
  return shownBytes;
}

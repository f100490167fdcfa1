/**
 * The end of a verb that follows when nobody reads any more. Node.js notices that by writing alone, which may be hours
 * later; tail(1), of GNU, waits for it.
 */

import { spawn } from 'node:child_process';
import { fstatSync } from 'node:fs';
import { dieOf } from './stdio.ts';

const lookEverySeconds = 0.2;

/**
 * Ends this process as by SIGPIPE, which is how its next line would end it, once the reader of standard output has
 * gone. Without GNU's tail, or where standard output is no pipe, that next line does.
 * @returns what undoes this
 */
export function endWithReader(): () => void {
  if (!fstatSync(1).isFIFO()) return () => {};
  const argv = ['-s', String(lookEverySeconds), '--pid', String(process.pid), '-f', '/dev/null'];
  const watcher = spawn('tail', argv, { stdio: ['ignore', 'inherit', 'ignore'] });
  watcher.once('error', () => {});
  watcher.once('exit', (_, signal) => {
    if (signal === 'SIGPIPE') dieOf(signal);
  });
  watcher.unref();
  return () => {
    watcher.kill();
  };
}

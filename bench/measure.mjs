/** What the benchmarks share: CPU time of process trees, medians, tables. */

import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
export const lodge = join(root, 'lodge');

/** Clock ticks of /proc are hundredths of a second on every x86-64 Linux (USER_HZ). */
const tickSeconds = 0.01;

/** The fields of /proc/PID/stat from the third on, in which a program's name cannot get in the way. */
export function statFields(text) {
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

/**
 * CPU seconds, user and system, of all children of this process that have ended and been waited for, and of what they
 * waited for. The kernel adds up nanoseconds and shows ticks: a difference of two is off by one tick at most.
 */
export function childrenCpuSeconds() {
  const fields = statFields(readFileSync('/proc/self/stat', 'latin1'));
  return (Number(fields[13]) + Number(fields[14])) * tickSeconds;
}

/** CPU seconds of one process and all its threads so far. */
export function ownCpuSeconds(statText) {
  const fields = statFields(statText);
  return (Number(fields[11]) + Number(fields[12])) * tickSeconds;
}

/**
 * Runs a program to its end.
 * @param options those of `spawn`; `onSpawn` is called with the child
 * @returns wall time, CPU time of its whole tree, and how it ended
 */
export async function timed(program, args, { onSpawn, ...options } = {}) {
  const cpuBefore = childrenCpuSeconds();
  const startedAt = performance.now();
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'], ...options });
  onSpawn?.(child);
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (exitCode, signal) => resolve(exitCode ?? signal));
  });
  const wallSeconds = (performance.now() - startedAt) / 1000;
  return { wallSeconds, cpuSeconds: childrenCpuSeconds() - cpuBefore, code };
}

/** As `timed`, and an error unless the program ended with 0. */
export async function mustRun(program, args, options) {
  const result = await timed(program, args, options);
  if (result.code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${result.code}`);
  return result;
}

/** Descriptors of the living children of a process, by the name of their program. */
export function childOf(pid, isIt) {
  const pending = [pid];
  while (pending.length > 0) {
    const at = pending.shift();
    let children;
    try {
      children = readFileSync(`/proc/${at}/task/${at}/children`, 'latin1').trim().split(' ');
      // A child made by another thread than the first is in that thread's list; none of ours does that.
    } catch {
      continue;
    }
    for (const child of children.filter((text) => text !== '').map(Number)) {
      try {
        if (isIt(readFileSync(`/proc/${child}/comm`, 'latin1').trim())) return child;
      } catch {
        continue;
      }
      pending.push(child);
    }
  }
  return undefined;
}

/** Follows the CPU time of a process until it is gone: the last value seen is low by one look's interval at most. */
export function followCpu(pid) {
  const descriptor = openSync(`/proc/${pid}/stat`, 'r');
  const buffer = Buffer.alloc(1024);
  let seconds = 0;
  const timer = setInterval(() => {
    try {
      const length = readSync(descriptor, buffer, 0, buffer.length, 0);
      seconds = ownCpuSeconds(buffer.toString('latin1', 0, length));
    } catch {
      clearInterval(timer);
    }
  }, 2);
  return () => {
    clearInterval(timer);
    closeSync(descriptor);
    return seconds;
  };
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** `1.23 (1.20 to 1.31)`: the median, and between what the values lie. */
export function spread(values, digits = 2) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return `${median(values).toFixed(digits)} (${low.toFixed(digits)} to ${high.toFixed(digits)})`;
}

/** Prints a result beside its bar. @returns whether it holds */
export function judge(what, value, isMet, bar) {
  process.stdout.write(`${isMet ? 'met   ' : 'MISSED'}  ${what}: ${value}; bar: ${bar}\n`);
  return isMet;
}

/** Number of rounds: the first argument, or as given here. */
export function rounds(preset) {
  const asked = Number(process.argv[2] ?? preset);
  if (Number.isInteger(asked) && asked > 0) return asked;
  process.stderr.write('the argument is a number of rounds\n');
  process.exit(2);
}

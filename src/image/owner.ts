/** Which process made a temporary directory or holds a lease, so that what a dead process left can be told apart. */

import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/** A process, named so that no other process on any host is ever taken for it. */
export interface Owner {
  host: string;
  /** /etc/machine-id: the same across reboots. */
  machine: string;
  /** The kernel's boot id: the same only until the next reboot. */
  boot: string;
  /** Inode of the PID namespace: elsewhere the same number is another process. */
  pidNamespace: string;
  pid: number;
  /** Field 22 of /proc/PID/stat, clock ticks after boot (proc(5)): tells a reused PID from the first one. */
  startTime: string;
}

let cachedOwner: Owner | undefined;

/** This process. */
export function thisProcess(): Owner {
  cachedOwner ??= {
    host: hostname(),
    machine: readOr('/etc/machine-id', 'unknown'),
    boot: readOr('/proc/sys/kernel/random/boot_id', 'unknown'),
    pidNamespace: thisPidNamespace(),
    pid: process.pid,
    startTime: startTimeOf(process.pid) ?? '0',
  };
  return cachedOwner;
}

/**
 * What became of a process: `gone` only when that is sure. A process on another host, or in another PID
 * namespace of this one, is `unknown`.
 */
export function fateOf(owner: Owner): 'alive' | 'gone' | 'unknown' {
  const here = thisProcess();
  if (owner.boot !== here.boot) {
    const sameMachine =
      owner.host === here.host && owner.machine === here.machine && owner.machine !== 'unknown';
    return sameMachine ? 'gone' : 'unknown';
  }
  if (owner.pidNamespace !== here.pidNamespace) return 'unknown';
  return startTimeOf(owner.pid) === owner.startTime ? 'alive' : 'gone';
}

/** The start time of a process on this host; nothing when there is none of that number. */
export function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field is the program's name in brackets, which may itself hold spaces and brackets.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

function thisPidNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid').replace(/\D/g, '');
  } catch {
    return 'unknown';
  }
}

function readOr(path: string, fallback: string): string {
  try {
    return readFileSync(path, 'latin1').trim();
  } catch {
    return fallback;
  }
}

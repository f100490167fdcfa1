/** Which process made a temporary directory or holds a lease, so that what a dead process left can be told apart. */

import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { identify, isAlive, type ProcessIdentity } from '../process-identity.ts';

/** A process, named so that no other process on any host is ever taken for it. */
export interface Owner extends ProcessIdentity {
  host: string;
  /** /etc/machine-id: the same across reboots. */
  machine: string;
  /** The kernel's boot id: the same only until the next reboot. */
  boot: string;
  /** Inode of the PID namespace: elsewhere the same number is another process. */
  pidNamespace: string;
}

let cachedOwner: Owner | undefined;

/** This process. */
export function thisProcess(): Owner {
  cachedOwner ??= {
    host: hostname(),
    machine: readOr('/etc/machine-id', 'unknown'),
    boot: readOr('/proc/sys/kernel/random/boot_id', 'unknown'),
    pidNamespace: thisPidNamespace(),
    ...identify(process.pid)!,
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
  return isAlive(owner) ? 'alive' : 'gone';
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

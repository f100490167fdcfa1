/** Names of what is being made, or removed, in the store's `tmp/`: they say whose it is. */

import { randomBytes } from 'node:crypto';
import { type Owner, thisProcess } from './owner.ts';

/** A name in `tmp/` that nobody else has, and that says which process it belongs to. */
export function temporaryName(): string {
  const { boot, pidNamespace, pid, startTicks } = thisProcess();
  return `${boot.slice(0, 8)}.${pidNamespace}.${pid}.${startTicks}-${randomBytes(8).toString('hex')}`;
}

/** The process that a name in `tmp/` belongs to; undefined of another host or boot. */
export function ownerOfTag(entry: string): Owner | undefined {
  const match = /^([0-9a-f]{8})\.(\d+)\.(\d+)\.(\d+)-/.exec(entry);
  const here = thisProcess();
  if (match === null || !here.boot.startsWith(match[1]!)) return undefined;
  return { ...here, pidNamespace: match[2]!, pid: Number(match[3]), startTicks: Number(match[4]) };
}

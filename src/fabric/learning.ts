/**
 * Who may speak with which source address, and what is learnt from it. A port's own address is known from the plan and
 * is its own alone. Others are learnt, up to the port's limit; of a port that is full the oldest that was silent for
 * 5 minutes makes room. What was learnt moves when it is heard elsewhere.
 *
 * A guest that migrates is heard behind a trunk next. Its address, though planned for a port here, then moves to the
 * trunk: when it announces itself (RARP), or when nothing is connected to its own port. Only a trunk can take it.
 */

import { drop } from './drops.ts';
import type { MacTable } from './mac-table.ts';
import type { Port } from './port.ts';

const agingNs = 300e9;
/** How often a full port is searched for addresses that have grown old. */
const agingEveryNs = 1e9;

export const rarpType = 0x8035;

export interface Learning {
  macs: MacTable;
  portOf(id: number): Port;
  /** Whose traffic an address is that is not in the plan. */
  endpointFor(port: Port, hi: number, lo: number): number;
}

/**
 * The entry of a frame's source address, learnt if need be.
 * @returns the entry, or the index of a reason to drop the frame as -1 - index
 */
export function learnSource(
  { macs, portOf, endpointFor }: Learning,
  port: Port,
  hi: number,
  lo: number,
  etherType: number,
  timeNs: number,
): number {
  // A group's address, or none at all.
  if ((hi & 0x0100) !== 0 || (hi === 0 && lo === 0)) return -1 - drop.malformed;
  const isOwn = hi === port.ownHi && lo === port.ownLo;
  const entry = macs.find(port.network.id, hi, lo);
  if (entry < 0) {
    if (!isOwn && port.macs >= port.mostMacs && !forgetOldest(macs, port, timeNs)) return -1 - refusal(port);
    port.macs++;
    const endpoint = isOwn ? port.endpoint : endpointFor(port, hi, lo);
    return macs.add(port.network.id, hi, lo, port.id, endpoint, isOwn, timeNs);
  }
  if (macs.port(entry) === port.id) return entry;
  const before = portOf(macs.port(entry));
  if (macs.isStatic(entry)) {
    if (!port.isTrunk || (before.isConnected && etherType !== rarpType)) return -1 - drop.spoofed;
  } else if (!isOwn && port.macs >= port.mostMacs && !forgetOldest(macs, port, timeNs)) {
    return -1 - refusal(port);
  }
  before.macs--;
  before.sourceEntry = -1;
  port.macs++;
  // It stays the same guest in the matrix where it is one of the plan's.
  const isMember = isOwn || macs.isStatic(entry) || macs.endpoint(entry) === before.endpoint;
  const endpoint = isOwn ? port.endpoint : isMember ? macs.endpoint(entry) : endpointFor(port, hi, lo);
  macs.move(entry, port.id, endpoint, isOwn);
  return entry;
}

function refusal(port: Port): number {
  return port.mostMacs <= 1 ? drop.spoofed : drop['mac-limit'];
}

function forgetOldest(macs: MacTable, port: Port, timeNs: number): boolean {
  if (timeNs < port.nextAgingNs) return false;
  port.nextAgingNs = timeNs + agingEveryNs;
  let oldest = -1;
  for (const entry of macs.ofPort(port.id)) {
    if (!macs.isStatic(entry) && (oldest < 0 || macs.seenNs(entry) < macs.seenNs(oldest))) oldest = entry;
  }
  if (oldest < 0 || timeNs - macs.seenNs(oldest) < agingNs) return false;
  if (port.sourceEntry === oldest) port.sourceEntry = -1;
  macs.remove(oldest);
  port.macs--;
  return true;
}

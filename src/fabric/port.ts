/** A port: where something outside of the fabric is joined to a switch. */

import type { Direction } from './direction.ts';
import { type DropReason, drop, dropReasons } from './drops.ts';
import { parseMac } from './mac-table.ts';
import type { Network, Switch } from './network.ts';
import type { PortPlan } from './plan.ts';
import type { PortEnd } from './port-end.ts';
import { TokenBucket } from './token-bucket.ts';

/** Bytes of header, tag and check sequence that a frame may have besides its payload. */
export const frameOverheadBytes = 18;
export const shortestFrameBytes = 14;

export interface Port {
  /** Number in the fabric. */
  id: number;
  /** Name of its link. */
  name: string;
  plan: PortPlan;
  network: Network;
  switch: Switch;
  /** From the end to the switch, and back. */
  out: Direction;
  in: Direction;
  end: PortEnd;
  isConnected: boolean;
  /** Whose traffic it is, in the matrix. */
  endpoint: number;
  longestFrameBytes: number;
  /** The address of what is there by the plan; -1 for a trunk. */
  ownHi: number;
  ownLo: number;
  isTrunk: boolean;
  /** What goes to routers of IPv6 alone goes there, too. Of guests it shows by what they send. */
  isIpv6Router: boolean;
  /** Addresses that it has, and may have. */
  macs: number;
  mostMacs: number;
  /** Broadcast, multicast and frames to unknown addresses. */
  storm: TokenBucket;
  /** The last source address let in, and its entry; -1 when it must be looked up. */
  sourceHi: number;
  sourceLo: number;
  sourceEntry: number;
  /** Not before then is it looked for addresses that have grown old. */
  nextAgingNs: number;
  /** When each kind of drop was last told, and how many came since. */
  toldNs: Float64Array;
  untold: Float64Array;
}

export function newPort(
  id: number,
  plan: PortPlan,
  at: Switch,
  directions: { out: Direction; in: Direction },
  end: PortEnd,
  endpoint: number,
): Port {
  const own = ownMac(plan);
  return {
    id,
    name: plan.link.name,
    plan,
    network: at.network,
    switch: at,
    ...directions,
    end,
    isConnected: false,
    endpoint,
    longestFrameBytes: at.network.mtuBytes + frameOverheadBytes,
    ownHi: own?.hi ?? -1,
    ownLo: own?.lo ?? -1,
    isTrunk: plan.end.kind === 'trunk',
    isIpv6Router: plan.end.kind !== 'guest',
    macs: 0,
    mostMacs: plan.limits.macs,
    storm: stormBucket(plan),
    sourceHi: 0,
    sourceLo: 0,
    sourceEntry: -1,
    nextAgingNs: 0,
    toldNs: new Float64Array(dropReasons.length).fill(Number.NEGATIVE_INFINITY),
    untold: new Float64Array(dropReasons.length),
  };
}

/** The address of the guest's interface or the uplink. */
export function ownMac({ end }: PortPlan): { hi: number; lo: number } | undefined {
  return end.kind === 'trunk' ? undefined : parseMac(end.kind === 'guest' ? end.interface.mac : end.mac);
}

/** A burst of a tenth of a second's worth, and at least 32. */
export function stormBucket({ limits }: PortPlan): TokenBucket {
  return new TokenBucket(limits.broadcastsPerSecond, Math.max(32, limits.broadcastsPerSecond / 10));
}

/** Between two events of one kind on one port. */
const toldEveryNs = 10e9;

/** What a guest does that it should not: told, but never more often than every 10 s for a port and kind. */
const told: readonly DropReason[] = ['runt', 'giant', 'malformed', 'spoofed', 'mac-limit', 'storm', 'denied'];
const isTold = new Uint8Array(dropReasons.length);
for (const reason of told) isTold[drop[reason]] = 1;

/**
 * Counts frames of a port that were dropped on their way in.
 * @returns how many are to be told of now; 0 for none
 */
export function countRefused(port: Port, reason: number, frames: number, timeNs: number): number {
  port.out.dropped[reason] = port.out.dropped[reason]! + frames;
  if (isTold[reason] === 0) return 0;
  const untold = port.untold[reason]! + frames;
  port.untold[reason] = untold;
  if (timeNs - port.toldNs[reason]! < toldEveryNs) return 0;
  port.toldNs[reason] = timeNs;
  port.untold[reason] = 0;
  return untold;
}

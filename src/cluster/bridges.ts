/** Networks that are bridges of the kernel: what these cannot be asked for, and the names of their devices. Pure. */

import { LodgeError } from '../errors.ts';
import type { BridgePlan } from '../fabric/plan.ts';
import type { Locate } from '../value-faults.ts';
import { digestOf } from './canonical.ts';
import type { Member } from './members.ts';
import type { NetworkSpec } from './spec.ts';

export function isBridged(spec: Pick<NetworkSpec, 'bridge'>): boolean {
  return spec.bridge !== undefined && spec.bridge !== false;
}

/** What only the user-space fabric does, by keys of a network, and what to do instead. */
const foreign = {
  topology: 'several switches are of the user-space fabric: leave out topology, or bridge',
  uplink:
    'a way out with rules is of the user-space fabric: put a guest that passes packets on in another network with the uplink',
  capture: 'captures are of the user-space fabric: leave out bridge, or run tcpdump in the guest',
  limits:
    'a guest on a bridge has its own address alone, and no limit on broadcasts: leave out limits, or bridge',
} as const;

/** @throws LodgeError `spec-value` for what a bridge of the kernel cannot be asked for */
export function checkBridged(
  network: string,
  spec: NetworkSpec,
  members: readonly Member[],
  locate: Locate,
): void {
  if (!isBridged(spec)) return;
  const refuse = (key: string, where: string, fix: string): never => {
    throw new LodgeError(
      'spec-value',
      `network '${network}' is a bridge of the kernel, which has no ${key}`,
      {
        where,
        fix,
      },
    );
  };
  for (const key of ['topology', 'uplink', 'limits'] as const) {
    if (spec[key] !== undefined) refuse(key, locate([key]), foreign[key]);
  }
  if (spec.capture !== undefined && spec.capture !== false) {
    refuse('capture', locate(['capture']), foreign.capture);
  }
  if (spec.dhcp === true) {
    refuse('DHCP', locate(['dhcp']), 'leave out dhcp: guests with an agent have their addresses without it');
  }
  for (const { spec: own, locate: within } of members) {
    if (own.switch !== undefined) refuse('switches to choose from', within(['switch']), 'leave out switch');
    if (own.limits !== undefined) refuse('limits', within(['limits']), foreign.limits);
    if (own.capture !== undefined && own.capture !== false)
      refuse('capture', within(['capture']), foreign.capture);
  }
}

/** Names of devices have 15 characters at most. */
const digits = 12;

/** @param at the cluster and its host's directory of guests: a name in the host's namespace is nobody else's */
export function bridgeOf(
  at: { name: string; guestsDir: string },
  network: string,
  { bridge }: NetworkSpec,
): BridgePlan | undefined {
  if (bridge === undefined || bridge === false) return undefined;
  const device = `b-${digestOf(network).slice(0, digits)}`;
  if (bridge === true) return { device };
  const ours = digestOf([at.guestsDir, at.name, network]).slice(0, 15 - 'lodge'.length);
  return { device, joins: { bridge, device: `lodge${ours}` } };
}

export function tapOf(network: string, guest: string): string {
  return `t-${digestOf([network, guest]).slice(0, digits)}`;
}

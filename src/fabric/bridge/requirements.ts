/** What the kernel must have for the bridges of a plan, and what is said when it has not. Pure. */

import { LodgeError } from '../../errors.ts';
import type { FabricPlan } from '../plan.ts';
import { isShaped, kindsFor, onlyBridges } from './devices.ts';

export const features = ['namespace', 'bridge', 'locked', 'veth', 'tbf', 'netem'] as const;
export type Feature = (typeof features)[number];

/** What was found on this host. */
export interface BridgeHost {
  features: ReadonlySet<Feature>;
  /** Whether devices of the host's own namespace may be changed. */
  mayChangeHost: boolean;
  /** Bridges in the host's namespace. */
  bridges: readonly string[];
}

const missing: Readonly<Record<Feature, { what: string; fix: string }>> = {
  namespace: {
    what: 'no network namespace can be made here',
    fix: 'as root: sysctl user.max_user_namespaces=10000; or leave out bridge',
  },
  bridge: {
    what: 'the kernel has no bridges or TAP devices, or /dev/net/tun cannot be opened',
    fix: 'as root: modprobe bridge && modprobe tun && chmod 666 /dev/net/tun; or leave out bridge',
  },
  locked: {
    what: "the kernel's bridges cannot keep guests to their own addresses",
    fix: 'Linux 5.18 and iproute2 5.18 can; or leave out bridge',
  },
  veth: { what: 'the kernel has no veth', fix: 'as root: modprobe veth; or leave out bridge' },
  tbf: { what: 'the kernel has no tbf', fix: 'as root: modprobe sch_tbf; or leave out bandwidth, or bridge' },
  netem: {
    what: 'the kernel has no netem',
    fix: 'as root: modprobe sch_netem; or leave out bridge: the user-space fabric needs no help of the kernel',
  },
};

/** What a feature is needed for, where it is not the bridge itself. */
const purpose: Partial<Record<Feature, string>> = {
  veth: ', which shapes from guests and bridges of the host are made with',
  tbf: ', which bandwidth is made with',
  netem: ', which delay, jitter, loss, duplicate and reorder are made with',
};

/**
 * @param whereOf place of a network in the spec
 * @throws LodgeError `bridge-unmet` for what the kernel does not have, or this user may not
 */
export function requireBridges(
  plan: FabricPlan,
  host: BridgeHost,
  whereOf: (network: string) => string | undefined,
): void {
  for (const { name, ports, bridge } of onlyBridges(plan).networks) {
    const refuse = (reason: string, fix: string): never => {
      const where = whereOf(name);
      throw new LodgeError('bridge-unmet', `network '${name}' cannot be a bridge as asked: ${reason}`, {
        ...(where === undefined ? {} : { where }),
        fix,
      });
    };
    const needed = new Set<Feature>(['namespace', 'bridge', 'locked']);
    if (bridge!.joins !== undefined) needed.add('veth');
    for (const { link } of ports) {
      if (isShaped(link.out)) needed.add('veth');
      for (const kind of [...kindsFor(link.out), ...kindsFor(link.in)]) needed.add(kind);
    }
    const lacking = features.find((feature) => needed.has(feature) && !host.features.has(feature));
    if (lacking !== undefined) {
      refuse(`${missing[lacking].what}${purpose[lacking] ?? ''}`, missing[lacking].fix);
    }
    if (bridge!.joins === undefined) continue;
    const { bridge: joined } = bridge!.joins;
    if (!host.bridges.includes(joined)) {
      refuse(
        `there is no bridge '${joined}' on this host`,
        host.bridges.length === 0
          ? 'bridge: true makes one of its own'
          : `bridges here: ${host.bridges.join(', ')}; bridge: true makes one of its own`,
      );
    }
    if (!host.mayChangeHost) {
      refuse(
        `joining '${joined}' needs CAP_NET_ADMIN in the network namespace of the host`,
        'run lodge as root, or let a guest go out by an uplink of another network; bridge: true needs no privilege',
      );
    }
  }
}

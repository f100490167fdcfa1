/**
 * Which destinations an uplink lets through. Only what a rule names; and some addresses not even then:
 *
 * - never: this network (0/8, which Linux takes for the host itself), loopback (127/8), multicast and reserved
 *   (224/3), and the network that the guests are in;
 * - link-local addresses (169.254/16, where clouds keep their metadata) only by a rule that lies within these;
 * - addresses of the host itself only by a rule that names the one address (/32), so that a rule for a large part of the
 *   Internet opens no service of the host by accident.
 *
 * Pure.
 */

import { type Ipv4Prefix, ipv4Prefix, isInPrefix } from '../ipv4.ts';
import type { UplinkRule } from '../plan.ts';

export const protocolNumbers = { icmp: 1, tcp: 6, udp: 17 } as const;

interface CompiledRule {
  protocol: number;
  prefix: Ipv4Prefix;
  firstPort: number;
  lastPort: number;
}

export interface Destinations {
  /** @param port 0 for ICMP @param isHost whether the address is one of the host's own */
  allows(protocol: number, address: number, port: number, isHost: boolean): boolean;
}

const never: readonly Ipv4Prefix[] = ['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/3'].map(ipv4Prefix);
/** Whether nothing in a prefix is ever let out, whatever rules say. */
export function isNeverReached(prefix: string): boolean {
  const { address, length } = ipv4Prefix(prefix);
  return never.some((one) => length >= one.length && isInPrefix(one, address));
}

const linkLocal = ipv4Prefix('169.254.0.0/16');

/**
 * @param subnet of the guests' network
 * @throws LodgeError `spec-value` for a rule whose destination is no prefix
 */
export function compileRules(rules: readonly UplinkRule[], subnet: Ipv4Prefix): Destinations {
  const compiled = rules.map(
    ({ protocol, destination, ports }): CompiledRule => ({
      protocol: protocolNumbers[protocol],
      prefix: ipv4Prefix(destination),
      firstPort: ports?.[0] ?? 0,
      lastPort: ports?.[1] ?? 65_535,
    }),
  );
  return {
    allows(protocol, address, port, isHost) {
      if (isInPrefix(subnet, address)) return false;
      for (let i = 0; i < never.length; i++) if (isInPrefix(never[i]!, address)) return false;
      const leastLength = isHost ? 32 : isInPrefix(linkLocal, address) ? linkLocal.length : 0;
      for (let i = 0; i < compiled.length; i++) {
        const { prefix, firstPort, lastPort, protocol: allowed } = compiled[i]!;
        if (allowed !== protocol || port < firstPort || port > lastPort) continue;
        if (prefix.length >= leastLength && isInPrefix(prefix, address)) return true;
      }
      return false;
    },
  };
}

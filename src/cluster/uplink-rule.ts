/** What an uplink lets out, as people write it: `tcp 192.0.2.0/24:443`. Pure. */

import { LodgeError } from '../errors.ts';
import type { UplinkRule } from '../fabric/plan.ts';
import { isNeverReached } from '../fabric/uplink/rules.ts';
import { formatPrefix, parsePrefix } from './address.ts';

const form =
  'write PROTOCOL ADDRESS[/LENGTH][:PORT[-PORT]]: tcp 192.0.2.0/24:443, udp 192.0.2.53:53, icmp 192.0.2.1';

/** @throws LodgeError `spec-value` */
export function parseUplinkRule(text: string): UplinkRule {
  const match = /^(tcp|udp|icmp)\s+([\d.]+)(?:\/(\d{1,2}))?(?::(\d{1,5})(?:-(\d{1,5}))?)?$/.exec(text.trim());
  if (match === null)
    throw new LodgeError('spec-value', `'${text}' is not a rule of an uplink`, { fix: form });
  const protocol = match[1] as UplinkRule['protocol'];
  const destination = formatPrefix(parsePrefix(`${match[2]}/${match[3] ?? '32'}`));
  if (isNeverReached(destination)) {
    throw new LodgeError('spec-value', `'${text}' lets nothing out: no guest ever reaches ${destination}`, {
      fix: 'name an address of the host that others reach it by; loopback, 0.0.0.0/8 and multicast are never let out',
    });
  }
  if (match[4] === undefined) return { protocol, destination };
  const [first, last] = [Number(match[4]), Number(match[5] ?? match[4])];
  if (protocol === 'icmp')
    throw new LodgeError('spec-value', `icmp has no ports, and '${text}' names some`, { fix: form });
  if (first < 1 || last > 65_535 || last < first) {
    throw new LodgeError('spec-value', `'${text}' has no ports from 1 to 65535 in order`, { fix: form });
  }
  return { protocol, destination, ports: [first, last] };
}

export function formatUplinkRule({ protocol, destination, ports }: UplinkRule): string {
  if (ports === undefined) return `${protocol} ${destination}`;
  return `${protocol} ${destination}:${ports[0] === ports[1] ? ports[0] : `${ports[0]}-${ports[1]}`}`;
}

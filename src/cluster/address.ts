/** IPv4 addresses and prefixes as numbers, and the addresses that lodge gives where a spec names none. Pure. */

import { LodgeError } from '../errors.ts';

export interface Prefix {
  /** First address, as a number from 0 to 2^32 - 1. */
  network: number;
  /** 0 to 32. */
  length: number;
}

/** @returns a number from 0 to 2^32 - 1; undefined for what is no address in dotted form without leading zeros */
export function parseAddress(text: string): number | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256)) {
    return undefined;
  }
  return parts.reduce((sum, part) => sum * 256 + Number(part), 0);
}

export function formatAddress(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
}

/** Number of addresses in a prefix of this length. */
export function prefixSize(length: number): number {
  return 2 ** (32 - length);
}

export function formatPrefix({ network, length }: Prefix): string {
  return `${formatAddress(network)}/${length}`;
}

export function prefixHas({ network, length }: Prefix, address: number): boolean {
  return address >= network && address < network + prefixSize(length);
}

export function prefixesOverlap(a: Prefix, b: Prefix): boolean {
  return prefixHas(a, b.network) || prefixHas(b, a.network);
}

/**
 * Reads a prefix such as 10.1.0.0/16.
 * @throws LodgeError `spec-value`, also for one whose address is not its first
 */
export function parsePrefix(text: string, where?: string): Prefix {
  const match = /^([\d.]+)\/(\d{1,2})$/.exec(text);
  const address = match === null ? undefined : parseAddress(match[1]!);
  const length = Number(match?.[2]);
  const at = where === undefined ? {} : { where };
  if (address === undefined || length > 32) {
    throw new LodgeError('spec-value', `'${text}' is not an IPv4 prefix`, {
      ...at,
      fix: 'write the first address and the length: 10.1.0.0/16',
    });
  }
  const network = address - (address % prefixSize(length));
  if (network !== address) {
    throw new LodgeError('spec-value', `'${text}' does not begin where a prefix of that length begins`, {
      ...at,
      fix: `did you mean ${formatPrefix({ network, length })}?`,
    });
  }
  return { network, length };
}

/**
 * Reads the subnet of a network: a prefix that has room for guests and is no special one (RFC 6890).
 * @throws LodgeError `spec-value`
 */
export function parseSubnet(text: string, where?: string): Prefix {
  const prefix = parsePrefix(text, where);
  const at = where === undefined ? {} : { where };
  if (prefix.length > 30 || prefix.length < 4) {
    throw new LodgeError(
      'spec-value',
      `'${text}' is too ${prefix.length < 4 ? 'large' : 'small'} for a subnet`,
      {
        ...at,
        fix: 'use a length from 4 to 30',
      },
    );
  }
  const special = specialPrefixes.find(([special]) => prefixesOverlap(prefix, special));
  if (special !== undefined) {
    throw new LodgeError(
      'spec-value',
      `'${text}' overlaps ${formatPrefix(special[0])}, which is ${special[1]}`,
      {
        ...at,
        fix: 'use one for private networks, such as 10.1.0.0/16',
      },
    );
  }
  return prefix;
}

const specialPrefixes: readonly (readonly [Prefix, string])[] = [
  [{ network: 0, length: 8 }, 'no network'],
  [{ network: 127 * 2 ** 24, length: 8 }, 'the loopback'],
  [{ network: 169 * 2 ** 24 + 254 * 2 ** 16, length: 16 }, 'link-local'],
  [{ network: 224 * 2 ** 24, length: 4 }, 'multicast'],
  [{ network: 240 * 2 ** 24, length: 4 }, 'reserved'],
];

/** Networks that may be without a subnet of their own: 10.1.0.0/16 to 10.254.0.0/16. */
export const mostNetworks = 254;

/** The subnet of the network of this index, where the spec names none. */
export function defaultSubnet(index: number): Prefix {
  return { network: 10 * 2 ** 24 + (index + 1) * 2 ** 16, length: 16 };
}

/**
 * A locally administered address that no other port of the cluster has.
 * @param network index of the network, at most 254
 * @param port index of the port in it
 */
export function macOf(network: number, port: number): string {
  const bytes = [0x02, 0x4c, network + 1, (port >>> 16) & 255, (port >>> 8) & 255, port & 255];
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** The port of {@link macOf} that uplinks and DHCP have: no member comes so far. */
export const uplinkPort = 0xfffffe;

/**
 * Reads a MAC address that a guest may have: of one station, in the form `02:4c:01:00:00:01`.
 * @throws LodgeError `spec-value`
 */
export function parseMac(text: string, where?: string): string {
  const mac = text.toLowerCase();
  const isMac = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(mac) && mac !== '00:00:00:00:00:00';
  if (isMac && (Number.parseInt(mac.slice(0, 2), 16) & 1) === 0) return mac;
  throw new LodgeError(
    'spec-value',
    isMac ? `'${text}' is the address of a group` : `'${text}' is not a MAC address`,
    { ...(where === undefined ? {} : { where }), fix: 'write six bytes in hexadecimal: 02:4c:01:00:00:01' },
  );
}

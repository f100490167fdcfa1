/** IPv4 addresses as numbers, and the Internet checksum, for those ends of ports that look into frames. Pure. */

import { LodgeError } from '../errors.ts';

export const etherTypeIpv4 = 0x0800;
export const etherTypeArp = 0x0806;

export interface Ipv4Prefix {
  address: number;
  /** As a number of 32 bits; /0 is 0. */
  mask: number;
  length: number;
}

/**
 * Reads an address in dotted form as a number from 0 to 2^32 - 1.
 * @throws LodgeError `spec-value`
 */
export function ipv4Address(text: string): number {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256)) {
    throw new LodgeError('spec-value', `'${text}' is not an IPv4 address`);
  }
  return parts.reduce((sum, part) => sum * 256 + Number(part), 0);
}

/**
 * Reads a prefix such as 192.0.2.0/24; the bits after its length are taken as zero.
 * @throws LodgeError `spec-value`
 */
export function ipv4Prefix(text: string): Ipv4Prefix {
  const match = /^([\d.]+)\/(\d{1,2})$/.exec(text);
  const length = Number(match?.[2]);
  if (match === null || length > 32) throw new LodgeError('spec-value', `'${text}' is not an IPv4 prefix`);
  const mask = length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0;
  return { address: (ipv4Address(match[1]!) & mask) >>> 0, mask, length };
}

export function isInPrefix({ address, mask }: Ipv4Prefix, other: number): boolean {
  return (other & mask) >>> 0 === address;
}

export function ipv4Text(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
}

/** Six bytes of `02:4c:01:00:00:01`, which was checked before. */
export function macBytes(text: string): Uint8Array {
  return Uint8Array.from(text.split(':'), (part) => Number.parseInt(part, 16));
}

export function read16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

export function read32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

export function write16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function write32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** The sum of 16-bit words that a checksum is the complement of (RFC 1071), on top of `sum`; not yet folded. */
export function sum16(bytes: Uint8Array, at: number, length: number, sum = 0): number {
  let total = sum;
  const even = at + (length & ~1);
  for (let i = at; i < even; i += 2) total += (bytes[i]! << 8) | bytes[i + 1]!;
  if ((length & 1) === 1) total += bytes[even]! << 8;
  return total;
}

/** The checksum of a sum of words. */
export function checksumOf(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return ~folded & 0xffff;
}

/** A checksum after a word that it covers was changed (RFC 1624, equation 3). */
export function adjusted(checksum: number, before: number, after: number): number {
  return checksumOf((~checksum & 0xffff) + (~before & 0xffff) + after);
}

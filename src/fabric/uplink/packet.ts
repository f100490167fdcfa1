/**
 * The one frame that an uplink has in its hands: an IPv4 packet that was checked, and that gets other addresses and
 * ports. Checksums are adjusted, not made anew, so a frame that was damaged on the way stays so.
 */

import { adjusted, checksumOf, read16, read32, sum16, write16, write32 } from '../ipv4.ts';
import { protocolNumbers } from './rules.ts';

export const ethernetBytes = 14;
export const ipBytes = 20;
export const tcpBytes = 20;

/** Where the addresses are in a frame. */
export const sourceAt = 26;
export const destinationAt = 30;
/** Where the header of the transport protocol begins: packets with header options are not taken. */
export const transportAt = ethernetBytes + ipBytes;

const ipChecksumAt = 24;
const windowAt = transportAt + 14;
const tcpChecksumAt = transportAt + 16;
const udpChecksumAt = transportAt + 6;
const icmpChecksumAt = transportAt + 2;

/** Why a packet is not taken; see the verdicts of filter.ts. */
export type PacketFault = 'malformed' | 'giant' | 'fragment' | 'other-protocol';

export class Packet {
  /** The frame: the first `length` bytes. */
  readonly bytes: Buffer;
  length = 0;
  readonly longestFrameBytes: number;

  constructor(longestFrameBytes: number) {
    this.longestFrameBytes = longestFrameBytes;
    this.bytes = Buffer.alloc(longestFrameBytes);
  }

  get protocol(): number {
    return this.bytes[23]!;
  }

  get source(): number {
    return read32(this.bytes, sourceAt);
  }

  get destination(): number {
    return read32(this.bytes, destinationAt);
  }

  /** Copies a frame of at least an Ethernet header with an IPv4 packet. @returns what is wrong with it, if anything */
  take(buffer: Buffer, offset: number, length: number): PacketFault | undefined {
    const at = offset + ethernetBytes;
    if (length < ethernetBytes + ipBytes || buffer[at]! >>> 4 !== 4) return 'malformed';
    // Options make the header longer; there is no honest use for them here.
    if (buffer[at] !== 0x45) return 'malformed';
    const packetBytes = read16(buffer, at + 2);
    if (packetBytes < ipBytes || packetBytes > length - ethernetBytes) return 'malformed';
    if (ethernetBytes + packetBytes > this.longestFrameBytes) return 'giant';
    if (checksumOf(sum16(buffer, at, ipBytes)) !== 0) return 'malformed';
    // More fragments, or not the first.
    if ((read16(buffer, at + 6) & 0x3fff) !== 0) return 'fragment';
    const transportBytes = packetBytes - ipBytes;
    const transport = at + ipBytes;
    switch (buffer[at + 9]) {
      case protocolNumbers.tcp: {
        const headerBytes = transportBytes < tcpBytes ? 0 : (buffer[transport + 12]! >>> 4) * 4;
        if (headerBytes < tcpBytes || headerBytes > transportBytes) return 'malformed';
        break;
      }
      case protocolNumbers.udp:
        if (transportBytes < 8 || read16(buffer, transport + 4) !== transportBytes) return 'malformed';
        break;
      case protocolNumbers.icmp:
        if (transportBytes < 8) return 'malformed';
        break;
      default:
        return 'other-protocol';
    }
    // What follows the packet (padding of short frames) is not passed on.
    this.length = ethernetBytes + packetBytes;
    buffer.copy(this.bytes, 0, offset, offset + this.length);
    return undefined;
  }

  /** Data of a TCP segment. */
  get dataBytes(): number {
    return read16(this.bytes, 16) - ipBytes - (this.bytes[transportAt + 12]! >>> 4) * 4;
  }

  replaceAddress(at: typeof sourceAt | typeof destinationAt, address: number): void {
    const before = read32(this.bytes, at);
    write32(this.bytes, at, address);
    this.#adjust(ipChecksumAt, before >>> 16, address >>> 16);
    this.#adjust(ipChecksumAt, before & 0xffff, address & 0xffff);
    // Those of TCP and UDP cover the addresses too.
    const checksumAt = this.#portsChecksumAt();
    if (checksumAt < 0) return;
    this.#adjustTransport(checksumAt, before >>> 16, address >>> 16);
    this.#adjustTransport(checksumAt, before & 0xffff, address & 0xffff);
  }

  replacePort(at: number, port: number): void {
    const before = read16(this.bytes, at);
    write16(this.bytes, at, port);
    const checksumAt = this.protocol === protocolNumbers.icmp ? icmpChecksumAt : this.#portsChecksumAt();
    if (checksumAt >= 0) this.#adjustTransport(checksumAt, before, port);
  }

  /** The window that a TCP segment tells, in the units that its connection agreed on. */
  get window(): number {
    return read16(this.bytes, windowAt);
  }

  replaceWindow(window: number): void {
    const before = this.window;
    write16(this.bytes, windowAt, window);
    this.#adjustTransport(tcpChecksumAt, before, window);
  }

  /** The checksum of TCP or UDP; -1 where there is none. */
  #portsChecksumAt(): number {
    if (this.protocol === protocolNumbers.tcp) return tcpChecksumAt;
    // A UDP checksum of 0 says that none was made.
    if (this.protocol === protocolNumbers.udp && read16(this.bytes, udpChecksumAt) !== 0) {
      return udpChecksumAt;
    }
    return -1;
  }

  #adjust(at: number, before: number, after: number): void {
    write16(this.bytes, at, adjusted(read16(this.bytes, at), before, after));
  }

  #adjustTransport(at: number, before: number, after: number): void {
    this.#adjust(at, before, after);
    // For UDP, 0 would mean that there is none; both are zero in this arithmetic.
    if (this.protocol === protocolNumbers.udp && read16(this.bytes, at) === 0) {
      write16(this.bytes, at, 0xffff);
    }
  }
}

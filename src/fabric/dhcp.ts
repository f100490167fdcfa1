/**
 * DHCP for guests that have no agent to configure them: each member is told the address that was planned for it, and
 * nothing else is ever given away. A frame in, a frame or nothing out; there is no state, so an answer is the same each
 * time and needs no leases to be kept. Pure.
 *
 * Sources: RFC 2131 (messages, who answers what), RFC 2132 (options), RFC 6842 (the client's identifier goes back).
 */

import {
  checksumOf,
  etherTypeIpv4,
  ipv4Address,
  ipv4Prefix,
  macBytes,
  read16,
  read32,
  sum16,
  write16,
  write32,
} from './ipv4.ts';
import type { NetworkPlan } from './plan.ts';

export interface DhcpMember {
  mac: string;
  /** With or without its prefix length. */
  address: string;
  hostname: string;
}

export interface DhcpOptions {
  members: readonly DhcpMember[];
  /** IPv4 prefix of the network. */
  subnet: string;
  mtuBytes: number;
  /** Whom answers come from: an address of the network that no member has, such as the uplink's. */
  server: { address: string; mac: string };
  /** Only where an uplink is declared. */
  router?: string;
  /** Only where a rule of the uplink names them. */
  nameservers?: readonly string[];
}

export interface DhcpResponder {
  /**
   * Answers a frame of a guest. It is not written to.
   *
   * @param into at least {@link longestDhcpAnswerBytes}
   * @returns length of the answer in `into`; 0 when there is none
   */
  answer(buffer: Buffer, offset: number, length: number, into: Buffer): number;
}

/** So long the client need not ask again: an address never changes while a guest lives. */
const leaseSeconds = 365 * 86_400;
/** Answers are at least as long as a BOOTP message, which old relays and clients expect. */
const leastMessageBytes = 300;
const longestClientIdBytes = 128;
const longestNameBytes = 64;
const mostNameservers = 3;
/** What every client takes (RFC 2131, 2): 576 bytes of IP, and the Ethernet header. */
export const longestDhcpAnswerBytes = 14 + 576;

const ethernetBytes = 14;
const udpProtocol = 17;
const serverPort = 67;
const clientPort = 68;
/** Offsets in a message. */
const field = {
  xid: 4,
  flags: 10,
  ciaddr: 12,
  yiaddr: 16,
  siaddr: 20,
  giaddr: 24,
  chaddr: 28,
  options: 236,
} as const;
const optionsMagic = 0x63825363;
const broadcastFlag = 0x8000;

const code = {
  pad: 0,
  mask: 1,
  router: 3,
  nameservers: 6,
  hostname: 12,
  mtu: 26,
  broadcast: 28,
  requested: 50,
  lease: 51,
  type: 53,
  server: 54,
  renewal: 58,
  rebinding: 59,
  clientId: 61,
  end: 255,
} as const;

const message = { discover: 1, offer: 2, request: 3, ack: 5, nak: 6, inform: 8 } as const;

/** Whether a frame is one that {@link DhcpResponder.answer} would look at; cheap, for every frame to everybody. */
export function isForDhcp(buffer: Buffer, offset: number, length: number): boolean {
  if (length < ethernetBytes + 28 || read16(buffer, offset + 12) !== etherTypeIpv4) return false;
  if (buffer[offset + 23] !== udpProtocol) return false;
  const headerBytes = (buffer[offset + 14]! & 15) * 4;
  const ports = ethernetBytes + headerBytes;
  return ports + 4 <= length && read16(buffer, offset + ports + 2) === serverPort;
}

/**
 * The responder of a network: it knows the guests whose ports are in the plan. Those behind trunks have their own.
 * @throws LodgeError `spec-value` when an address is none
 */
export function dhcpOf({ dhcp, ports, subnet, mtuBytes }: NetworkPlan): DhcpResponder | undefined {
  if (dhcp === undefined) return undefined;
  const { address, mac, ...ways } = dhcp;
  const members = ports.flatMap(({ end }): DhcpMember[] => {
    if (end.kind !== 'guest') return [];
    const hostname = end.guest.slice(end.guest.indexOf('.') + 1);
    return [{ mac: end.interface.mac, address: end.interface.address, hostname }];
  });
  return dhcpResponder({ members, subnet, mtuBytes, server: { address, mac }, ...ways });
}

/** @throws LodgeError `spec-value` when an address is none */
export function dhcpResponder(options: DhcpOptions): DhcpResponder {
  const { mtuBytes } = options;
  const prefix = ipv4Prefix(options.subnet);
  const server = ipv4Address(options.server.address);
  const serverMac = macBytes(options.server.mac);
  const router = options.router === undefined ? undefined : ipv4Address(options.router);
  const nameservers = (options.nameservers ?? []).slice(0, mostNameservers).map(ipv4Address);
  /** By MAC address as a number. */
  const members = new Map<number, { address: number; name: Buffer }>();
  for (const { mac, address, hostname } of options.members) {
    const name = Buffer.from(hostname, 'latin1').subarray(0, longestNameBytes);
    members.set(macNumber(macBytes(mac), 0), { address: ipv4Address(address.split('/')[0]!), name });
  }
  const asked = newRequest();

  /** The kind of answer that a request gets; 0 for none. */
  function judge(address: number): number {
    switch (asked.type) {
      case message.discover:
        return message.offer;
      case message.inform:
        return asked.ciaddr === address ? message.ack : 0;
      case message.request: {
        // It has chosen another server's offer.
        if (asked.server !== 0 && asked.server !== server) return 0;
        const wanted = asked.ciaddr !== 0 ? asked.ciaddr : asked.requested;
        return wanted === address ? message.ack : message.nak;
      }
      default:
        return 0;
    }
  }

  function writeOptions(into: Buffer, from: number, type: number, name: Buffer): number {
    let at = from;
    const number = (option: number, value: number) => {
      into[at] = option;
      into[at + 1] = 4;
      write32(into, at + 2, value);
      at += 6;
    };
    into[at] = code.type;
    into[at + 1] = 1;
    into[at + 2] = type;
    at += 3;
    number(code.server, server);
    if (asked.clientIdBytes > 0) {
      into[at] = code.clientId;
      into[at + 1] = asked.clientIdBytes;
      asked.clientId.copy(into, at + 2, 0, asked.clientIdBytes);
      at += 2 + asked.clientIdBytes;
    }
    if (type !== message.nak) {
      if (asked.type !== message.inform) {
        number(code.lease, leaseSeconds);
        number(code.renewal, leaseSeconds / 2);
        number(code.rebinding, Math.floor((leaseSeconds * 7) / 8));
      }
      number(code.mask, prefix.mask);
      number(code.broadcast, (prefix.address | ~prefix.mask) >>> 0);
      into[at] = code.mtu;
      into[at + 1] = 2;
      write16(into, at + 2, mtuBytes);
      at += 4;
      if (name.length > 0) {
        into[at] = code.hostname;
        into[at + 1] = name.length;
        name.copy(into, at + 2);
        at += 2 + name.length;
      }
      if (router !== undefined) number(code.router, router);
      if (nameservers.length > 0) {
        into[at] = code.nameservers;
        into[at + 1] = 4 * nameservers.length;
        at += 2;
        for (const nameserver of nameservers) {
          write32(into, at, nameserver);
          at += 4;
        }
      }
    }
    into[at] = code.end;
    return at + 1;
  }

  return {
    answer(buffer, offset, length, into) {
      const request = messageIn(buffer, offset, length);
      if (request < 0 || !readRequest(buffer, request, offset + length, asked)) return 0;
      // Only for the address that the frame comes from, which the fabric has checked.
      const mac = macNumber(buffer, offset + 6);
      if (macNumber(buffer, request + field.chaddr) !== mac) return 0;
      const member = members.get(mac);
      if (member === undefined) return 0;
      const type = judge(member.address);
      if (type === 0) return 0;

      const begin = ethernetBytes + 28;
      into.fill(0, 0, begin + leastMessageBytes);
      into[begin] = 2;
      into[begin + 1] = 1;
      into[begin + 2] = 6;
      write32(into, begin + field.xid, read32(buffer, request + field.xid));
      write16(into, begin + field.flags, asked.flags);
      buffer.copy(into, begin + field.chaddr, request + field.chaddr, request + field.chaddr + 6);
      if (type !== message.nak) {
        write32(into, begin + field.ciaddr, asked.ciaddr);
        if (asked.type !== message.inform) write32(into, begin + field.yiaddr, member.address);
      }
      write32(into, begin + field.options, optionsMagic);
      const end = writeOptions(into, begin + field.options + 4, type, member.name);
      const messageBytes = Math.max(leastMessageBytes, end - begin);

      const isToAll = type === message.nak || (asked.ciaddr === 0 && (asked.flags & broadcastFlag) !== 0);
      if (isToAll) into.fill(0xff, 0, 6);
      else buffer.copy(into, 0, offset + 6, offset + 12);
      into.set(serverMac, 6);
      write16(into, 12, etherTypeIpv4);
      writeHeaders(into, server, isToAll ? 0xffffffff : member.address, messageBytes);
      return begin + messageBytes;
    },
  };
}

/** Where the message of a frame begins, after it was seen to be whole as far as its headers tell; else -1. */
function messageIn(buffer: Buffer, offset: number, length: number): number {
  if (!isForDhcp(buffer, offset, length)) return -1;
  const ip = offset + ethernetBytes;
  const headerBytes = (buffer[ip]! & 15) * 4;
  if (buffer[ip]! >>> 4 !== 4 || headerBytes < 20) return -1;
  const packetBytes = read16(buffer, ip + 2);
  if (packetBytes > length - ethernetBytes || packetBytes < headerBytes + 8) return -1;
  // A fragment.
  if ((read16(buffer, ip + 6) & 0x3fff) !== 0) return -1;
  const udp = ip + headerBytes;
  if (read16(buffer, udp) !== clientPort) return -1;
  const udpBytes = read16(buffer, udp + 4);
  if (udpBytes > packetBytes - headerBytes || udpBytes < 8 + field.options + 4) return -1;
  return udp + 8;
}

/** What a request asks; one for all, filled again each time. */
interface Request {
  type: number;
  flags: number;
  ciaddr: number;
  requested: number;
  server: number;
  clientId: Buffer;
  clientIdBytes: number;
}

function newRequest(): Request {
  const clientId = Buffer.alloc(longestClientIdBytes);
  return { type: 0, flags: 0, ciaddr: 0, requested: 0, server: 0, clientId, clientIdBytes: 0 };
}

/** @returns whether it is a request of a client on this network */
function readRequest(buffer: Buffer, at: number, frameEnd: number, asked: Request): boolean {
  // A request, over Ethernet; through no relay.
  if (buffer[at] !== 1 || buffer[at + 1] !== 1 || buffer[at + 2] !== 6) return false;
  if (read32(buffer, at + field.giaddr) !== 0) return false;
  if (read32(buffer, at + field.options) !== optionsMagic) return false;
  asked.type = 0;
  asked.flags = read16(buffer, at + field.flags);
  asked.ciaddr = read32(buffer, at + field.ciaddr);
  asked.requested = 0;
  asked.server = 0;
  asked.clientIdBytes = 0;
  const end = Math.min(frameEnd, at - 8 + read16(buffer, at - 4));
  for (let option = at + field.options + 4; option < end; ) {
    const kind = buffer[option]!;
    if (kind === code.end) break;
    if (kind === code.pad) {
      option++;
      continue;
    }
    const bytes = buffer[option + 1]!;
    const value = option + 2;
    if (value > end || value + bytes > end) return false;
    if (kind === code.type && bytes === 1) asked.type = buffer[value]!;
    else if (kind === code.requested && bytes === 4) asked.requested = read32(buffer, value);
    else if (kind === code.server && bytes === 4) asked.server = read32(buffer, value);
    else if (kind === code.clientId) {
      if (bytes > longestClientIdBytes) return false;
      buffer.copy(asked.clientId, 0, value, value + bytes);
      asked.clientIdBytes = bytes;
    }
    option = value + bytes;
  }
  return asked.type !== 0;
}

function writeHeaders(into: Buffer, from: number, to: number, messageBytes: number): void {
  const ip = ethernetBytes;
  const udp = ip + 20;
  into[ip] = 0x45;
  write16(into, ip + 2, 28 + messageBytes);
  into[ip + 8] = 64;
  into[ip + 9] = udpProtocol;
  write32(into, ip + 12, from);
  write32(into, ip + 16, to);
  write16(into, ip + 10, checksumOf(sum16(into, ip, 20)));
  write16(into, udp, serverPort);
  write16(into, udp + 2, clientPort);
  write16(into, udp + 4, 8 + messageBytes);
  // The pseudo header: both addresses, the protocol, the length.
  const sum = sum16(into, ip + 12, 8) + udpProtocol + 8 + messageBytes;
  write16(into, udp + 6, checksumOf(sum16(into, udp, 8 + messageBytes, sum)) || 0xffff);
}

/** The 48 bits of a MAC address; a double holds them exactly. */
function macNumber(bytes: Uint8Array, at: number): number {
  return read16(bytes, at) * 2 ** 32 + read32(bytes, at + 2);
}

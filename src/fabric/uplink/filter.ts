/**
 * What goes through an uplink and what does not: a frame in, a verdict out. Nothing of a frame is believed. Pure but for
 * its table of flows, and the clock is the caller's.
 *
 * Out go TCP, UDP and ICMP echo requests over IPv4, to the gateway's MAC address, from an address of the network, to a
 * destination that a rule names. Fragments are refused: only the first tells its ports. So are header options (a source
 * route would go elsewhere). In come answers to these, and connections to ports that were published; a guest cannot open
 * a connection from such a port but as from any other. ARP for the gateway is answered here; passt never sees
 * frames of guests that were not allowed.
 *
 * The source becomes the one address that passt knows (see flows.ts), on the way back it becomes the guest's again.
 */

import {
  etherTypeArp,
  etherTypeIpv4,
  ipv4Address,
  ipv4Prefix,
  isInPrefix,
  macBytes,
  read16,
  read32,
  write16,
  write32,
} from '../ipv4.ts';
import type { UplinkEnd } from '../plan.ts';
import { Congestion } from './congestion.ts';
import { Flows, firstPort, flowStates, mostFlows } from './flows.ts';
import { destinationAt, ethernetBytes, ipBytes, Packet, sourceAt, tcpBytes, transportAt } from './packet.ts';
import { compileRules, type Destinations, protocolNumbers } from './rules.ts';
import { windowShiftOf } from './window-scale.ts';

/** What becomes of a frame. The first are about all frames, those from `denied` on are reasons. */
export const verdicts = [
  /** Not for the uplink: a frame to another guest or to everybody, or of TCP, nothing that is not known. */
  'ignored',
  /** Goes on, as it is now in `packet`. */
  'pass',
  /** The answer, which is now in `packet`, goes back to where the frame came from. */
  'answer',
  /** No rule names the destination. */
  'not-allowed',
  /** Not TCP, UDP, or an ICMP echo. */
  'other-protocol',
  'fragment',
  'malformed',
  /** The source is no address of a guest in the network. */
  'foreign-source',
  /** It belongs to no connection that was opened through the uplink. */
  'no-flow',
  /** There is no room for another flow, or none for one of this guest. */
  'too-many-flows',
  'giant',
] as const;
export type Verdict = (typeof verdicts)[number];

export interface UplinkFilterOptions {
  end: Pick<UplinkEnd, 'gateway' | 'mac' | 'allow' | 'publish'>;
  subnet: string;
  mtuBytes: number;
  isHostAddress: (address: number) => boolean;
}

/** MAC addresses between us and passt; nobody else sees them. */
export const passtMac = '02:4c:ff:00:00:01';
const insideMac = macBytes('02:4c:ff:00:00:02');

const icmpEchoRequest = 8;
const icmpEchoReply = 0;
const tcpFin = 1;
const tcpSyn = 2;
const tcpRst = 4;
const tcpAck = 16;

interface Published {
  address: number;
  macHigh: number;
  macLow: number;
  /** Who has opened a connection to it, the last ones. */
  callers: Set<number>;
}

/** So many callers of a published port are remembered. */
const mostCallers = 4096;

/** Below 2^53: 32 bits of address and 16 of port. */
function endpointKey(address: number, port: number): number {
  return address * 65_536 + port;
}

export class UplinkFilter {
  /** The frame after `pass` or `answer`. */
  readonly packet: Packet;
  /** Of a frame to passt: it goes twice, see {@link Congestion.isTwice}. */
  isTwice = false;
  readonly flows = new Flows();
  /** By flow: a guest's windows are told in units of 2 to the power of this many bytes. */
  readonly #windowShifts = new Uint8Array(mostFlows);
  readonly #congestion: Congestion;
  readonly #destinations: Destinations;
  readonly #isHostAddress: (address: number) => boolean;
  readonly #gateway: number;
  readonly #gatewayMac: Uint8Array;
  readonly #passtMac = macBytes(passtMac);
  readonly #subnet: ReturnType<typeof ipv4Prefix>;
  /** Published ports, by the port outside and by `address port` of the guest. */
  readonly #published = new Map<number, Published>();
  readonly #publishers = new Map<number, Published>();

  /** @throws LodgeError `spec-value` when an address or a rule is none */
  constructor({ end, subnet, mtuBytes, isHostAddress }: UplinkFilterOptions) {
    this.#subnet = ipv4Prefix(subnet);
    this.#destinations = compileRules(end.allow, this.#subnet);
    this.#isHostAddress = isHostAddress;
    this.#gateway = ipv4Address(end.gateway);
    this.#gatewayMac = macBytes(end.mac);
    for (const { port, address, mac } of end.publish ?? []) {
      const bytes = macBytes(mac);
      const known: Published = {
        ...{ address: ipv4Address(address), callers: new Set() },
        ...{ macHigh: read16(bytes, 0), macLow: read32(bytes, 2) },
      };
      this.#published.set(port, known);
      this.#publishers.set(endpointKey(known.address, port), known);
    }
    this.#congestion = new Congestion(mtuBytes - ipBytes - tcpBytes);
    this.packet = new Packet(ethernetBytes + mtuBytes);
  }

  /** The address that all guests have towards passt: the gateway's, which is no destination of any guest. */
  get outsideAddress(): number {
    return this.#gateway;
  }

  /** Judges a frame of a guest. It is not written to. */
  outgoing(buffer: Buffer, offset: number, length: number, nowMs: number): Verdict {
    this.isTwice = false;
    if (length < ethernetBytes) return 'malformed';
    const type = read16(buffer, offset + 12);
    if (type === etherTypeArp) return this.#answerArp(buffer, offset, length);
    if (type !== etherTypeIpv4 || !this.#isTo(this.#gatewayMac, buffer, offset)) return 'ignored';
    const { packet } = this;
    const fault = packet.take(buffer, offset, length);
    if (fault !== undefined) return fault;
    const { bytes, source, destination, protocol } = packet;
    if (!this.#isGuest(source)) return 'foreign-source';

    const at = transportAt;
    const flags = protocol === protocolNumbers.tcp ? bytes[at + 13]! : 0;
    if (protocol === protocolNumbers.icmp && (bytes[at] !== icmpEchoRequest || bytes[at + 1] !== 0)) {
      return 'other-protocol';
    }
    const isIcmp = protocol === protocolNumbers.icmp;
    const sourcePort = read16(bytes, isIcmp ? at + 4 : at);
    const port = isIcmp ? 0 : read16(bytes, at + 2);
    const macHigh = read16(bytes, 6);
    const macLow = read32(bytes, 8);
    // An answer of a published port, to somebody who has called it. All else is judged as from any other port.
    if (protocol === protocolNumbers.tcp && this.#publishers.size > 0) {
      const known = this.#publishers.get(endpointKey(source, sourcePort));
      const isCalled = known?.callers.has(endpointKey(destination, port)) === true;
      if (isCalled && known?.macHigh === macHigh && known.macLow === macLow) {
        bytes.set(this.#passtMac, 0);
        bytes.set(insideMac, 6);
        packet.replaceAddress(sourceAt, this.#gateway);
        return 'pass';
      }
    }
    let flow = this.flows.find(protocol, macHigh, macLow, source, sourcePort, destination, port);
    if (flow < 0) {
      const isHost = this.#isHostAddress(destination);
      if (!this.#destinations.allows(protocol, destination, port, isHost)) return 'not-allowed';
      let state: number = isIcmp ? flowStates.icmp : flowStates.udp;
      if (protocol === protocolNumbers.tcp) {
        if ((flags & (tcpSyn | tcpAck | tcpRst | tcpFin)) !== tcpSyn) return 'no-flow';
        state = flowStates.opening;
      }
      flow = this.flows.add(protocol, macHigh, macLow, source, sourcePort, destination, port, state, nowMs);
      if (flow < 0) return 'too-many-flows';
    } else {
      this.flows.touch(flow, nowMs);
      this.#follow(flow, flags, tcpSyn);
    }
    if (protocol === protocolNumbers.tcp && !this.#limitWindow(flow, flags, nowMs)) return 'ignored';
    bytes.set(this.#passtMac, 0);
    bytes.set(insideMac, 6);
    packet.replaceAddress(sourceAt, this.#gateway);
    packet.replacePort(isIcmp ? at + 4 : at, firstPort + flow);
    return 'pass';
  }

  /** Judges a frame of passt. */
  incoming(buffer: Buffer, offset: number, length: number, nowMs: number): Verdict {
    if (length < ethernetBytes) return 'malformed';
    if (read16(buffer, offset + 12) !== etherTypeIpv4) return 'ignored';
    const { packet, flows } = this;
    if (length > packet.longestFrameBytes) return 'giant';
    const fault = packet.take(buffer, offset, length);
    if (fault !== undefined) return fault;
    const { bytes, protocol } = packet;
    if (packet.destination !== this.#gateway) return 'no-flow';
    const at = transportAt;
    const isIcmp = protocol === protocolNumbers.icmp;
    if (isIcmp && (bytes[at] !== icmpEchoReply || bytes[at + 1] !== 0)) return 'other-protocol';
    const outsidePort = read16(bytes, isIcmp ? at + 4 : at + 2);
    const port = isIcmp ? 0 : read16(bytes, at);
    const flow = flows.ofAnswer(protocol, outsidePort, packet.source, port);
    if (flow < 0) return protocol === protocolNumbers.tcp ? this.#toPublished(outsidePort) : 'no-flow';
    flows.touch(flow, nowMs);
    const flags = protocol === protocolNumbers.tcp ? bytes[at + 13]! : 0;
    this.#follow(flow, flags, 0);
    if (protocol === protocolNumbers.tcp && (flags & tcpRst) === 0) {
      const seq = read32(bytes, at + 4);
      const taken = packet.dataBytes + ((flags & (tcpSyn | tcpFin)) === 0 ? 0 : 1);
      if (!this.#congestion.sent(flow, seq, (seq + taken) >>> 0, nowMs)) return 'ignored';
    }
    write16(bytes, 0, flows.guestMacHigh[flow]!);
    write32(bytes, 2, flows.guestMacLow[flow]!);
    bytes.set(this.#gatewayMac, 6);
    packet.replaceAddress(destinationAt, flows.guestAddress[flow]!);
    packet.replacePort(isIcmp ? at + 4 : at + 2, flows.guestPort[flow]!);
    return 'pass';
  }

  /** Leads a segment on to the guest that has published the port it came to; the sender's address stays. */
  #toPublished(port: number): Verdict {
    const known = this.#published.get(port);
    if (known === undefined) return 'no-flow';
    const { packet } = this;
    const { bytes } = packet;
    const at = transportAt;
    const caller = endpointKey(packet.source, read16(bytes, at));
    if ((bytes[at + 13]! & (tcpSyn | tcpAck)) === tcpSyn) {
      if (known.callers.size >= mostCallers) {
        for (const oldest of known.callers) {
          known.callers.delete(oldest);
          break;
        }
      }
      known.callers.add(caller);
    } else if (!known.callers.has(caller)) return 'no-flow';
    write16(bytes, 0, known.macHigh);
    write32(bytes, 2, known.macLow);
    bytes.set(this.#gatewayMac, 6);
    packet.replaceAddress(destinationAt, known.address);
    return 'pass';
  }

  /**
   * A connection that ends is soon forgotten, one that is used lives long.
   * @param reopens flags by which one that ended begins anew
   */
  #follow(flow: number, flags: number, reopens: number): void {
    const { state } = this.flows;
    if ((flags & (tcpFin | tcpRst)) !== 0) state[flow] = flowStates.closing;
    else if (state[flow] === flowStates.closing && reopens !== 0 && (flags & reopens) !== 0) {
      state[flow] = flowStates.opening;
    } else if (state[flow] === flowStates.opening && (flags & tcpAck) !== 0) state[flow] = flowStates.open;
  }

  /**
   * Says no larger window than the way to the guest has room for, in the guest's segment that is in `packet`.
   * @returns false when passt is not to have it
   */
  #limitWindow(flow: number, flags: number, nowMs: number): boolean {
    const { packet } = this;
    if ((flags & tcpSyn) !== 0) {
      this.#windowShifts[flow] = windowShiftOf(packet.bytes, transportAt);
      this.#congestion.begin(flow);
    }
    if ((flags & (tcpSyn | tcpAck | tcpRst)) !== tcpAck) return true;
    const shift = this.#windowShifts[flow]!;
    const { window } = packet;
    const isBare = packet.dataBytes === 0 && (flags & tcpFin) === 0;
    const taken = read32(packet.bytes, transportAt + 8);
    const most = this.#congestion.acknowledged(flow, taken, window << shift, isBare, nowMs);
    if (most < 0) return false;
    this.isTwice = this.#congestion.isTwice;
    packet.replaceWindow(Math.min(window, Math.max(1, most >>> shift)));
    return true;
  }

  #isTo(mac: Uint8Array, buffer: Buffer, offset: number): boolean {
    for (let i = 0; i < 6; i++) if (buffer[offset + i] !== mac[i]) return false;
    return true;
  }

  /** An address of the network that a guest can have: not the network's own, not that of all, not the gateway's. */
  #isGuest(address: number): boolean {
    const { address: first, mask } = this.#subnet;
    if (!isInPrefix(this.#subnet, address) || address === this.#gateway) return false;
    return address !== first && address !== (first | ~mask) >>> 0;
  }

  #answerArp(buffer: Buffer, offset: number, length: number): Verdict {
    const at = offset + ethernetBytes;
    if (length < ethernetBytes + 28) return 'ignored';
    // Ethernet, IPv4, lengths of 6 and 4, a request.
    if (read32(buffer, at) !== 0x00010800 || read32(buffer, at + 4) !== 0x06040001) return 'ignored';
    if (read32(buffer, at + 24) !== this.#gateway) return 'ignored';
    const sender = read32(buffer, at + 14);
    // The address 0 asks whether somebody has the gateway's address already.
    if (sender !== 0 && !this.#isGuest(sender)) return 'foreign-source';
    const { packet } = this;
    const { bytes } = packet;
    packet.length = ethernetBytes + 28;
    buffer.copy(bytes, 0, offset + 6, offset + 12);
    bytes.set(this.#gatewayMac, 6);
    write16(bytes, 12, etherTypeArp);
    write32(bytes, 14, 0x00010800);
    write32(bytes, 18, 0x06040002);
    bytes.set(this.#gatewayMac, 22);
    write32(bytes, 28, this.#gateway);
    buffer.copy(bytes, 32, at + 8, at + 14);
    write32(bytes, 38, sender);
    return 'answer';
  }
}

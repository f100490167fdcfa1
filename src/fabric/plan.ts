/**
 * What a fabric will be: a plain value, made by the cluster's planner and acted on by the fabric's worker. It can be
 * printed, stored, sent and compared; two plans are the same fabric when they are equal.
 *
 * A *network* is a graph of switches. A LAN has one switch. A *port* joins an interface of a guest to a switch by a
 * *link*; other links join two switches. Each link has two directions, each with a shape of its own.
 */

import type { InterfacePlan } from '../guest/interface.ts';

/** How one direction of a link treats frames; what is not given is not done. */
export interface Shape {
  bandwidthBitsPerSecond?: number;
  delayMs?: number;
  /** Half the width of a uniform distribution around the delay, in ms; frames may overtake one another by it. */
  jitterMs?: number;
  /** Probabilities from 0 to 1. */
  loss?: number;
  duplicate?: number;
  /** Probability that a frame is sent at once, before those that wait for their delay. */
  reorder?: number;
  /** Bytes that may wait for the bandwidth; more are dropped. */
  queueBytes?: number;
}

export interface CapturePlan {
  /** Files `LINK.pcapng` (and `LINK.1.pcapng` … where `files` > 1) in this directory of the host, the cluster's own. */
  directory: string;
  /** Bytes kept of each frame. */
  snapLengthBytes: number;
  /** A capture of several files is a ring: the oldest is replaced. One file ends when it is full. */
  files: number;
  fileBytes: number;
  /** Expression of pcap-filter(7); all frames without. */
  filter?: string;
}

export interface LinkPlan {
  /** `NETWORK/GUEST` for the link of a port, `NETWORK/A-B` between switches; unique in the fabric. */
  name: string;
  /** Shapes towards the switch (from the guest, or from `a` to `b`) and back. */
  out: Shape;
  in: Shape;
  isCut: boolean;
  capture?: CapturePlan;
}

/** What a guest may do to a network: it is untrusted. */
export interface PortLimits {
  /** Source addresses that a port may use; the first is its own. 1 means that only its own is let in. */
  macs: number;
  /** Broadcast and multicast frames let in each second; a burst of a tenth of a second's worth and at least 32. */
  broadcastsPerSecond: number;
}

export interface PortPlan {
  link: LinkPlan;
  /** Index of the switch in the network. */
  switch: number;
  /** What is on the other end. */
  end: GuestEnd | UplinkEnd | TrunkEnd;
  limits: PortLimits;
}

/**
 * An interface of a guest. Its program listens at `socketPath` (a unix stream socket) and speaks frames with a
 * 4-byte big-endian length before each, as QEMU's `-netdev stream` does; the fabric connects, and connects again
 * whenever the guest or the fabric was away. In a network that is a bridge nobody listens.
 */
export interface GuestEnd {
  kind: 'guest';
  guest: string;
  interface: InterfacePlan;
  socketPath: string;
}

/** A way out by user-mode NAT, for the declared destinations only. */
export interface UplinkEnd {
  kind: 'uplink';
  /** The address that guests use as gateway, within the network's subnet. */
  gateway: string;
  mac: string;
  allow: readonly UplinkRule[];
  /** Ports of the host that lead to guests; none unless declared. */
  publish?: readonly PublishedPort[];
}

/** A TCP port of the host that leads to the same port of a guest. Whoever connects keeps the address it comes from. */
export interface PublishedPort {
  port: number;
  /** Of the guest's interface in the network. */
  address: string;
  mac: string;
}

export interface UplinkRule {
  protocol: 'tcp' | 'udp' | 'icmp';
  /** IPv4 prefix, such as 192.0.2.0/24. */
  destination: string;
  /** Any port when not given. */
  ports?: readonly [first: number, last: number];
}

/** The same network on another host; see trunk/trunks.ts. */
export interface TrunkEnd {
  kind: 'trunk';
  host: string;
  /** Who is there by the plan: nobody here can take their addresses. */
  members?: readonly TrunkMember[];
}

export interface TrunkMember {
  mac: string;
  /** Name of its link in the fabric of its host. */
  link: string;
  /** None for an uplink. */
  guest?: string;
}

export interface SwitchLinkPlan {
  link: LinkPlan;
  /** Indices of switches in the network. */
  a: number;
  b: number;
}

export interface NetworkPlan {
  name: string;
  /** IPv4 prefix of the network, such as 10.1.0.0/16. */
  subnet: string;
  /** Largest payload of a frame, in bytes. */
  mtuBytes: number;
  /** Names of the switches; a LAN's one is named as the network. */
  switches: string[];
  links: SwitchLinkPlan[];
  ports: PortPlan[];
  /** Its switch is a bridge of the kernel: then it is no business of the fabric's worker (bridge/). */
  bridge?: BridgePlan;
  /** Guests that ask are told their planned addresses by DHCP; nobody answers without it. */
  dhcp?: DhcpPlan;
}

/** In the network namespace of the cluster. */
export interface BridgePlan {
  device: string;
  /** The bridge of the host that it is joined to, and the device for it in the host's namespace. */
  joins?: { bridge: string; device: string };
}

export interface DhcpPlan {
  /** Whom answers come from: an address of the network that no member has. */
  address: string;
  mac: string;
  /** Only where there is an uplink. */
  router?: string;
  nameservers?: readonly string[];
}

export interface FabricPlan {
  version: 1;
  /** Name of the cluster. */
  name: string;
  /** All randomness of loss, jitter, duplicates and order comes from it. */
  seed: number;
  networks: NetworkPlan[];
  /** Where this is the part of one host: of the plan of all, so that hosts can tell whether theirs is the same. */
  digest?: string;
}

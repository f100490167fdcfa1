/** A guest's network interface, as it is planned. Which networks there are is the business of src/fabric/. */

import { join } from 'node:path';

/** One interface of a guest, as the guest and its driver see it. */
export interface InterfacePlan {
  /** Name of the network it is in. */
  network: string;
  /** Name in the guest: eth0, eth1… in the order of the networks in the spec. */
  name: string;
  /** Six bytes in hexadecimal, joined by colons. */
  mac: string;
  /** IPv4 address with its prefix length, such as 10.1.0.3/16. */
  address: string;
  mtuBytes: number;
  /** It is a TAP device of the kernel, joined to a bridge; both are in the network namespace of the cluster. */
  bridge?: { device: string; tap: string };
}

export interface RoutePlan {
  /** IPv4 prefix, such as 10.2.0.0/16. */
  destination: string;
  /** Address of the guest that passes it on. */
  gateway: string;
}

/** What a guest is in its cluster. A guest of its own has none of it. */
export interface Membership {
  /** Unique on the host: `CLUSTER.GUEST`. */
  name: string;
  /** What the guest calls itself. */
  hostname: string;
  interfaces: readonly InterfacePlan[];
  /** Lines of /etc/hosts for all members: an address and names. */
  hosts: readonly string[];
  routes: readonly RoutePlan[];
  /** Whether it passes packets on between its networks. */
  forward: boolean;
  /** Of which version of which cluster; see `lodge apply`. */
  cluster?: { name: string; digest: string };
}

/** As many as the keeper takes. */
export const maxInterfaces = 32;

/** Names the process that has the network namespace with a cluster's bridges; see host-side/holder.c. */
export function bridgesFile(runtimeDir: string, cluster: string): string {
  return join(runtimeDir, 'clusters', cluster, 'bridges');
}

/** The socket of an interface in its guest's directory: frames with their length before them; see fabric/plan.ts. */
export function interfaceSocket(index: number): string {
  return `net${index}.sock`;
}

/** From the plan of a cluster to the parts of it that its hosts have, joined by trunks. Pure. */

import { basename, join } from 'node:path';
import { LodgeError } from '../errors.ts';
import type { FabricPlan, NetworkPlan, PortPlan, TrunkMember } from '../fabric/plan.ts';
import { digestOf } from './canonical.ts';
import { fullNameOf } from './networks.ts';
import type { ClusterPlan } from './plan.ts';

/** Names of hosts by the names that guests have in the cluster. */
export type HostOfGuest = ReadonlyMap<string, string>;

export interface HostPart {
  host: string;
  /** Directory of guests on that host. */
  guestsDir: string;
}

/** What comes by a trunk was let in by the fabric of its host. */
export const trunkLimits = { macs: 65_536, broadcastsPerSecond: 1e6 };

/**
 * What a host has of a cluster: its guests, and its part of the fabric.
 * @throws LodgeError as {@link fabricOnHost}
 */
export function clusterOnHost(plan: ClusterPlan, hostOfGuest: HostOfGuest, part: HostPart): ClusterPlan {
  return {
    ...plan,
    guests: plan.guests.filter(({ name }) => hostOfGuest.get(name) === part.host),
    fabric: fabricOnHost(plan.fabric, hostOfGuest, part),
  };
}

/**
 * The part of a fabric that is on a host: the networks of its guests, in which each other host that has guests of the
 * network is a port, `NETWORK/trunk.HOST`. An uplink is on the host of the network's first member, and so are trunks
 * that the plan has already, to hosts of which it knows nothing more.
 *
 * @throws LodgeError `spec-value` for a guest without a host, or a network of several switches on several hosts
 */
export function fabricOnHost(fabric: FabricPlan, hostOfGuest: HostOfGuest, part: HostPart): FabricPlan {
  const hosts = new Map([...hostOfGuest].map(([guest, host]) => [fullNameOf(fabric.name, guest), host]));
  const networks = fabric.networks.flatMap((network) => networkOnHost(network, hosts, part) ?? []);
  return { ...fabric, networks, digest: fabric.digest ?? digestOf([fabric, [...hosts].sort()]) };
}

/** The name of the link that joins a network to another host. */
export function nameTrunk(network: string, host: string): string {
  return `${network}/trunk.${host}`;
}

/** The network and host of such a name; undefined for that of another link: no guest's name has a dot. */
export function trunkIn(link: string): { network: string; host: string } | undefined {
  const [, network, host] = /^([^/]+)\/trunk\.(.+)$/.exec(link) ?? [];
  return network === undefined || host === undefined ? undefined : { network, host };
}

function networkOnHost(
  network: NetworkPlan,
  hosts: ReadonlyMap<string, string>,
  { host, guestsDir }: HostPart,
): NetworkPlan | undefined {
  const first = network.ports.find(({ end }) => end.kind === 'guest');
  const hostOf = ({ end }: PortPlan): string => {
    const guest = end.kind === 'guest' ? end.guest : first?.end.kind === 'guest' ? first.end.guest : '';
    const found = hosts.get(guest);
    if (found !== undefined) return found;
    throw new LodgeError('spec-value', `no host was chosen for '${guest}'`);
  };
  const own: PortPlan[] = [];
  const others = new Map<string, TrunkMember[]>();
  for (const port of network.ports) {
    const at = hostOf(port);
    if (at === host) {
      own.push(placed(port, guestsDir));
      continue;
    }
    const there = others.get(at) ?? [];
    others.set(at, there);
    there.push(memberOf(port));
  }
  if (own.length === 0) return undefined;
  if (others.size > 0 && network.switches.length > 1) {
    throw new LodgeError(
      'spec-value',
      `network '${network.name}' has ${network.switches.length} switches, and its members are on several hosts: ${[host, ...others.keys()].sort().join(', ')}`,
      { fix: 'put all its members on one host, or make it a LAN: only these go over several' },
    );
  }
  if (others.size > 0 && network.bridge !== undefined && network.bridge.joins === undefined) {
    throw new LodgeError(
      'spec-value',
      `network '${network.name}' is a bridge of its own, and its members are on several hosts: ${[host, ...others.keys()].sort().join(', ')}`,
      {
        fix: 'put all its members on one host; or leave out bridge; or name a bridge that joins the hosts: bridge: br0',
      },
    );
  }
  // A bridge of the host goes where it goes by itself.
  if (network.bridge !== undefined) return { ...network, ports: own };
  const trunks = [...others].map(
    ([other, members]): PortPlan => ({
      link: { name: nameTrunk(network.name, other), out: {}, in: {}, isCut: false },
      switch: 0,
      end: { kind: 'trunk', host: other, members },
      limits: trunkLimits,
    }),
  );
  return { ...network, ports: [...own, ...trunks] };
}

/** With the guest's socket where it is on its host. */
function placed(port: PortPlan, guestsDir: string): PortPlan {
  const { end } = port;
  if (end.kind !== 'guest') return port;
  return { ...port, end: { ...end, socketPath: join(guestsDir, end.guest, basename(end.socketPath)) } };
}

function memberOf({ end, link }: PortPlan): TrunkMember {
  if (end.kind === 'guest') return { mac: end.interface.mac, link: link.name, guest: end.guest };
  if (end.kind === 'uplink') return { mac: end.mac, link: link.name };
  throw new LodgeError('internal', `${link.name} is a trunk already`);
}

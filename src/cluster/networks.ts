/** From the networks of a cluster's spec to the plan of its fabric, and to its guests' interfaces. Pure. */

import { join } from 'node:path';
import type { LocatedDocument } from '../document.ts';
import { LodgeError, retold } from '../errors.ts';
import type {
  DhcpPlan,
  FabricPlan,
  NetworkPlan,
  PortLimits,
  PortPlan,
  SwitchLinkPlan,
} from '../fabric/plan.ts';
import { type InterfacePlan, interfaceSocket } from '../guest/interface.ts';
import { nearest } from '../nearest.ts';
import type { Locate } from '../value-faults.ts';
import {
  defaultSubnet,
  formatAddress,
  formatPrefix,
  mostNetworks,
  type Prefix,
  parsePrefix,
  prefixesOverlap,
  prefixHas,
} from './address.ts';
import type { AsGraph } from './as-graph.ts';
import { bridgeOf, checkBridged, tapOf } from './bridges.ts';
import { captureOf } from './captures.ts';
import type { SpecifiedGuest } from './guest-specs.ts';
import { type Member, type NetworkMembers, planMembers } from './members.ts';
import { memberShapes, switchLinkShapes } from './shapes.ts';
import { type ClusterSpec, clusterSpecSchema, type NetworkSpec } from './spec.ts';
import { buildGraph, type Graph, partsOf } from './topology.ts';
import { formatUplinkRule } from './uplink-rule.ts';

export interface NetworksInput {
  /** Name of the cluster. */
  name: string;
  document: LocatedDocument<ClusterSpec>;
  guests: readonly SpecifiedGuest[];
  /** By what was written after `as-graph:`. */
  asGraphs: ReadonlyMap<string, AsGraph>;
  /** Where the directories of guests are: their interfaces' sockets are in them. */
  guestsDir: string;
  /** What directories of captures are relative to. */
  cwd: string;
  /** The job of Slurm that it is in. */
  job?: string;
}

export interface PlannedNetworks {
  fabric: FabricPlan;
  /** By the guest's name, in the order of the networks. */
  interfaces: Map<string, InterfacePlan[]>;
}

/** The full name of a guest of a cluster: unlike any guest's that is in none, because it has a dot. */
export function fullNameOf(cluster: string, guest: string): string {
  return `${cluster}.${guest}`;
}

/**
 * Plans all networks.
 * @throws LodgeError `spec-value` with file, line and column
 */
export function planNetworks(input: NetworksInput): PlannedNetworks {
  const { document, guests, name } = input;
  const specs = fabricOf(document.value, guests);
  const entries = Object.entries(specs);
  if (entries.length > mostNetworks) {
    throw new LodgeError('spec-value', `there are ${entries.length} networks`, {
      where: document.locate(['fabric']),
      fix: `at most ${mostNetworks}`,
    });
  }
  if (entries.length === 0) {
    throw new LodgeError('spec-value', 'there is no network in fabric', {
      where: document.locate(['fabric']),
      fix: 'leave fabric out: all guests are then in one LAN; or name one: fabric: {lan: {members: […]}}',
    });
  }
  const names = new Set(guests.map((guest) => guest.name));
  const interfaces = new Map<string, InterfacePlan[]>(guests.map((guest) => [guest.name, []]));
  const subnets: { name: string; subnet: Prefix }[] = [];
  const macs = new Map<string, string>();
  const networks = entries.map(([network, spec], index) => {
    const locate: Locate = (path, part) => document.locate(['fabric', network, ...path], part);
    const subnet = subnetOf({ network, spec, index, locate, subnets });
    const planned = planMembers({ index, name: network, spec, subnet, guests: names, locate });
    const server = planned.gateway ?? planned.dhcp;
    if (server !== undefined)
      macs.set(server.mac, `${network}/${planned.gateway === undefined ? 'DHCP' : 'uplink'}`);
    for (const { mac, guest, spec: own, locate: within } of planned.members) {
      const owner = `${network}/${guest}`;
      const other = macs.get(mac);
      if (other !== undefined) {
        throw new LodgeError('spec-value', `${mac} is the MAC address of both ${other} and ${owner}`, {
          where: within(own.mac === undefined ? [] : ['mac']),
          fix: 'give one of them another, or none',
        });
      }
      macs.set(mac, owner);
    }
    return planNetwork(input, { network, spec, subnet, planned, locate, interfaces });
  });
  const alone = guests.find((guest) => interfaces.get(guest.name)!.length === 0);
  if (alone !== undefined) {
    throw new LodgeError('spec-value', `'${alone.name}' is in no network`, {
      where: alone.where,
      fix: 'add it to the members of one; a network may have a single member',
    });
  }
  return { fabric: { version: 1, name, seed: document.value.seed, networks }, interfaces };
}

/** What is in `fabric`, or one LAN of all. */
function fabricOf(spec: ClusterSpec, guests: readonly SpecifiedGuest[]): Record<string, NetworkSpec> {
  if (spec.fabric !== undefined) return spec.fabric;
  const members = guests.map((guest) => guest.name);
  return clusterSpecSchema.shape.fabric.parse({ lan: { members } })!;
}

function subnetOf(from: {
  network: string;
  spec: NetworkSpec;
  index: number;
  locate: Locate;
  subnets: { name: string; subnet: Prefix }[];
}): Prefix {
  const { network, spec, index, locate, subnets } = from;
  const subnet = spec.subnet ?? defaultSubnet(index);
  const clash = subnets.find((other) => prefixesOverlap(other.subnet, subnet));
  if (clash !== undefined) {
    throw new LodgeError(
      'spec-value',
      `the subnet of '${network}', ${formatPrefix(subnet)}, overlaps that of '${clash.name}', ${formatPrefix(clash.subnet)}`,
      { where: locate(spec.subnet === undefined ? [] : ['subnet']), fix: 'give it another subnet' },
    );
  }
  subnets.push({ name: network, subnet });
  return subnet;
}

const defaultBroadcasts = 1000;

interface NetworkInput {
  network: string;
  spec: NetworkSpec;
  subnet: Prefix;
  planned: NetworkMembers;
  locate: Locate;
  interfaces: Map<string, InterfacePlan[]>;
}

function planNetwork(input: NetworksInput, at: NetworkInput): NetworkPlan {
  const { network, spec, subnet, planned, locate, interfaces } = at;
  const { members } = planned;
  checkBridged(network, spec, members, locate);
  const bridge = bridgeOf(input, network, spec);
  const graph = graphOf(input, network, spec, members, locate);
  const isLan = graph.links.length === 0 && graph.switches.length === 1;
  const owner = { cluster: input.name, ...(input.job === undefined ? {} : { job: input.job }) };
  const ports = members.map((member, i): PortPlan => {
    const own = interfaces.get(member.guest)!;
    const plan: InterfacePlan = {
      network,
      name: `eth${own.length}`,
      mac: member.mac,
      address: `${formatAddress(member.address)}/${subnet.length}`,
      mtuBytes: spec.mtu,
      ...(bridge === undefined
        ? {}
        : { bridge: { device: bridge.device, tap: tapOf(network, member.guest) } }),
    };
    const socketPath = join(
      input.guestsDir,
      fullNameOf(input.name, member.guest),
      interfaceSocket(own.length),
    );
    own.push(plan);
    const capture = captureOf(member.spec.capture ?? spec.capture, input.cwd, owner);
    return {
      link: {
        name: `${network}/${member.guest}`,
        ...memberShapes(spec, member.spec, isLan, { network: locate, member: member.locate }),
        isCut: false,
        ...(capture === undefined ? {} : { capture }),
      },
      switch: graph.seats[i]!,
      end: { kind: 'guest', guest: fullNameOf(input.name, member.guest), interface: plan, socketPath },
      limits: limitsOf(spec, member),
    };
  });
  const links = graph.links.map(
    ([a, b]): SwitchLinkPlan => ({
      link: {
        name: `${network}/${graph.switches[a]}-${graph.switches[b]}`,
        ...switchLinkShapes(spec, locate),
        isCut: false,
      },
      a,
      b,
    }),
  );
  if (planned.gateway !== undefined) ports.push(uplinkPortOf(at, planned.gateway, graph));
  checkLinkNames(network, ports, links, locate);
  return {
    name: network,
    subnet: formatPrefix(subnet),
    mtuBytes: spec.mtu,
    switches: graph.switches,
    links,
    ports,
    ...(bridge === undefined ? {} : { bridge }),
    ...(planned.dhcp === undefined ? {} : { dhcp: dhcpPlan(planned.dhcp, planned, spec) }),
  };
}

/** Router and name servers are told only where an uplink lets guests reach them. */
function dhcpPlan(
  { address, mac }: { address: number; mac: string },
  { gateway }: NetworkMembers,
  { uplink }: NetworkSpec,
): DhcpPlan {
  const server = { address: formatAddress(address), mac };
  if (gateway === undefined || uplink === undefined) return server;
  const nameservers = uplink.allow.flatMap(({ protocol, destination, ports }) =>
    protocol === 'udp' && destination.endsWith('/32') && ports?.[0] === 53 && ports[1] === 53
      ? [destination.slice(0, -'/32'.length)]
      : [],
  );
  const router = formatAddress(gateway.address);
  return { ...server, router, ...(nameservers.length === 0 ? {} : { nameservers }) };
}

function limitsOf(spec: NetworkSpec, member: Member): PortLimits {
  return {
    macs: member.spec.limits?.macs ?? spec.limits?.macs ?? 1,
    broadcastsPerSecond: member.spec.limits?.broadcasts ?? spec.limits?.broadcasts ?? defaultBroadcasts,
  };
}

function uplinkPortOf(
  { network, spec, subnet, locate }: Pick<NetworkInput, 'network' | 'spec' | 'subnet' | 'locate'>,
  gateway: { address: number; mac: string },
  graph: Graph,
): PortPlan {
  const { allow, switch: seat } = spec.uplink!;
  allow.forEach((rule, i) => {
    const destination = parsePrefix(rule.destination);
    if (destination.length < subnet.length || !prefixHas(subnet, destination.network)) return;
    throw new LodgeError(
      'spec-value',
      `'${formatUplinkRule(rule)}' lets nothing out: ${formatPrefix(subnet)} is network '${network}' itself`,
      {
        where: locate(['uplink', 'allow', i]),
        fix: 'leave it out: members reach one another without',
      },
    );
  });
  return {
    link: { name: `${network}/uplink`, out: {}, in: {}, isCut: false },
    switch: seat === undefined ? 0 : switchIndex(seat, graph, locate(['uplink', 'switch'])),
    end: { kind: 'uplink', gateway: formatAddress(gateway.address), mac: gateway.mac, allow },
    limits: { macs: 1, broadcastsPerSecond: defaultBroadcasts },
  };
}

/** The graph with members where they asked to be, and a way between any two of them. */
function graphOf(
  input: NetworksInput,
  network: string,
  spec: NetworkSpec,
  members: readonly Member[],
  locate: Locate,
): Graph {
  const topology = spec.topology ?? { kind: 'lan' };
  const where = locate(['topology']);
  const asGraph = topology.kind === 'as-graph' ? input.asGraphs.get(topology.file) : undefined;
  let graph: Graph;
  try {
    const context = { network, members: members.length, seed: input.document.value.seed };
    graph = buildGraph(topology, { ...context, ...(asGraph === undefined ? {} : { asGraph }) });
  } catch (error) {
    throw error instanceof LodgeError ? retold(error, { where }) : error;
  }
  members.forEach((member, i) => {
    if (member.spec.switch !== undefined)
      graph.seats[i] = switchIndex(member.spec.switch, graph, member.locate(['switch']));
  });
  const parts = partsOf(graph);
  const first = graph.seats[0];
  const apart = graph.seats.findIndex((seat) => parts[seat] !== parts[first!]);
  if (apart > 0) {
    throw new LodgeError(
      'spec-value',
      `nothing leads from ${members[0]!.guest} at ${graph.switches[first!]} to ${members[apart]!.guest} at ${graph.switches[graph.seats[apart]!]}`,
      { where, fix: 'join members to switches of one part of the graph: members: {GUEST: {switch: NAME}}' },
    );
  }
  return graph;
}

function switchIndex(name: string, { switches }: Graph, where: string): number {
  const index = switches.indexOf(name);
  if (index >= 0) return index;
  const near = nearest(name, switches);
  throw new LodgeError('spec-value', `there is no switch '${name}'`, {
    where,
    fix:
      near === undefined
        ? `switches: ${switches.slice(0, 10).join(', ')}${switches.length > 10 ? '…' : ''}`
        : `did you mean '${near}'?`,
  });
}

/** A guest may be named as a link between switches is. */
function checkLinkNames(
  network: string,
  ports: readonly PortPlan[],
  links: readonly SwitchLinkPlan[],
  locate: Locate,
): void {
  const seen = new Set<string>();
  for (const { link } of [...links, ...ports]) {
    if (seen.has(link.name)) {
      const name = link.name.slice(network.length + 1);
      throw new LodgeError(
        'spec-value',
        `a guest of '${network}' has the name of another link there, '${name}'`,
        {
          where: locate(['members']),
          fix: 'give the guest another name',
        },
      );
    }
    seen.add(link.name);
  }
}

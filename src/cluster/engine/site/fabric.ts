/**
 * The network between the v-nodes of a site. Each v-node is a guest in a job of its own, with a fabric of its own; these
 * fabrics are joined by trunks as those of the hosts of a job are, only that each is named by its v-node, and that where
 * the others are is known from the site file. Pure.
 *
 * The key of these trunks is not made from munge's: whoever is root in a v-node can read that one, and would have a key
 * to the networks of all others.
 */

import { LodgeError } from '../../../errors.ts';
import type { FabricPlan, NetworkPlan, PortPlan } from '../../../fabric/plan.ts';
import {
  formatAddress,
  formatPrefix,
  macOf,
  parsePrefix,
  prefixesOverlap,
  prefixSize,
} from '../../address.ts';
import { digestOf } from '../../canonical.ts';
import { nameTrunk, trunkLimits } from '../../hosts.ts';
import { fullNameOf } from '../../networks.ts';
import type { Site, SiteSpec, VirtualNode } from './spec.ts';

/** The cluster that each v-node is. */
export const nodeCluster = 'vnode';
export const fabricNetwork = 'fabric';

/** A v-node as the others know it. */
export interface FabricNode {
  name: string;
  host: string;
  /** Of its host, where its fabric listens for the others. */
  port: number;
  /** In the network. */
  address: string;
  mac: string;
}

export interface SiteFabric {
  subnet: string;
  /** Path of the key for trunks. */
  key: string;
  /** All v-nodes, in the order of the site file. */
  nodes: FabricNode[];
}

/**
 * The network of a site, if it has one. Places in the site file decide, so that a v-node which is added at its end
 * changes nothing for the others.
 */
export function siteFabric({ spec, nodes }: Pick<Site, 'spec' | 'nodes'>): SiteFabric | undefined {
  const { fabric } = spec;
  if (fabric === undefined) return undefined;
  const { network, length } = parsePrefix(fabric.subnet);
  return {
    subnet: formatPrefix({ network, length }),
    key: fabric.key,
    nodes: nodes.map(({ name, host }, i) => ({
      name,
      host,
      port: fabric['first-port'] + i,
      address: formatAddress(network + 1 + i),
      mac: macOf(0, i + 1),
    })),
  };
}

/**
 * @param where of a key of `fabric`
 * @throws LodgeError `spec-value` for a network that cannot be
 */
export function checkFabric(
  spec: SiteSpec,
  nodes: readonly VirtualNode[],
  where: (key: string) => string,
): void {
  const { fabric } = spec;
  if (fabric === undefined) return;
  const subnet = parsePrefix(fabric.subnet);
  const room = prefixSize(subnet.length) - 2;
  if (nodes.length > room) {
    throw new LodgeError('spec-value', `${fabric.subnet} has ${room} addresses for ${nodes.length} v-nodes`, {
      where: where('subnet'),
      fix: 'give it a larger subnet',
    });
  }
  const outside = [...spec.networks, ...spec.reach.map(({ destination }) => destination)];
  const clash = outside.find((one) => prefixesOverlap(parsePrefix(one), subnet));
  if (clash !== undefined) {
    throw new LodgeError(
      'spec-value',
      `the v-nodes' own network ${fabric.subnet} overlaps ${clash}, which they reach outside`,
      {
        where: where('subnet'),
        fix: 'give it a subnet that is used nowhere else: subnet: 172.30.0.0/16',
      },
    );
  }
  const [first, last] = [fabric['first-port'], fabric['first-port'] + nodes.length - 1];
  const [slurmd, lastSlurmd] = [spec['first-port'], spec['first-port'] + nodes.length - 1];
  if (last > 65_535 || (first <= lastSlurmd && slurmd <= last)) {
    throw new LodgeError(
      'spec-value',
      last > 65_535
        ? 'there are more v-nodes than ports'
        : `ports ${first}-${last} of trunks meet ports ${slurmd}-${lastSlurmd} of slurmd`,
      { where: where('first-port'), fix: 'begin elsewhere' },
    );
  }
}

/** Joins the network of a v-node's plan to those of all others. */
export function withTrunks(fabric: FabricPlan, node: string, { nodes }: SiteFabric): FabricPlan {
  const trunks = nodes
    .filter(({ name }) => name !== node)
    .map(
      ({ name, mac }): PortPlan => ({
        link: { name: nameTrunk(fabricNetwork, name), out: {}, in: {}, isCut: false },
        switch: 0,
        end: {
          kind: 'trunk',
          host: name,
          members: [{ mac, link: `${fabricNetwork}/${name}`, guest: fullNameOf(nodeCluster, name) }],
        },
        // Nothing is behind it but that v-node, with its own address.
        limits: { ...trunkLimits, macs: 1 },
      }),
    );
  const joined = (network: NetworkPlan): NetworkPlan =>
    network.name === fabricNetwork ? { ...network, ports: [...network.ports, ...trunks] } : network;
  return { ...fabric, networks: fabric.networks.map(joined), digest: digestOf(nodes) };
}

/** Lines of `/etc/hosts` by which a v-node knows the others; its own name it has already. */
export function fabricHosts(node: string, { nodes }: SiteFabric): string {
  return nodes
    .filter(({ name }) => name !== node)
    .map(({ name, address }) => `${address} ${name}\n`)
    .join('');
}

/**
 * Parameters of Open MPI. It would try every address that two nodes have, and the one of the way out is the same in
 * all v-nodes.
 */
export function openMpiParameters({ subnet }: SiteFabric): string {
  return `# Made by lodge: the network between v-nodes, and not the way out.
btl_tcp_if_include = ${subnet}
oob_tcp_if_include = ${subnet}
`;
}

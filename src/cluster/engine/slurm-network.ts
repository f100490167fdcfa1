/**
 * The network by which guests reach the daemons of a Slurm of one's own, beside those of the cluster's spec. Pure.
 */

import { LodgeError } from '../../errors.ts';
import type { FabricPlan, PublishedPort, UplinkEnd } from '../../fabric/plan.ts';
import type { ClusterExtension } from '../look.ts';
import { clusterSpecSchema } from '../spec.ts';

const networkName = 'slurm';

/**
 * Gives a cluster one network more, with a way out to the daemons and nothing else, the routes that lead there, and
 * ports of the host with the way out that lead to the guests.
 * @param subnet of its own; by default the next one, as of every network
 */
export function withSlurmNetwork(
  allow: string[],
  ports: readonly number[],
  subnet?: string,
): ClusterExtension {
  return {
    document: (document) => {
      const { value } = document;
      const names = Object.keys(value.guests);
      if (value.fabric?.[networkName] !== undefined) {
        throw new LodgeError(
          'spec-value',
          `a network is named '${networkName}', as that of Slurm's daemons is`,
          {
            where: document.locate(['fabric', networkName], 'key'),
            fix: 'give it another name',
          },
        );
      }
      const own = clusterSpecSchema.shape.fabric.parse({
        [networkName]: { members: names, uplink: { allow }, ...(subnet === undefined ? {} : { subnet }) },
      })!;
      const lan = clusterSpecSchema.shape.fabric.parse({ lan: { members: names } })!;
      return { ...document, value: { ...value, fabric: { ...(value.fabric ?? lan), ...own } } };
    },
    outline: (outline) => {
      const end = uplinkOf(outline.fabric);
      if (end === undefined) throw new LodgeError('internal', 'the network of Slurm has no way out');
      const publish = outline.guests.flatMap(({ interfaces }, i): PublishedPort[] => {
        const own = interfaces.find(({ network }) => network === networkName);
        const address = own?.address.split('/')[0];
        return own === undefined ? [] : [{ port: ports[i]!, address: address!, mac: own.mac }];
      });
      const destinations = [...new Set(end.allow.map(({ destination }) => destination))];
      const routes = destinations.map((destination) => ({ destination, gateway: end.gateway }));
      return {
        ...outline,
        fabric: withPublished(outline.fabric, publish),
        guests: outline.guests.map((guest) => ({ ...guest, routes: [...guest.routes, ...routes] })),
      };
    },
  };
}

function withPublished(fabric: FabricPlan, publish: readonly PublishedPort[]): FabricPlan {
  return {
    ...fabric,
    networks: fabric.networks.map((network) => ({
      ...network,
      ports: network.ports.map((port) =>
        network.name === networkName && port.end.kind === 'uplink'
          ? { ...port, end: { ...port.end, publish } }
          : port,
      ),
    })),
  };
}

function uplinkOf(fabric: FabricPlan): UplinkEnd | undefined {
  const network = fabric.networks.find(({ name }) => name === networkName);
  const end = network?.ports.map((port) => port.end).find(({ kind }) => kind === 'uplink');
  return end?.kind === 'uplink' ? end : undefined;
}

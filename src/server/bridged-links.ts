/** Links of a cluster that are on bridges of the kernel, beside those of its fabric's worker. */

import { clusterDir, guestsOf } from '../cluster/state.ts';
import { type BridgedCluster, bridgeLinks } from '../fabric/bridge/bridges.ts';
import { bridgedPorts } from '../fabric/bridge/devices.ts';
import type { FabricClient } from '../fabric/client.ts';
import type { LinkState } from '../fabric/control.ts';
import type { FabricPlan } from '../fabric/plan.ts';

export function bridgedCluster(name: string): BridgedCluster {
  return {
    dir: clusterDir(name),
    keepers: () =>
      guestsOf(name).flatMap(({ keeper, plan }) =>
        keeper !== undefined && plan.interfaces.some(({ bridge }) => bridge !== undefined)
          ? [keeper.pid]
          : [],
      ),
  };
}

export function bridgedNames(plan: FabricPlan): Set<string> {
  return new Set(bridgedPorts(plan).map(({ port }) => port.link.name));
}

/** Those of the worker, then those on bridges. */
export async function allLinks(
  client: FabricClient,
  plan: FabricPlan,
  asked: readonly string[] | undefined,
): Promise<LinkState[]> {
  const onBridges = bridgedNames(plan);
  const others = asked?.filter((link) => !onBridges.has(link));
  const states = await client.ask('links', others === undefined ? {} : { links: others });
  const bridged = await bridgeLinks(bridgedCluster(plan.name), plan);
  return [...states, ...bridged.filter(({ name }) => asked === undefined || asked.includes(name))];
}

/** Makes the bridges of a cluster what its plan says, and tells of them; `ip`, `bridge` and `tc` do it (iproute2). */

import type { ProcessIdentity } from '../../process-identity.ts';
import type { LinkState } from '../control.ts';
import type { FabricPlan } from '../plan.ts';
import {
  type BridgedPort,
  bridgedPorts,
  type Devices,
  joiningCommands,
  networkCommands,
  onlyBridges,
  portCommands,
} from './devices.ts';
import { endHolder, ensureHolder, findHolder, runAtBridges, runChecked } from './holder.ts';
import { devicesOf, type LinkRecord, linkStates, type QueueRecord } from './statistics.ts';

/** A cluster on this host. */
export interface BridgedCluster {
  dir: string;
  /** Ids of the keepers of its guests on bridges. */
  keepers: () => number[];
}

/**
 * All bridges, and the ports of guests that run. Without a network that is one, nothing is left of them.
 * @throws LodgeError `bridge-unmet`, `missing-program`
 */
export async function applyBridges({ dir, keepers }: BridgedCluster, plan: FabricPlan): Promise<void> {
  if (onlyBridges(plan).networks.length === 0) return endBridges(dir);
  const holder = await ensureHolder(dir, keepers());
  const found = await lookAtDevices(holder);
  await batch(holder, 'ip', networkCommands(plan, found));
  const { host, inside } = joiningCommands(plan, found, holder.pid);
  if (host.length > 0) await runChecked(['ip', '-batch', '-'], `${host.join('\n')}\n`);
  await batch(holder, 'ip', inside);
  await makePorts(holder, bridgedPorts(plan), found);
}

/** Takes all bridges away, with what holds them. Guests that are still on them have no network then. */
export async function endBridges(dir: string): Promise<void> {
  const holder = findHolder(dir);
  if (holder !== undefined) {
    // The kernel takes them away too, but by and by: nobody need see them in the host's namespace after that.
    const clean = async (): Promise<void> =>
      batch(holder, 'ip', networkCommands(noNetworks, await lookAtDevices(holder)));
    await clean().catch(() => {});
  }
  await endHolder(dir);
}

const noNetworks: FabricPlan = { version: 1, name: '', seed: 0, networks: [] };

/** Makes the ports of some links what the plan says, once their guests have devices. */
export async function applyPorts(
  cluster: BridgedCluster,
  plan: FabricPlan,
  links: readonly string[],
): Promise<void> {
  const ports = bridgedPorts(plan).filter(({ port }) => links.includes(port.link.name));
  if (ports.length === 0) return;
  const holder = findHolder(cluster.dir);
  // Whoever had them was killed, or has found no guest for a while.
  if (holder === undefined) return applyBridges(cluster, plan);
  await makePorts(holder, ports, await lookAtDevices(holder));
}

async function makePorts(
  holder: ProcessIdentity,
  ports: readonly BridgedPort[],
  found: Devices,
): Promise<void> {
  const { ip, bridge, tc } = portCommands(ports, found);
  await batch(holder, 'ip', ip);
  await batch(holder, 'bridge', bridge);
  await batch(holder, 'tc', tc);
}

async function batch(
  holder: ProcessIdentity,
  program: 'ip' | 'bridge' | 'tc',
  lines: readonly string[],
): Promise<void> {
  if (lines.length > 0) await runAtBridges(holder, [program, '-batch', '-'], `${lines.join('\n')}\n`);
}

async function lookAtDevices(holder: ProcessIdentity): Promise<Devices> {
  const { links, queues } = await readStatistics(holder);
  return devicesOf(links, queues);
}

async function readStatistics(
  holder: ProcessIdentity,
): Promise<{ links: LinkRecord[]; queues: QueueRecord[] }> {
  const [links, queues] = await Promise.all([
    runAtBridges(holder, ['ip', '-json', '-statistics', 'link', 'show']),
    runAtBridges(holder, ['tc', '-json', '-statistics', 'qdisc', 'show']),
  ]);
  return {
    links: JSON.parse(links || '[]') as LinkRecord[],
    queues: JSON.parse(queues || '[]') as QueueRecord[],
  };
}

/** The links of all guests on bridges. Those of guests that do not run are not connected. */
export async function bridgeLinks({ dir, keepers }: BridgedCluster, plan: FabricPlan): Promise<LinkState[]> {
  const ports = bridgedPorts(plan);
  if (ports.length === 0) return [];
  const running = keepers();
  const holder = running.length > 0 ? await ensureHolder(dir, running) : findHolder(dir);
  const { links, queues } = holder === undefined ? { links: [], queues: [] } : await readStatistics(holder);
  return linkStates(ports, links, queues);
}

/**
 * The devices of networks that are bridges of the kernel, and what `ip`, `bridge` and `tc` are told to make them what
 * a plan says: text for their `-batch -`, made from what there is. Pure. Done twice it changes nothing.
 *
 * All are in the network namespace of the cluster. A guest's TAP (`t-…`) is a port of the network's bridge (`b-…`).
 * Queues of the kernel act on what leaves a device: on frames to the guest at its TAP. For those from the guest there
 * is a bridge of its own (`m-…`) between its TAP and a veth (`v-…`), where they leave for the network (`w-…`); it needs
 * no classifiers or actions of `tc`, which not every kernel has. A network that joins a bridge of the host does it by a
 * veth too (`u-…`).
 */

import type { FabricPlan, GuestEnd, NetworkPlan, PortPlan, Shape } from '../plan.ts';

/** A port of a guest on a bridge. */
export interface BridgedPort {
  port: PortPlan;
  end: GuestEnd;
  network: NetworkPlan;
  /** Its bridge, and its TAP. */
  bridge: string;
  tap: string;
}

export interface Devices {
  /** All in the namespace, with the bridge that each is a port of. */
  masters: ReadonlyMap<string, string | undefined>;
  /** Kinds of the queues that we make, by device, the outermost first. */
  queues: ReadonlyMap<string, readonly string[]>;
}

/** Lines for each of the programs. */
export interface Batches {
  ip: string[];
  bridge: string[];
  tc: string[];
}

/** What the fabric's worker has to do: all but the networks that are bridges. */
export function withoutBridges(plan: FabricPlan): FabricPlan {
  return { ...plan, networks: plan.networks.filter(({ bridge }) => bridge === undefined) };
}

export function onlyBridges(plan: FabricPlan): FabricPlan {
  return { ...plan, networks: plan.networks.filter(({ bridge }) => bridge !== undefined) };
}

export function bridgedPorts(plan: FabricPlan): BridgedPort[] {
  return onlyBridges(plan).networks.flatMap((network) =>
    network.ports.flatMap((port) => {
      const { end } = port;
      if (end.kind !== 'guest' || end.interface.bridge === undefined) return [];
      return [{ port, end, network, bridge: end.interface.bridge.device, tap: end.interface.bridge.tap }];
    }),
  );
}

/** The part of the name that devices of one port, or of one network, share. */
const relative = (device: string, letter: string): string => `${letter}-${device.slice(2)}`;

/** Where frames from the guest wait. */
export function outDevice(tap: string): string {
  return relative(tap, 'v');
}

/** End of the veth to a bridge of the host. */
export function joiningDevice(bridge: string): string {
  return relative(bridge, 'u');
}

/** Names of all devices that a plan may have in the namespace. */
export function plannedDevices(plan: FabricPlan): Set<string> {
  return new Set([
    ...onlyBridges(plan).networks.flatMap(({ bridge }) => [
      bridge!.device,
      ...(bridge!.joins === undefined ? [] : [joiningDevice(bridge!.device)]),
    ]),
    ...bridgedPorts(plan).flatMap(({ tap }) => [
      tap,
      ...['m', 'v', 'w'].map((letter) => relative(tap, letter)),
    ]),
  ]);
}

const bridgeKind = 'type bridge stp_state 0 mcast_snooping 0';

/** Makes the bridges, and takes away those that are in the plan no more. */
export function networkCommands(plan: FabricPlan, found: Devices): string[] {
  const planned = plannedDevices(plan);
  // The other end of a veth goes with it, and a TAP with its guest.
  const gone = [...found.masters.keys()].filter((device) => /^[bmvu]-/.test(device) && !planned.has(device));
  return [
    ...gone.map((device) => `link del dev ${device}`),
    ...onlyBridges(plan).networks.flatMap(({ bridge }) => {
      const { device } = bridge!;
      return found.masters.has(device)
        ? []
        : [`link add name ${device} ${bridgeKind}`, `link set dev ${device} up`];
    }),
  ];
}

/** Joins the bridges of the host: for `ip` in the host's namespace, and then in that of the cluster. */
export function joiningCommands(
  plan: FabricPlan,
  found: Devices,
  holderPid: number,
): { host: string[]; inside: string[] } {
  const missing = onlyBridges(plan).networks.flatMap(({ bridge, mtuBytes }) => {
    const inside = joiningDevice(bridge!.device);
    return bridge!.joins === undefined || found.masters.has(inside)
      ? []
      : [{ inside, mtuBytes, device: bridge!.device, joins: bridge!.joins }];
  });
  return {
    host: missing.flatMap(({ inside, mtuBytes, joins }) => [
      `link add name ${joins.device} mtu ${mtuBytes} type veth peer name ${inside} mtu ${mtuBytes} netns ${holderPid}`,
      `link set dev ${joins.device} master ${joins.bridge} up`,
    ]),
    inside: missing.map(({ inside, device }) => `link set dev ${inside} master ${device} up`),
  };
}

/** Makes ports whose TAPs are there what the plan says: up or cut, kept to their address, shaped. */
export function portCommands(ports: readonly BridgedPort[], found: Devices): Batches {
  const batches: Batches = { ip: [], bridge: [], tc: [] };
  for (const { port, end, network, bridge, tap } of ports) {
    if (!found.masters.has(tap)) continue;
    const { link } = port;
    const [own, out, joined] = ['m', 'v', 'w'].map((letter) => relative(tap, letter)) as [
      string,
      string,
      string,
    ];
    if (isShaped(link.out) || found.masters.has(own)) {
      if (!found.masters.has(own)) {
        batches.ip.push(`link add name ${own} ${bridgeKind}`, `link set dev ${own} up`);
      }
      if (!found.masters.has(out)) {
        const { mtuBytes } = network;
        batches.ip.push(`link add name ${out} mtu ${mtuBytes} type veth peer name ${joined} mtu ${mtuBytes}`);
      }
      batches.ip.push(
        `link set dev ${tap} master ${own}`,
        `link set dev ${out} master ${own} up`,
        `link set dev ${joined} master ${bridge} up`,
      );
      batches.tc.push(...queueCommands(out, link.out, found.queues.get(out) ?? [], network.mtuBytes));
    }
    batches.ip.push(`link set dev ${tap} ${link.isCut ? 'down' : 'up'}`);
    // Only frames from an address that the bridge has at this port pass a locked one, and this is the only one.
    batches.bridge.push(
      `fdb replace ${end.interface.mac} dev ${tap} master static`,
      `link set dev ${tap} learning off locked on`,
    );
    batches.tc.push(...queueCommands(tap, link.in, found.queues.get(tap) ?? [], network.mtuBytes));
  }
  return batches;
}

export function isShaped(shape: Shape): boolean {
  return kindsFor(shape).length > 0;
}

export type QueueKind = 'tbf' | 'netem';

/** What queues a shape takes: the rate around all else. */
export function kindsFor(shape: Shape): QueueKind[] {
  const { bandwidthBitsPerSecond, delayMs, jitterMs, loss, duplicate, reorder } = shape;
  const asks = [delayMs, jitterMs, loss, duplicate, reorder].some((value) => value !== undefined);
  return [
    ...(bandwidthBitsPerSecond === undefined ? [] : (['tbf'] as const)),
    ...(asks ? (['netem'] as const) : []),
  ];
}

/** An Ethernet header with a VLAN tag. */
const headerBytes = 18;
/** What may go at once: enough for a timer of the kernel that is some milliseconds late. */
const burstSeconds = 0.005;
/** Frames on their way at once: more than a fast link has within a long delay. */
const netemFrames = 100_000;

/** Lines for tc(8), tc-tbf(8), tc-netem(8). */
function queueCommands(device: string, shape: Shape, there: readonly string[], mtuBytes: number): string[] {
  const wanted = kindsFor(shape);
  const isSame = wanted.join() === there.join();
  // One that was taken out of another leaves a hole that swallows frames: all goes, or is changed in its place.
  const lines = isSame || there.length === 0 ? [] : [`qdisc del dev ${device} root`];
  for (const kind of wanted) {
    const place =
      kind === 'netem' && wanted.length > 1
        ? 'parent 1:1 handle 2:'
        : `root handle ${kind === 'tbf' ? 1 : 2}:`;
    lines.push(
      `qdisc replace dev ${device} ${place} ${kind === 'tbf' ? tbfOf(shape, mtuBytes) : netemOf(shape)}`,
    );
  }
  return lines;
}

function tbfOf({ bandwidthBitsPerSecond = 0, queueBytes = 0 }: Shape, mtuBytes: number): string {
  const frameBytes = mtuBytes + headerBytes;
  const burst = Math.max(Math.round((bandwidthBitsPerSecond / 8) * burstSeconds), 2 * frameBytes);
  const limit = Math.max(queueBytes, frameBytes);
  return `tbf rate ${Math.round(bandwidthBitsPerSecond)}bit burst ${burst}b limit ${limit}b`;
}

function netemOf({ delayMs, jitterMs, loss, duplicate, reorder }: Shape): string {
  const time = (ms: number): string => `${Math.round(ms * 1000)}us`;
  const share = (part: number): string => `${Number((100 * part).toPrecision(9))}%`;
  return [
    `netem limit ${netemFrames}`,
    ...(delayMs === undefined && jitterMs === undefined
      ? []
      : [`delay ${time(delayMs ?? 0)}${jitterMs === undefined ? '' : ` ${time(jitterMs)}`}`]),
    ...(loss === undefined ? [] : [`loss ${share(loss)}`]),
    ...(duplicate === undefined ? [] : [`duplicate ${share(duplicate)}`]),
    ...(reorder === undefined ? [] : [`reorder ${share(reorder)}`]),
  ].join(' ');
}

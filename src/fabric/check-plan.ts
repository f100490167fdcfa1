/** Whether a plan can be a fabric. It comes from lodge's own planner; still nothing may be half done because of it. */

import { LodgeError } from '../errors.ts';
import { bandwidthBounds } from '../units.ts';
import { dhcpOf } from './dhcp.ts';
import { parseMac } from './mac-table.ts';
import type { FabricPlan, LinkPlan, NetworkPlan, PortPlan, Shape } from './plan.ts';

/** Distances in routes.ts have 16 bits. */
const mostSwitches = 65_000;
/** In a shape, a day: nobody waits longer for a frame. */
const longestDelayMs = 86_400_000;

function refuse(where: string, message: string): never {
  throw new LodgeError('spec-value', message, { where });
}

/** @throws LodgeError `spec-value` for what cannot be */
export function checkPlan(plan: FabricPlan): void {
  const names = new Set<string>();
  const unique = (name: string, what: string) => {
    if (names.has(name)) refuse(name, `two ${what} are called '${name}'`);
    names.add(name);
  };
  const networks = new Set<string>();
  for (const network of plan.networks) {
    if (networks.has(network.name)) refuse(network.name, `two networks are called '${network.name}'`);
    networks.add(network.name);
    checkNetwork(network, unique);
  }
}

function checkNetwork(network: NetworkPlan, unique: (name: string, what: string) => void): void {
  const { name, switches, mtuBytes } = network;
  if (!Number.isInteger(mtuBytes) || mtuBytes < 68 || mtuBytes > 65_535) {
    refuse(name, `an MTU of ${mtuBytes} bytes is not from 68 to 65535`);
  }
  if (switches.length === 0) refuse(name, 'the network has no switch');
  if (switches.length > mostSwitches) {
    refuse(name, `the network has ${switches.length} switches; ${mostSwitches} is the most`);
  }
  if (new Set(switches).size < switches.length)
    refuse(name, 'two switches of the network have the same name');
  const isSwitch = (index: number) => Number.isInteger(index) && index >= 0 && index < switches.length;
  for (const { link, a, b } of network.links) {
    unique(link.name, 'links');
    checkLink(link);
    if (!isSwitch(a) || !isSwitch(b) || a === b)
      refuse(link.name, 'the link does not join two switches of its network');
  }
  const macs = new Set<string>();
  dhcpOf(network);
  for (const port of network.ports) {
    unique(port.link.name, 'links');
    checkLink(port.link);
    if (!isSwitch(port.switch)) refuse(port.link.name, 'the port is at no switch of its network');
    checkPort(port, macs);
  }
}

function checkPort({ link, end, limits }: PortPlan, macs: Set<string>): void {
  if (!Number.isInteger(limits.macs) || limits.macs < 1)
    refuse(link.name, 'a port needs at least one source address');
  if (!Number.isFinite(limits.broadcastsPerSecond) || limits.broadcastsPerSecond < 0) {
    refuse(link.name, `${limits.broadcastsPerSecond} is no number of broadcasts per second`);
  }
  const own =
    end.kind === 'trunk'
      ? (end.members ?? []).map(({ mac }) => mac)
      : [end.kind === 'guest' ? end.interface.mac : end.mac];
  for (const address of own) {
    const text = address.toLowerCase();
    const mac = parseMac(text);
    if (mac === undefined || (mac.hi & 0x0100) !== 0)
      refuse(link.name, `'${text}' is no address of an interface`);
    if (macs.has(text)) refuse(link.name, `the address ${text} is in the network twice`);
    macs.add(text);
  }
}

function checkLink(link: LinkPlan): void {
  if (link.name === '') refuse('links', 'a link has no name');
  checkShape(link.out, `${link.name}/out`);
  checkShape(link.in, `${link.name}/in`);
}

/** @throws LodgeError `spec-value` for a shape that no direction can have */
export function checkShape(shape: Shape, where: string): void {
  const inRange = (key: keyof Shape, low: number, high: number) => {
    const value = shape[key];
    if (value === undefined || (Number.isFinite(value) && value >= low && value <= high)) return;
    refuse(where, `${key} ${value} is not from ${low} to ${high}`);
  };
  inRange('bandwidthBitsPerSecond', bandwidthBounds.least, bandwidthBounds.most);
  inRange('delayMs', 0, longestDelayMs);
  inRange('jitterMs', 0, longestDelayMs);
  for (const key of ['loss', 'duplicate', 'reorder'] as const) inRange(key, 0, 1);
  inRange('queueBytes', 0, Number.MAX_SAFE_INTEGER);
}

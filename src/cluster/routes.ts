/** Ways of guests to networks that they are not in. Pure. */

import { LodgeError } from '../errors.ts';
import type { FabricPlan } from '../fabric/plan.ts';
import type { InterfacePlan, RoutePlan } from '../guest/interface.ts';
import { formatPrefix, parseAddress, parsePrefix, prefixHas } from './address.ts';
import type { SpecifiedGuest } from './guest-specs.ts';

/** A route as it is written: the gateway is an address or the name of a guest. */
export interface RouteSpec {
  destination: string;
  via: string;
}

const everywhere = '0.0.0.0/0';

/** Reads `PREFIX via ADDRESS-OR-GUEST`. @throws LodgeError `spec-value` */
export function parseRoute(text: string): RouteSpec {
  const match = /^(default|[\d./]+)\s+via\s+([a-z0-9.-]+)$/.exec(text.trim());
  if (match === null) {
    throw new LodgeError('spec-value', `'${text}' is not a route`, {
      fix: 'write PREFIX via GUEST-OR-ADDRESS: 10.2.0.0/16 via router, default via 10.1.0.1',
    });
  }
  const [, destination = '', via = ''] = match;
  return {
    destination: destination === 'default' ? everywhere : formatPrefix(parsePrefix(destination)),
    via,
  };
}

/** Addresses of the gateways of uplinks, by the names of their networks. */
export function uplinkGateways({ networks }: FabricPlan): Map<string, string> {
  return new Map(
    networks.flatMap(({ name, ports }) =>
      ports.flatMap(({ end }): [string, string][] => (end.kind === 'uplink' ? [[name, end.gateway]] : [])),
    ),
  );
}

/**
 * The routes of a guest: those it was given, and one to everywhere by the gateway of an uplink, unless it has its own.
 * @param gateways see {@link uplinkGateways}
 * @throws LodgeError `spec-value` for a gateway that it cannot reach
 */
export function planRoutes(
  guest: SpecifiedGuest,
  interfaces: ReadonlyMap<string, InterfacePlan[]>,
  gateways: ReadonlyMap<string, string>,
): RoutePlan[] {
  const own = interfaces.get(guest.name)!;
  const routes = guest.routes.map(({ destination, via }, i) => ({
    destination,
    gateway: gatewayOf(via, { name: guest.name, where: guest.locate(['routes', i]) }, own, interfaces),
  }));
  for (const [i, { destination, gateway }] of routes.entries()) {
    const fault = (what: string, fix: string): LodgeError =>
      new LodgeError('spec-value', `'${guest.name}' has a route to ${destination} via ${gateway}, ${what}`, {
        where: guest.locate(['routes', i]),
        fix,
      });
    if (own.some(({ address }) => address.split('/')[0] === gateway))
      throw fault('which is its own address', 'name the guest that passes packets on');
    const near = own.find(({ address }) => formatPrefix(subnetOf(address)) === destination);
    if (near !== undefined)
      throw fault(
        `but it is in ${near.network} itself`,
        'leave the route out: it reaches these addresses without',
      );
  }
  if (routes.some(({ destination }) => destination === everywhere)) return routes;
  const gateway = own.map(({ network }) => gateways.get(network)).find((one) => one !== undefined);
  return gateway === undefined ? routes : [...routes, { destination: everywhere, gateway }];
}

function gatewayOf(
  via: string,
  guest: { name: string; where: string },
  own: readonly InterfacePlan[],
  interfaces: ReadonlyMap<string, InterfacePlan[]>,
): string {
  const fault = (what: string, fix: string): LodgeError =>
    new LodgeError('spec-value', `'${guest.name}' has a route via ${via}, ${what}`, {
      where: guest.where,
      fix,
    });
  const address = parseAddress(via);
  if (address === undefined) {
    const others = interfaces.get(via);
    if (others === undefined) throw fault('and there is no such guest', 'name a guest, or an address');
    const shared = others.find(({ network }) => own.some((one) => one.network === network));
    if (shared === undefined)
      throw fault('which is in none of its networks', 'choose one that is in the same network');
    return shared.address.split('/')[0]!;
  }
  const isNear = own.some((one) => prefixHas(subnetOf(one.address), address));
  if (!isNear)
    throw fault('which is in none of its networks', 'choose an address of a network that it is in');
  return via;
}

function subnetOf(address: string): { network: number; length: number } {
  const [text = '', length] = address.split('/');
  const number = parseAddress(text)!;
  return { network: number - (number % 2 ** (32 - Number(length))), length: Number(length) };
}

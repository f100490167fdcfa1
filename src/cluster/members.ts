/** Who is in a network, with what address: ranges expanded, addresses given and checked. Pure. */

import { LodgeError } from '../errors.ts';
import { expandHostList } from '../host-list.ts';
import { suggestGuest } from '../nearest.ts';
import type { Locate } from '../value-faults.ts';
import {
  formatAddress,
  formatPrefix,
  macOf,
  type Prefix,
  parseAddress,
  prefixHas,
  prefixSize,
  uplinkPort,
} from './address.ts';
import { isBridged } from './bridges.ts';
import type { MemberSpec, NetworkSpec } from './spec.ts';

export interface Member {
  guest: string;
  spec: MemberSpec;
  address: number;
  mac: string;
  /** Locates a path within what the network says of it. */
  locate: Locate;
}

export interface NetworkMembers {
  members: Member[];
  /** Where there is an uplink. */
  gateway?: { address: number; mac: string };
  /** Who answers DHCP: the gateway where there is one. */
  dhcp?: { address: number; mac: string };
}

export interface MembersInput {
  /** Index and name of the network. */
  index: number;
  name: string;
  spec: NetworkSpec;
  subnet: Prefix;
  /** Names of all guests. */
  guests: ReadonlySet<string>;
  /** Locates a path within the network. */
  locate: Locate;
}

/**
 * The members of a network in the order of the spec.
 * @throws LodgeError `spec-value`: unknown or doubled members, addresses that cannot be, clash or do not suffice
 */
export function planMembers(input: MembersInput): NetworkMembers {
  const { index, name, spec, subnet, locate } = input;
  const named = namedMembers(input);
  const free = prefixSize(subnet.length) - 2;
  const hasDhcp = spec.dhcp ?? !isBridged(spec);
  const hasOwnDhcp = spec.uplink === undefined && hasDhcp;
  const wanted = named.length + (spec.uplink !== undefined || hasOwnDhcp ? 1 : 0);
  if (wanted > free) {
    throw new LodgeError(
      'spec-value',
      `${formatPrefix(subnet)} has ${free} addresses, and network '${name}' needs ${wanted}${hasOwnDhcp ? ', one of them to answer DHCP' : ''}`,
      {
        where: locate([spec.subnet === undefined ? 'members' : 'subnet']),
        fix: `give it a larger subnet${hasOwnDhcp && named.length <= free ? ', or dhcp: false' : ''}`,
      },
    );
  }
  const owners = new Map<number, string>();
  const claim = (address: number, owner: string, where: string): void => {
    const other = owners.get(address);
    if (other !== undefined) {
      throw new LodgeError(
        'spec-value',
        `${formatAddress(address)} is the address of both ${other} and ${owner} in network '${name}'`,
        { where, fix: 'give one of them another, or none' },
      );
    }
    owners.set(address, owner);
  };
  const last = subnet.network + prefixSize(subnet.length) - 2;
  const gateway = gatewayOf(input, last);
  if (gateway !== undefined) claim(gateway, 'the gateway', locate(['uplink']));
  else if (hasOwnDhcp) claim(last, 'what answers DHCP (dhcp: false takes that away)', locate([]));
  const fixed = named.map((member) => {
    if (member.spec.address === undefined) return undefined;
    const where = member.locate(['address']);
    const address = addressIn(member.spec.address, subnet, where);
    claim(address, member.guest, where);
    return address;
  });
  let next = subnet.network + 1;
  const members = named.map(({ guest, spec: own, locate: within }, i) => {
    let address = fixed[i];
    if (address === undefined) {
      while (owners.has(next)) next++;
      address = next;
      owners.set(address, guest);
    }
    return { guest, spec: own, address, mac: own.mac ?? macOf(index, i + 1), locate: within };
  });
  const mac = macOf(index, uplinkPort);
  return {
    members,
    ...(gateway === undefined ? {} : { gateway: { address: gateway, mac } }),
    ...(hasDhcp ? { dhcp: { address: gateway ?? last, mac } } : {}),
  };
}

type NamedMember = Pick<Member, 'guest' | 'spec' | 'locate'>;

function namedMembers({ name, spec, guests, locate }: MembersInput): NamedMember[] {
  const isList = Array.isArray(spec.members);
  const entries: [string, MemberSpec | null][] = isList
    ? (spec.members as string[]).map((pattern) => [pattern, null])
    : Object.entries(spec.members as Record<string, MemberSpec | null>);
  const named: NamedMember[] = [];
  const seen = new Map<string, string>();
  entries.forEach(([pattern, own], i) => {
    const where = isList ? locate(['members', i]) : locate(['members', pattern], 'key');
    const within: Locate = (path, part) =>
      path.length === 0 || isList ? where : locate(['members', pattern, ...path], part);
    const names = expandHostList(pattern, where);
    for (const key of ['address', 'mac'] as const) {
      if (own?.[key] === undefined || names.length === 1) continue;
      throw new LodgeError('spec-value', `${names.length} members cannot have one ${key}`, {
        where: within([key]),
        fix: 'leave it out, or give it to a single member',
      });
    }
    for (const guest of names) {
      if (!guests.has(guest)) {
        throw new LodgeError(
          'spec-value',
          `network '${name}' has a member '${guest}', and there is no such guest`,
          {
            where,
            fix: suggestGuest(guest, [...guests]),
          },
        );
      }
      const other = seen.get(guest);
      if (other !== undefined) {
        throw new LodgeError('spec-value', `'${guest}' is twice in network '${name}'`, {
          where,
          detail: `the other time: ${other}`,
          fix: 'a guest has one interface in a network: take it out once',
        });
      }
      seen.set(guest, where);
      named.push({ guest, spec: own ?? {}, locate: within });
    }
  });
  return named;
}

function gatewayOf({ spec, subnet, locate }: MembersInput, last: number): number | undefined {
  if (spec.uplink === undefined) return undefined;
  if (spec.uplink.gateway === undefined) return last;
  return addressIn(spec.uplink.gateway, subnet, locate(['uplink', 'gateway']));
}

/** @throws LodgeError `spec-value` for what is no address that a guest can have in the subnet */
function addressIn(text: string, subnet: Prefix, where: string): number {
  const address = parseAddress(text);
  const last = subnet.network + prefixSize(subnet.length) - 1;
  if (address === undefined) {
    throw new LodgeError('spec-value', `'${text}' is not an IPv4 address`, {
      where,
      fix: `write one of ${formatPrefix(subnet)}, such as ${formatAddress(subnet.network + 1)}`,
    });
  }
  if (!prefixHas(subnet, address)) {
    throw new LodgeError('spec-value', `${text} is not in ${formatPrefix(subnet)}`, {
      where,
      fix: `from ${formatAddress(subnet.network + 1)} to ${formatAddress(last - 1)}`,
    });
  }
  if (address === subnet.network || address === last) {
    throw new LodgeError(
      'spec-value',
      `${text} is the ${address === last ? 'broadcast' : 'network'} address of ${formatPrefix(subnet)}`,
      { where, fix: `from ${formatAddress(subnet.network + 1)} to ${formatAddress(last - 1)}` },
    );
  }
  return address;
}

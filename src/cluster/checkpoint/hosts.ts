/** The hosts of a cluster that was saved over several, and those that it goes on on. Pure. */

import { LodgeError } from '../../errors.ts';
import { decodeCheckpoint, encodeCheckpoint } from '../../fabric/checkpoint.ts';
import { foldHostList } from '../../host-list.ts';
import { formatSize } from '../../units.ts';
import type { HostRoom } from '../engine/spread.ts';
import { nameTrunk, trunkIn } from '../hosts.ts';

/** Names of hosts that a cluster goes on on, by those of the hosts that it was saved on. */
export type HostNames = ReadonlyMap<string, string>;

/** What a host had of a cluster, which some host must have again. */
export interface SavedHost {
  name: string;
  /** Memory that its guests take on a host. */
  neededBytes: number;
}

/**
 * Which host takes the part of which: the host of the same name, where all parts find room so; else the largest part
 * goes to the host with most memory, and so on. Parts are not divided: the links within one are its host's.
 *
 * @throws LodgeError `allocation-too-small` for too few hosts, or with the sums when there is no room
 */
export function matchHosts(saved: readonly SavedHost[], hosts: readonly HostRoom[]): Map<string, string> {
  if (saved.length > hosts.length) {
    throw new LodgeError(
      'allocation-too-small',
      `the cluster was saved over ${saved.length} hosts, and the job has ${hosts.length}: ${foldHostList(hosts.map(({ name }) => name))}`,
      { fix: `begin one with as many: salloc -N${saved.length}` },
    );
  }
  const found = byName(saved, hosts) ?? bySize(saved, hosts);
  if (found !== undefined) return found;
  const sizes = (bytes: readonly number[]): string => bytes.map((one) => formatSize(one)).join(', ');
  throw new LodgeError(
    'allocation-too-small',
    `the parts of the cluster do not fit on the ${hosts.length} hosts of the job`,
    {
      detail: [
        `parts: ${sizes(saved.map(({ neededBytes }) => neededBytes))}`,
        `hosts: ${foldHostList(hosts.map(({ name }) => name))}, ${sizes(hosts.map(({ memoryBytes }) => memoryBytes))}`,
      ].join('\n'),
      fix: 'ask Slurm for more memory on each host: --mem',
    },
  );
}

function byName(saved: readonly SavedHost[], hosts: readonly HostRoom[]): Map<string, string> | undefined {
  const names = new Set(saved.map(({ name }) => name));
  const stay = saved.filter(({ name }) => hosts.some((host) => host.name === name));
  const others = saved.filter((part) => !stay.includes(part));
  const free = hosts.filter(({ name }) => !names.has(name));
  for (const { name, neededBytes } of stay) {
    if (neededBytes > hosts.find((host) => host.name === name)!.memoryBytes) return undefined;
  }
  const rest = bySize(others, free);
  return rest === undefined
    ? undefined
    : new Map([...stay.map(({ name }) => [name, name] as const), ...rest]);
}

/** If there is a way at all, this is one. */
function bySize(saved: readonly SavedHost[], hosts: readonly HostRoom[]): Map<string, string> | undefined {
  const parts = saved.toSorted((a, b) => b.neededBytes - a.neededBytes);
  const rooms = hosts.toSorted((a, b) => b.memoryBytes - a.memoryBytes);
  if (
    parts.length > rooms.length ||
    parts.some(({ neededBytes }, i) => neededBytes > rooms[i]!.memoryBytes)
  ) {
    return undefined;
  }
  return new Map(parts.map(({ name }, i) => [name, rooms[i]!.name]));
}

/**
 * The saved state of a host's part of the fabric, with the trunks to the hosts that the others are now.
 * @throws LodgeError `checkpoint-unreadable`
 */
export function renameTrunks(state: Uint8Array, hosts: HostNames): Uint8Array {
  if ([...hosts].every(([saved, now]) => saved === now)) return state;
  const renamed = (link: string): string => {
    const trunk = trunkIn(link);
    return trunk === undefined ? link : nameTrunk(trunk.network, hosts.get(trunk.host) ?? trunk.host);
  };
  const saved = decodeCheckpoint(state);
  return encodeCheckpoint({
    ...saved,
    links: saved.links.map((link) => ({ ...link, name: renamed(link.name) })),
    macs: saved.macs.map((mac) => ({ ...mac, link: renamed(mac.link) })),
    events: saved.events.map((event) => ({ ...event, link: renamed(event.link) })),
    endpoints: saved.endpoints.map((text) => {
      const endpoint = JSON.parse(text) as { link?: unknown };
      const { link } = endpoint;
      return JSON.stringify(typeof link === 'string' ? { ...endpoint, link: renamed(link) } : endpoint);
    }),
  });
}

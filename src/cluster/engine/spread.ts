/** Which host of an allocation each guest of a cluster goes to. Pure. */

import { LodgeError } from '../../errors.ts';
import { foldHostList } from '../../host-list.ts';
import { formatSize } from '../../units.ts';

export interface HostRoom {
  name: string;
  /** CPUs of this job there. */
  cpus: number;
  /** Memory that this job has left there. */
  memoryBytes: number;
}

export interface GuestNeed {
  name: string;
  cpus: number;
  /** Memory that it takes on a host, where it can run there at all. */
  neededBytes(host: string): number;
  /** Where it runs now: it stays. */
  at?: string;
}

interface Load {
  room: HostRoom;
  cpus: number;
  leftBytes: number;
}

/**
 * Spreads guests over hosts: each goes, in the order of the spec, to the host whose CPUs are taken least of those that
 * still have memory for it; of equals, to the first. What runs stays where it is.
 *
 * @returns names of hosts, by guest
 * @throws LodgeError `allocation-too-small` with the sum
 */
export function spreadGuests(guests: readonly GuestNeed[], hosts: readonly HostRoom[]): Map<string, string> {
  const loads = new Map<string, Load>(
    hosts.map((room) => [room.name, { room, cpus: 0, leftBytes: room.memoryBytes }]),
  );
  const placed = new Map<string, string>();
  for (const { name, cpus, at } of guests) {
    const load = at === undefined ? undefined : loads.get(at);
    if (load === undefined) continue;
    // What it takes is no longer among what is left there.
    load.cpus += cpus;
    placed.set(name, load.room.name);
  }
  for (const guest of guests) {
    if (placed.has(guest.name)) continue;
    let best: Load | undefined;
    for (const load of loads.values()) {
      if (guest.neededBytes(load.room.name) > load.leftBytes) continue;
      if (best === undefined || share(load) < share(best)) best = load;
    }
    if (best === undefined) throw tooSmall(guests, hosts, guest.name);
    best.cpus += guest.cpus;
    best.leftBytes -= guest.neededBytes(best.room.name);
    placed.set(guest.name, best.room.name);
  }
  return placed;
}

function share({ cpus, room }: Load): number {
  return cpus / Math.max(1, room.cpus);
}

function tooSmall(guests: readonly GuestNeed[], hosts: readonly HostRoom[], which: string): LodgeError {
  const starting = guests.filter(({ at }) => at === undefined);
  const first = hosts[0]?.name ?? '';
  const needBytes = starting.reduce((sum, guest) => sum + guest.neededBytes(first), 0);
  const haveBytes = hosts.reduce((sum, host) => sum + host.memoryBytes, 0);
  const groups = new Map<number, number>();
  for (const guest of starting) {
    const bytes = guest.neededBytes(first);
    groups.set(bytes, (groups.get(bytes) ?? 0) + 1);
  }
  const sum = [...groups].map(([bytes, count]) => `${count} of ${formatSize(bytes)}`).join(' + ');
  return new LodgeError(
    'allocation-too-small',
    `${starting.length} guests need ${formatSize(needBytes)} of memory, and no host has enough left for '${which}'`,
    {
      detail: [
        `guests: ${sum} = ${formatSize(needBytes)}`,
        `hosts: ${foldHostList(hosts.map(({ name }) => name))}, ${hosts.map((host) => formatSize(host.memoryBytes)).join(' + ')} = ${formatSize(haveBytes)}`,
      ].join('\n'),
      fix: 'ask Slurm for more (-N for hosts, --mem for memory on each), or give the guests less memory',
    },
  );
}

/** Names of a cluster as its guests have them: `/etc/hosts` and the hostfile of MPI. Pure. */

import { digestOf } from './canonical.ts';
import type { ClusterPlan, PlannedGuest } from './plan.ts';

export interface GuestFiles {
  /** Whole content of `/etc/hosts`. */
  hosts: string;
  /** Whole content of `/etc/lodge/hostfile`. */
  hostfile: string;
}

const bare = (address: string): string => address.split('/')[0]!;

/**
 * The address by which a guest is known to others in `networks`: in the first of these that it is in too, else its
 * first, to which somebody may route.
 */
export function addressFor(
  guest: Pick<PlannedGuest, 'interfaces'>,
  networks: readonly string[],
): string | undefined {
  for (const network of networks) {
    const found = guest.interfaces.find((one) => one.network === network);
    if (found !== undefined) return bare(found.address);
  }
  const first = guest.interfaces[0];
  return first === undefined ? undefined : bare(first.address);
}

/**
 * `/etc/hosts` as guests in `networks` have it: every guest by its name and `NAME.CLUSTER`, and each of its interfaces
 * as `NAME.NETWORK`.
 */
export function hostsText(plan: Pick<ClusterPlan, 'name' | 'guests'>, networks: readonly string[]): string {
  const lines = ['127.0.0.1 localhost', '::1 localhost'];
  for (const guest of plan.guests) {
    const known = addressFor(guest, networks);
    for (const { address, network } of guest.interfaces) {
      const names = [`${guest.name}.${network}`];
      if (bare(address) === known) names.unshift(guest.name, `${guest.name}.${plan.name}`);
      lines.push(`${bare(address)} ${names.join(' ')}`);
    }
  }
  return `${lines.join('\n')}\n`;
}

/** Guests that MPI starts ranks in: those that can run commands, of namespaces only where there is nothing else. */
export function rankGuests(plan: Pick<ClusterPlan, 'guests'>): PlannedGuest[] {
  const able = plan.guests.filter((guest) => guest.hasAgent);
  const machines = able.filter((guest) => guest.accelerator !== 'netns');
  return machines.length > 0 ? machines : able;
}

/** The hostfile, as Open MPI and MPICH read it. */
export function hostfileText(plan: Pick<ClusterPlan, 'guests'>): string {
  return rankGuests(plan)
    .map((guest) => `${guest.name} slots=${guest.spec.cpus}\n`)
    .join('');
}

/** Files of every guest that can be given any, and their digest, by full name. */
export function planGuestFiles(plan: ClusterPlan): Map<string, GuestFiles & { digest: string }> {
  const hostfile = hostfileText(plan);
  const byNetworks = new Map<string, GuestFiles & { digest: string }>();
  const files = new Map<string, GuestFiles & { digest: string }>();
  for (const guest of plan.guests.filter((one) => one.hasAgent)) {
    const networks = guest.interfaces.map((one) => one.network);
    // Guests in the same networks have the same files.
    const key = networks.join(' ');
    let made = byNetworks.get(key);
    if (made === undefined) {
      const hosts = hostsText(plan, networks);
      made = { hosts, hostfile, digest: digestOf({ hosts, hostfile }) };
      byNetworks.set(key, made);
    }
    files.set(guest.fullName, made);
  }
  return files;
}

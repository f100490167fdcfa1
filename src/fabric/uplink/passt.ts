/**
 * passt, which turns frames into sockets of the host: how it is started so that it opens connections outwards and does
 * nothing else. Tried with Debian 12's (2023-03-09).
 *
 * Its frames go over a socket pair (`--fd`), 4-byte lengths as everywhere in the fabric: no socket lies in the file
 * system, so it does not matter that passt becomes `nobody` when root starts it, and passt ends by itself when its
 * other end is closed, however lodge ends. It puts itself behind seccomp, in an empty root and in namespaces of its own
 * (all but the network's).
 *
 * slirp4netns was not needed: it can be kept from the host's loopback too (`--disable-host-loopback`), but it wants a
 * TAP in a namespace rather than a stream.
 */

import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { missingProgram } from '../../process.ts';
import { ipv4Prefix, ipv4Text } from '../ipv4.ts';
import type { PublishedPort } from '../plan.ts';
import { passtMac } from './filter.ts';

/** The number that the socket has in passt. */
export const passtFd = 3;

/**
 * @param address that passt takes for the guest's; see filter.ts
 * @param subnet of the network
 * @param publish ports of the host that lead in
 */
export function passtArguments(
  address: string,
  subnet: string,
  publish: readonly PublishedPort[] = [],
): string[] {
  const prefix = ipv4Prefix(subnet);
  // passt must be told of a gateway. Nobody speaks to it: any other address of the network will do.
  const [first, second] = [ipv4Text(prefix.address + 1), ipv4Text(prefix.address + 2)];
  return [
    ...['--foreground', '--quiet', '--stderr', '--fd', String(passtFd), '--ipv4-only'],
    ...[
      '--address',
      address,
      '--netmask',
      String(prefix.length),
      '--gateway',
      address === first ? second : first,
    ],
    ...['--mac-addr', passtMac],
    // The gateway's address is not another name for the host's loopback.
    '--no-map-gw',
    // No ports of the host lead in but those that were declared.
    ...(publish.length === 0
      ? ['--tcp-ports', 'none']
      : publish.flatMap(({ port }) => ['--tcp-ports', String(port)])),
    ...['--udp-ports', 'none'],
    // It tells guests nothing: addresses are planned, and names are resolved by what a rule names.
    ...['--no-dhcp', '--no-dhcpv6', '--no-ndp', '--no-ra', '--dns', 'none', '--search', 'none'],
  ];
}

/**
 * Where passt is.
 * @throws LodgeError `missing-program`
 */
export function findPasst(path = process.env.PATH ?? ''): string {
  for (const directory of path.split(':')) {
    const candidate = join(directory, 'passt');
    try {
      accessSync(candidate, constants.X_OK);
      return candidate;
    } catch {
      // Not here.
    }
  }
  throw missingProgram('passt');
}

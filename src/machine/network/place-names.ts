/** Names of places, and the places of names, without a table of either: networks have millions. Pure. */

import type { Side } from './metric.ts';
import type { HostNetwork } from './network.ts';

/**
 * A host is called by its name, its coordinates (`3,0,1`) or its number; a place of several in a host by `host/place`.
 * @param hostNames where hosts have names
 * @param sides where they have coordinates
 */
export function placeNames(
  hosts: number,
  inside: number,
  { hostNames, sides }: { hostNames?: readonly string[] | undefined; sides?: readonly Side[] | undefined },
): Pick<HostNetwork, 'name' | 'placeNamed'> {
  let byName: Map<string, number> | undefined;
  const hostName = (host: number): string => {
    if (hostNames !== undefined) return hostNames[host]!;
    return sides === undefined ? String(host) : coordinatesText(sides, host);
  };
  const hostNamed = (name: string): number | undefined => {
    if (hostNames !== undefined) {
      byName ??= new Map(hostNames.map((one, host) => [one, host]));
      return byName.get(name);
    }
    return sides === undefined ? numberBelow(hosts, name) : hostAt(sides, name);
  };
  return {
    name: (place) => {
      const host = Math.floor(place / inside);
      return inside === 1 ? hostName(host) : `${hostName(host)}/${place % inside}`;
    },
    placeNamed: (name) => {
      if (inside === 1) return hostNamed(name);
      const slash = name.lastIndexOf('/');
      const host = slash < 0 ? undefined : hostNamed(name.slice(0, slash));
      const at = numberBelow(inside, name.slice(slash + 1));
      return host === undefined || at === undefined ? undefined : host * inside + at;
    },
  };
}

/** As numbers are written in names: without zeros before them. */
function numberBelow(limit: number, text: string): number | undefined {
  const number = /^(0|[1-9]\d{0,8})$/.test(text) ? Number(text) : limit;
  return number < limit ? number : undefined;
}

function coordinatesText(sides: readonly Side[], host: number): string {
  let rest = host;
  const at: number[] = [];
  for (const { size } of sides.toReversed()) {
    at.unshift(rest % size);
    rest = Math.floor(rest / size);
  }
  return at.join(',');
}

function hostAt(sides: readonly Side[], text: string): number | undefined {
  const parts = text.split(',');
  if (parts.length !== sides.length) return undefined;
  let host = 0;
  for (const [d, { size }] of sides.entries()) {
    const at = numberBelow(size, parts[d]!);
    if (at === undefined) return undefined;
    host = host * size + at;
  }
  return host;
}

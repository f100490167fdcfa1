/** What cannot be had for a guest of a cluster, told at the key of the spec that asked for it. Pure. */

import { LodgeError, retold } from '../errors.ts';
import type { SpecPath } from '../fix.ts';
import type { OutlinedGuest } from './plan.ts';

/**
 * The error with its place in the spec, where something in the spec has brought it about; any other as it is.
 * @param guest for whom something was looked for
 */
export function placedFault(
  error: unknown,
  { name, where, locate }: Pick<OutlinedGuest, 'name' | 'where' | 'locate'>,
): unknown {
  if (!(error instanceof LodgeError) || error.asked === undefined) return error;
  const { asked, message, where: path } = error;
  const withPath = path === undefined ? error : retold(error, { message: `${path}: ${message}` });
  return retold(namedFault(withPath, name), { where: asked.length === 0 ? where : locate(asked) });
}

function namedFault(error: LodgeError, name: string): LodgeError {
  const { asked = [], message } = error;
  const key = asked[0] === undefined ? '' : `'${asked[0]}' of `;
  return retold(error, { message: `${key}guest '${name}': ${message}` });
}

/** Where in the spec a guest is named, and what is said of it: by the path of the key as JSON. */
export interface GuestPlaces {
  where: string;
  keys: Record<string, string>;
}

/** Places of guests for a host that has not read the spec, by their names. */
export type Places = Record<string, GuestPlaces>;

/** @param guests those that the host has */
export function placesOf(
  guests: readonly Pick<OutlinedGuest, 'name' | 'spec' | 'where' | 'locate'>[],
): Places {
  return Object.fromEntries(
    guests.map(({ name, spec, where, locate }) => {
      const paths = Object.entries(spec).flatMap(([key, value]): SpecPath[] => [
        [key],
        ...(Array.isArray(value) ? value.map((_, i) => [key, i]) : []),
      ]);
      const located = paths.map((path) => [JSON.stringify(path), locate(path)] as const);
      // What is written nowhere is where the guest is named.
      return [name, { where, keys: Object.fromEntries(located.filter(([, place]) => place !== where)) }];
    }),
  );
}

/** A guest for {@link placedFault}, of which only the places are known. */
export function guestAt(places: Places, name: string): Pick<OutlinedGuest, 'name' | 'where' | 'locate'> {
  const { where, keys } = places[name]!;
  return {
    name,
    where,
    locate: (path) => keys[JSON.stringify(path)] ?? keys[JSON.stringify(path.slice(0, 1))] ?? where,
  };
}

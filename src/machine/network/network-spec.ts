/** The YAML form of a network: levels in the text form or from files, capacities, and places that are not used. Pure. */

import * as z from 'zod';
import { LodgeError } from '../../errors.ts';
import { parseSizeBytes } from '../../units.ts';
import type { HostNetwork } from './network.ts';

const size = z.string().describe('such as 64G');

const capacitySchema = z
  .object({
    guests: z.number().int().min(0).max(1_000_000).optional().describe('Ranks or guests that may be there.'),
    cpus: z.number().min(0).optional().describe('CPUs for all of them.'),
    memory: size.optional().describe('Memory for all of them.'),
  })
  .strict();

export const networkSchema = z
  .object({
    levels: z
      .string()
      .describe('The text form (torus:16x16x16/numa:2), or the name of a file that has a network.'),
    inside: z
      .string()
      .optional()
      .describe('What is in each host, in the text form (numa:2), or a file of lstopo (XML).'),
    capacity: capacitySchema.optional().describe('Of each place.'),
    places: z
      .record(z.string(), capacitySchema)
      .optional()
      .describe('Of places by name, where it differs; * stands for any part of a name.'),
    exclude: z
      .array(z.string())
      .optional()
      .describe('Places that are not used, and those that have failed; * as above.'),
  })
  .strict();

export type NetworkSpec = z.output<typeof networkSchema>;

/**
 * The network with the capacities and without the places of a spec.
 * @param locate where a path of the spec is written
 * @throws LodgeError `topology` for names that no place has
 */
export function withCapacities(
  network: HostNetwork,
  spec: NetworkSpec,
  locate: (path: readonly PropertyKey[]) => string,
): HostNetwork {
  const { places } = network;
  const guests = network.capacity.guests.slice();
  let cpus: Float64Array | undefined;
  let memoryBytes: Float64Array | undefined;
  const limit = (
    place: number,
    path: readonly PropertyKey[],
    some: z.output<typeof capacitySchema>,
  ): void => {
    if (some.guests !== undefined) guests[place] = some.guests;
    if (some.cpus !== undefined) {
      cpus ??= new Float64Array(places).fill(Number.POSITIVE_INFINITY);
      cpus[place] = some.cpus;
    }
    if (some.memory !== undefined) {
      memoryBytes ??= new Float64Array(places).fill(Number.POSITIVE_INFINITY);
      memoryBytes[place] = parseSizeBytes(some.memory, locate([...path, 'memory']));
    }
  };
  if (spec.capacity !== undefined) {
    for (let place = 0; place < places; place++) limit(place, ['capacity'], spec.capacity);
  }
  for (const [pattern, some] of Object.entries(spec.places ?? {})) {
    for (const place of placesNamed(network, pattern, locate(['places', pattern])))
      limit(place, ['places', pattern], some);
  }
  (spec.exclude ?? []).forEach((pattern, i) => {
    for (const place of placesNamed(network, pattern, locate(['exclude', i]))) guests[place] = 0;
  });
  return {
    ...network,
    capacity: {
      guests,
      ...(cpus === undefined ? {} : { cpus }),
      ...(memoryBytes === undefined ? {} : { memoryBytes }),
    },
  };
}

/** Places of a name, of all names of a pattern, or of a host: `3,0,1` stands for `3,0,1/0` and `3,0,1/1`. */
export function placesNamed(network: HostNetwork, pattern: string, where: string): number[] {
  const escaped = pattern.split('*').map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  const wanted = new RegExp(`^${escaped.join('.*')}(/\\d+)?$`);
  const found: number[] = [];
  for (let place = 0; place < network.places; place++)
    if (wanted.test(network.name(place))) found.push(place);
  if (found.length > 0) return found;
  throw new LodgeError('topology', `no place is named '${pattern}'`, {
    where,
    fix: `places are named as '${network.name(network.places - 1)}'`,
  });
}

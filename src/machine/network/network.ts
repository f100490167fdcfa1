/**
 * The network between hosts and what is inside them, as the mapper sees it: places that ranks or guests can be put in,
 * numbered from 0, and what it costs to get from one to another.
 */

import type { Hierarchy } from './hierarchy.ts';
import type { Links } from './links.ts';
import type { Metric, Side } from './metric.ts';

/**
 * Places by coordinates: a place is the mixed-radix number of its coordinates, the last axis changing fastest. Along a
 * `line` or `ring` a step costs `cost`; on a `flat` axis any change of coordinate costs about that.
 */
export interface Axis {
  size: number;
  kind: 'line' | 'ring' | 'flat';
  cost: number;
}

/** Resources of each place, `guests` being how many may be there; those not told are without limit. */
export interface Capacity {
  guests: Int32Array;
  cpus?: Float64Array;
  memoryBytes?: Float64Array;
}

export interface HostNetwork {
  /** What it is, in the text form where there is one. */
  form: string;
  places: number;
  metric: Metric;
  capacity: Capacity;
  /** Where the places have coordinates. */
  axes?: readonly Axis[];
  /** Sides of the outermost level, where it is a mesh or a torus. */
  sides?: readonly Side[];
  /** Places of one host. */
  inside: number;
  /** Made when it is first asked for: of millions of places it takes seconds, and of large networks a part is used. */
  hierarchy(): Hierarchy;
  /** Undefined where a route is not known: between places of a distance matrix. */
  links?: Links;
  /** Name of a place. */
  name(place: number): string;
  /** The place of a name; undefined where none is called so. */
  placeNamed(name: string): number | undefined;
}

/** More places than this are refused; it leaves room for all that is kept of each. */
export const mostPlaces = 2 ** 24;

/** Places that can hold anything at all. */
export function usablePlaces({ capacity }: HostNetwork): number {
  let count = 0;
  for (let place = 0; place < capacity.guests.length; place++) if (capacity.guests[place]! > 0) count++;
  return count;
}

/** Guests that all places together can hold. */
export function totalGuests({ capacity }: HostNetwork): number {
  return capacity.guests.reduce((sum, guests) => sum + guests, 0);
}

/** The guests of a cluster and their specs: ranges expanded, defaults and roles inherited. Pure. */

import { checkValue } from '../check-value.ts';
import type { LocatedDocument } from '../document.ts';
import { LodgeError } from '../errors.ts';
import { type GuestSpec, guestNamePattern, guestSpecSchema } from '../guest/spec.ts';
import { expandHostList, mostNames } from '../host-list.ts';
import { nearest } from '../nearest.ts';
import type { Locate } from '../value-faults.ts';
import type { RouteSpec } from './routes.ts';
import { type ClusterSpec, networkKeysSchema } from './spec.ts';

export interface SpecifiedGuest {
  /** Its host name, `v01`. */
  name: string;
  spec: GuestSpec;
  /** Whether it passes packets on between its networks. */
  forward: boolean;
  routes: RouteSpec[];
  /** `file:line:column` of what names it. */
  where: string;
  /** Locates a path within its keys, wherever it has them from; what is written nowhere is where it is named. */
  locate: Locate;
}

/** What was written, as it stands after its check: keys without defaults. */
interface Written {
  image?: unknown;
  defaults?: Record<string, unknown> | null;
  roles?: Record<string, Record<string, unknown> | null>;
  guests: Record<string, (Record<string, unknown> & { role?: string }) | null>;
}

/**
 * The guests in the order of the spec.
 * @throws LodgeError `spec-value`: a name that cannot be one or comes twice, a role that is not there
 */
export function specifyGuests({ written, locate }: LocatedDocument<ClusterSpec>): SpecifiedGuest[] {
  const { image, defaults, roles = {}, guests } = written as Written;
  const found = new Map<string, SpecifiedGuest>();
  for (const [pattern, own] of Object.entries(guests)) {
    const path = ['guests', pattern];
    const where = locate(path, 'key');
    const { role, ...keys } = own ?? {};
    const sources: Source[] = [
      { path, keys },
      ...(role === undefined
        ? []
        : [{ path: ['roles', role], keys: roleOf(role, roles, locate([...path, 'role'])) }]),
      { path: ['defaults'], keys: defaults ?? {} },
      { path: [], keys: image === undefined ? {} : { image } },
    ];
    const { forward, routes, ...merged } = Object.assign({}, ...sources.map((one) => one.keys).reverse());
    const within = locateAmong(sources, locate, where);
    // One for all of the range: nothing in it depends on the name.
    const spec = checkValue(merged, guestSpecSchema, within);
    const network = networkKeysSchema.parse({ forward, routes });
    for (const name of expandHostList(pattern, where)) {
      if (!guestNamePattern.test(name)) {
        throw new LodgeError('spec-value', `'${name}' cannot be the name of a guest`, {
          where,
          fix: 'use 1 to 63 lower-case letters, digits and dashes, as in a host name',
        });
      }
      const other = found.get(name);
      if (other !== undefined) {
        throw new LodgeError('spec-value', `there are two guests named '${name}'`, {
          where,
          detail: `the other one: ${other.where}`,
          fix: 'take it out of one of them',
        });
      }
      found.set(name, { name, spec, ...network, where, locate: within });
      if (found.size > mostNames) {
        throw new LodgeError('spec-value', `there are more than ${mostNames} guests`, {
          where,
          fix: 'ask for fewer',
        });
      }
    }
  }
  if (found.size === 0) {
    throw new LodgeError('spec-value', 'there are no guests', {
      where: locate(['guests']),
      fix: 'name some: guests: {v[01-04]: {cpus: 2}}',
    });
  }
  return [...found.values()];
}

function roleOf(
  role: string,
  roles: Record<string, Record<string, unknown> | null>,
  where: string,
): Record<string, unknown> {
  if (Object.hasOwn(roles, role)) return roles[role] ?? {};
  const known = Object.keys(roles);
  const near = nearest(role, known);
  throw new LodgeError('spec-value', `there is no role '${role}'`, {
    where,
    fix:
      near !== undefined
        ? `did you mean '${near}'?`
        : known.length === 0
          ? `add it: roles: {${role}: {…}}`
          : `roles: ${known.join(', ')}`,
  });
}

/** What a guest has keys from. */
interface Source {
  path: string[];
  keys: Record<string, unknown>;
}

/** @param sources those that win come first */
function locateAmong(sources: readonly Source[], locate: Locate, named: string): Locate {
  return (at, part) => {
    const source = sources.find(({ keys }) => Object.hasOwn(keys, String(at[0])));
    return source === undefined ? named : locate([...source.path, ...at], part);
  };
}

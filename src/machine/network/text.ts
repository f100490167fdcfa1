/** The short text form of a network: levels from outside in, as in `torus:16x16x16/numa:2/slots:8`. Pure. */

import { LodgeError } from '../../errors.ts';
import { type Level, levelSize, networkOfLevels } from './levels.ts';
import { type HostNetwork, mostPlaces } from './network.ts';

/** Cost of a hop inside a host, where none is written: a tenth of one between hosts. */
export const innerWeight = 0.1;

/** Costs of hops are compared with each other; what is far above says nothing, and would not add up. */
const mostWeight = 1_000_000_000;

/** What may stand before the colon. */
export const networkKinds = [
  'torus',
  'mesh',
  'grid',
  'ring',
  'hypercube',
  'fat-tree',
  'xgft',
  'tree',
  'dragonfly',
  'flat',
  'numa',
  'slots',
];

export const textForms =
  'torus:16x16x16, mesh:8x8, hypercube:10, fat-tree:k=8, xgft:16x8x4,parents=1x8x4, tree:4x8x16, ' +
  'dragonfly:a=4,p=2,h=2, flat:64; inside a host numa:2; slots:8 guests in each place';

/** Whether a text is meant to be this form rather than the name of a file. */
export function isTextForm(text: string): boolean {
  return networkKinds.some((kind) => text.startsWith(`${kind}:`));
}

/**
 * Reads levels; `@` and a number after one is the cost of a hop in it.
 * @throws LodgeError `topology`
 */
export function parseNetworkText(text: string, where = '--topology'): HostNetwork {
  const { levels, slots } = parseLevels(text, where);
  return networkOfLevels(levels, slots, text.trim());
}

export function parseLevels(text: string, where: string): { levels: Level[]; slots: number } {
  const levels: Level[] = [];
  let slots = 1;
  let places = 1;
  for (const part of text.trim().split('/')) {
    const fault = (what: string, fix = `levels are: ${textForms}`): LodgeError =>
      new LodgeError('topology', `'${part}': ${what}`, { where, fix });
    const match = /^([a-z-]+):([^@]*)(?:@(.*))?$/.exec(part.trim());
    if (match === null) throw fault('this is no level of a network');
    const [, kind = '', rest = '', weightText] = match;
    if (!networkKinds.includes(kind)) {
      throw fault(`'${kind}' is no kind of level`);
    }
    const weight = weightText === undefined ? (levels.length === 0 ? 1 : innerWeight) : decimal(weightText);
    if (!(weight > 0 && weight <= mostWeight)) {
      throw fault(`'${weightText}' is no cost of a hop`, `above 0, and at most ${mostWeight}: numa:2@0.25`);
    }
    if (kind === 'slots') {
      const count = wholeNumber(rest);
      if (count === undefined || slots * count > 1_000_000)
        throw fault('this is no number of slots', 'as in slots:8');
      slots *= count;
      continue;
    }
    const level = levelOf(kind, rest, weight);
    if (level === undefined) throw fault('this cannot be read');
    places *= levelSize(level);
    if (!(places <= mostPlaces)) {
      throw fault(`with it there are ${places} places`, `at most ${mostPlaces}`);
    }
    levels.push(level);
  }
  if (levels.length === 0) {
    throw new LodgeError('topology', `'${text}' has slots, and no places that they are in`, {
      where,
      fix: 'as in flat:1/slots:8',
    });
  }
  return { levels, slots };
}

function levelOf(kind: string, rest: string, weight: number): Level | undefined {
  switch (kind) {
    case 'torus':
    case 'mesh':
    case 'grid': {
      const sizes = sizesOf(rest);
      if (sizes === undefined || sizes.length > 8 || sizes.some((size) => size > 30_000)) return undefined;
      return { kind: kind === 'torus' ? 'torus' : 'mesh', sizes, weight };
    }
    case 'ring': {
      const size = wholeNumber(rest);
      return size === undefined || size > 30_000 ? undefined : { kind: 'torus', sizes: [size], weight };
    }
    case 'hypercube': {
      const dimensions = wholeNumber(rest);
      return dimensions === undefined || dimensions > 24 ? undefined : { kind, dimensions, weight };
    }
    case 'fat-tree': {
      const k = parametersOf(rest, ['k'])?.k;
      if (k === undefined || k < 2 || k % 2 !== 0) return undefined;
      return { kind, children: [k / 2, k / 2, k], parents: [1, k / 2, k / 2], weight };
    }
    case 'xgft': {
      const [childrenText = '', parentsText, ...more] = rest.split(',');
      const children = sizesOf(childrenText);
      if (children === undefined || more.length > 0) return undefined;
      if (parentsText === undefined)
        return { kind: 'fat-tree', children, parents: children.map(() => 1), weight };
      const parents = sizesOf(parentsText.trim().replace(/^parents=/, ''));
      return parents?.length === children.length
        ? { kind: 'fat-tree', children, parents, weight }
        : undefined;
    }
    case 'tree': {
      const children = sizesOf(rest)?.reverse();
      return children === undefined
        ? undefined
        : { kind: 'fat-tree', children, parents: children.map(() => 1), weight };
    }
    case 'dragonfly': {
      const values = parametersOf(rest, ['a', 'p', 'h']);
      if (values === undefined) return undefined;
      return { kind, routers: values.a!, hosts: values.p!, globals: values.h!, weight };
    }
    default: {
      const size = wholeNumber(rest);
      return size === undefined ? undefined : { kind: kind === 'numa' ? 'numa' : 'flat', size, weight };
    }
  }
}

function wholeNumber(text: string): number | undefined {
  return /^\d{1,8}$/.test(text.trim()) && Number(text) > 0 ? Number(text) : undefined;
}

function decimal(text: string): number {
  return /^\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : Number.NaN;
}

function sizesOf(text: string): number[] | undefined {
  const sizes = text.split('x').map(wholeNumber);
  return sizes.every((size) => size !== undefined) ? (sizes as number[]) : undefined;
}

/** `NAME=NUMBER,…`, exactly these names. */
function parametersOf(text: string, names: readonly string[]): Record<string, number> | undefined {
  const values: Record<string, number> = {};
  for (const pair of text.split(',')) {
    const match = /^\s*([a-z]+)=(\d{1,6})\s*$/.exec(pair);
    if (match === null || !names.includes(match[1]!) || match[1]! in values || Number(match[2]) < 1)
      return undefined;
    values[match[1]!] = Number(match[2]);
  }
  return Object.keys(values).length === names.length ? values : undefined;
}

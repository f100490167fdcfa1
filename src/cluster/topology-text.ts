/** Topologies as people write them: `torus:4x4x2`, `dragonfly:a=4,p=2,h=2`. Pure. */

import { LodgeError } from '../errors.ts';
import { nearest } from '../nearest.ts';
import { quoted } from '../printable.ts';
import { mostSwitches, mostSwitchLinks, type Topology } from './topology.ts';

type Kind = Topology['kind'] | 'star';

interface Form {
  /** How it is written. */
  example: string;
  /** @throws Fault */
  read(rest: string): Topology;
}

const forms: Readonly<Record<Kind, Form>> = {
  lan: { example: 'lan', read: readLan },
  star: { example: 'star', read: readLan },
  ring: { example: 'ring, or ring:8', read: readRing },
  grid: { example: 'grid:4x4', read: (rest) => ({ kind: 'grid', sizes: sizes(rest) }) },
  torus: { example: 'torus:4x4x2', read: (rest) => ({ kind: 'torus', sizes: sizes(rest) }) },
  'fat-tree': { example: 'fat-tree:k=4', read: readFatTree },
  dragonfly: { example: 'dragonfly:a=4,p=2,h=2', read: readDragonfly },
  random: { example: 'random:switches=20,degree=3', read: readRandom },
  'as-graph': { example: 'as-graph:FILE', read: readAsGraph },
};

/** What is wrong with the text of a topology. */
class Fault extends Error {}

/**
 * Reads a topology as people write it.
 * @throws LodgeError `spec-value` with what is wrong with this one
 */
export function parseTopology(text: string, where?: string): Topology {
  const [, kind = '', colon, rest = ''] = /^([^:]*)(:(.*))?$/s.exec(text.trim()) ?? [];
  const fault = (what: string, fix: string): LodgeError =>
    new LodgeError('spec-value', `${quoted(text)} is not a topology: ${what}`, {
      ...(where === undefined ? {} : { where }),
      fix: `${fix}${fix.endsWith('?') ? '' : ';'} lodge manual --cluster-spec describes all`,
    });
  const form = Object.hasOwn(forms, kind) ? forms[kind as Kind] : undefined;
  if (form === undefined) {
    const names = Object.keys(forms);
    const near = nearest(kind, names);
    throw fault(
      kind === '' ? 'it names none' : `there is none named ${quoted(kind)}`,
      near === undefined ? `known are ${names.join(', ')}` : `did you mean '${near}'?`,
    );
  }
  try {
    if (colon !== undefined && rest.trim() === '') throw new Fault('nothing follows the colon');
    const topology = form.read(rest.trim());
    const { switches, links } = sizeOf(topology);
    if (switches > mostSwitches)
      throw new Fault(`it has ${switches} switches, and ${mostSwitches} is the most`);
    if (links > mostSwitchLinks)
      throw new Fault(`it has ${links} links between switches, and ${mostSwitchLinks} is the most`);
    return topology;
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    throw fault(error.message, `write it as ${form.example}`);
  }
}

function readLan(rest: string): Topology {
  if (rest !== '') throw new Fault(`it is one switch, and takes no ${quoted(rest)}`);
  return { kind: 'lan' };
}

function readRing(rest: string): Topology {
  if (rest === '') return { kind: 'ring' };
  const switches = wholeNumber(rest);
  if (switches === undefined) throw new Fault(`${quoted(rest)} is no number of switches`);
  if (switches < 3) throw new Fault(`a ring has 3 switches or more, not ${switches}`);
  return { kind: 'ring', switches };
}

const mostDimensions = 6;

function sizes(rest: string): number[] {
  if (rest === '') throw new Fault('it has no sizes');
  const parts = rest.split('x');
  const found = parts.map((part) => {
    const size = wholeNumber(part);
    if (size === undefined || size === 0) {
      throw new Fault(part === '' ? 'a size is missing beside an x' : `${quoted(part)} is no size`);
    }
    return size;
  });
  if (found.length > mostDimensions)
    throw new Fault(`it has ${found.length} sizes, and ${mostDimensions} is the most`);
  return found;
}

function readFatTree(rest: string): Topology {
  const { k } = parameters(rest, ['k']);
  if (k < 2 || k % 2 !== 0) throw new Fault(`k must be even, and 2 or more, not ${k}`);
  return { kind: 'fat-tree', k };
}

function readDragonfly(rest: string): Topology {
  const values = parameters(rest, ['a', 'p', 'h']);
  const none = Object.entries(values).find(([, value]) => value < 1);
  if (none !== undefined) throw new Fault(`${none[0]} must be 1 or more, not ${none[1]}`);
  return { kind: 'dragonfly', ...values };
}

function readRandom(rest: string): Topology {
  const { switches, degree } = parameters(rest, ['switches', 'degree']);
  if (switches < 1) throw new Fault(`it has ${switches} switches`);
  // A switch has no more neighbours than there are others.
  if (degree >= Math.max(switches, 2))
    throw new Fault(`each of ${switches} switches has ${switches - 1} others beside it, not ${degree}`);
  // With one link each, no more than two switches hang together.
  const canConnect = switches === 1 || degree >= 2 || (switches === 2 && degree === 1);
  if (!canConnect)
    throw new Fault(
      `${switches} switches with ${degree} link${degree === 1 ? '' : 's'} each do not hang together`,
    );
  return { kind: 'random', switches, degree };
}

function readAsGraph(rest: string): Topology {
  if (rest === '') throw new Fault('it names no file');
  return { kind: 'as-graph', file: rest };
}

/** `NAME=NUMBER,…`, exactly these names. */
function parameters<Name extends string>(text: string, names: readonly Name[]): Record<Name, number> {
  const values = new Map<Name, number>();
  for (const pair of text === '' ? [] : text.split(',')) {
    const [, word = '', number = ''] = /^\s*([^=\s]*)\s*=\s*(.*?)\s*$/s.exec(pair) ?? [];
    if (word === '') throw new Fault(`${quoted(pair.trim())} is not of the form ${names[0]}=NUMBER`);
    const name = names.find((one) => one === word);
    if (name === undefined) throw new Fault(`it has no ${quoted(word)}, but ${names.join(', ')}`);
    if (values.has(name)) throw new Fault(`${name} comes twice`);
    const value = wholeNumber(number);
    if (value === undefined) throw new Fault(`${name} is a whole number, not ${quoted(number)}`);
    values.set(name, value);
  }
  const missing = names.find((name) => !values.has(name));
  if (missing !== undefined) throw new Fault(`${missing} is missing`);
  return Object.fromEntries(values) as Record<Name, number>;
}

function wholeNumber(text: string): number | undefined {
  return /^\s*\d{1,9}\s*$/.test(text) ? Number(text) : undefined;
}

/** How many switches and links between them at most, as far as the topology itself says it. */
function sizeOf(topology: Topology): { switches: number; links: number } {
  switch (topology.kind) {
    case 'grid':
    case 'torus': {
      const switches = topology.sizes.reduce((product, size) => product * size, 1);
      return { switches, links: switches * topology.sizes.length };
    }
    case 'fat-tree':
      return { switches: (topology.k * topology.k * 5) / 4, links: topology.k ** 3 / 2 };
    case 'dragonfly': {
      const { a, h } = topology;
      const groups = a * h + 1;
      return { switches: a * groups, links: (groups * a * (a - 1 + h)) / 2 };
    }
    case 'ring':
      return { switches: topology.switches ?? 0, links: topology.switches ?? 0 };
    case 'random':
      return { switches: topology.switches, links: Math.floor((topology.switches * topology.degree) / 2) };
    default:
      return { switches: 0, links: 0 };
  }
}

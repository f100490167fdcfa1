/** Targets of Scotch (`.tgt`). Format: F. Pellegrini, "Scotch and libScotch User's Guide". Pure. */

import { LodgeError } from '../../errors.ts';
import { printable } from '../../printable.ts';
import type { Level } from './levels.ts';
import { mostPlaces } from './network.ts';

const known = 'cmplt, cmpltw, hcub, tleaf, mesh2D, mesh3D, meshXD, torus2D, torus3D, torusXD, deco 0';

/** A word and where it is. */
interface Word {
  text: string;
  where: string;
}

/** What a target says: a level, and how much each place can take where they differ. */
export interface ScotchTarget {
  level: Level;
  /** Loads of places, as whole numbers. */
  loads?: number[];
}

export function isScotchTarget(text: string): boolean {
  return /^\s*(cmpltw?|hcub|t?leaf|(mesh|torus)(2D|3D|XD)|deco)\s/i.test(text);
}

/** @throws LodgeError `topology`, with file, line and column */
export function parseScotchTarget(text: string, file: string): ScotchTarget {
  const words = wordsOf(text, file);
  let at = 0;
  const next = (what: string): Word => {
    const word = words[at++];
    if (word === undefined)
      throw new LodgeError('topology', `the file ends where ${what} should be`, { where: file });
    return word;
  };
  const number = (what: string, least = 1, most = mostPlaces): number => {
    const { text: word, where } = next(what);
    const value = Number(word);
    if (!/^\d{1,9}$/.test(word) || value < least || value > most) {
      throw new LodgeError('topology', `'${word}' is not ${what}`, {
        where,
        fix: `a whole number from ${least} to ${most}`,
      });
    }
    return value;
  };
  const kind = next('the kind of target');
  const target = ((): ScotchTarget => {
    switch (kind.text.toLowerCase()) {
      case 'cmplt':
        return { level: { kind: 'flat', size: number('a number of places'), weight: 1 } };
      case 'cmpltw': {
        const size = number('a number of places');
        return {
          level: { kind: 'flat', size, weight: 1 },
          loads: Array.from({ length: size }, () => number('a load')),
        };
      }
      case 'hcub':
        return {
          level: { kind: 'hypercube', dimensions: number('a number of dimensions', 1, 24), weight: 1 },
        };
      case 'leaf':
      case 'tleaf': {
        const levels = number('a number of levels', 1, 30);
        const pairs = Array.from({ length: levels }, () => ({
          size: number('a number of children'),
          cost: number('a cost of links', 0, 1_000_000),
        }));
        // A way through a level goes through all below it, too.
        let sum = 0;
        const costs = pairs.toReversed().map(({ cost }) => {
          sum += cost;
          return sum;
        });
        const children = pairs.map(({ size }) => size).reverse();
        return { level: { kind: 'fat-tree', children, parents: children.map(() => 1), costs, weight: 1 } };
      }
      case 'mesh2d':
      case 'mesh3d':
      case 'meshxd':
      case 'torus2d':
      case 'torus3d':
      case 'torusxd': {
        const [, shape, digit] = /^(mesh|torus)(.)d$/.exec(kind.text.toLowerCase())!;
        const dimensions = digit === 'x' ? number('a number of dimensions', 1, 8) : Number(digit);
        const sizes = Array.from({ length: dimensions }, () => number('a size', 1, 30_000));
        // Scotch numbers along the first dimension first.
        return { level: { kind: shape === 'mesh' ? 'mesh' : 'torus', sizes: sizes.reverse(), weight: 1 } };
      }
      case 'deco':
        return decomposition(kind, number, next);
      default:
        throw new LodgeError('topology', `'${kind.text}' is no target that lodge reads`, {
          where: kind.where,
          fix: known,
        });
    }
  })();
  const more = words[at];
  if (more !== undefined) {
    throw new LodgeError('topology', `the target is complete, and there is more: '${more.text}'`, {
      where: more.where,
    });
  }
  return target;
}

/** `deco 0`: places with labels, loads and numbers in the tree of domains, then the lower half of the distances. */
function decomposition(
  kind: Word,
  number: (what: string, least?: number, most?: number) => number,
  next: (what: string) => Word,
): ScotchTarget {
  const version = number('the kind of decomposition', 0, 9);
  if (version !== 0) {
    throw new LodgeError('topology', `deco ${version} is not read`, {
      where: kind.where,
      fix: 'acpl writes deco 0 as deco 1',
    });
  }
  const hosts = number('a number of places', 1, 8192);
  number('a number of domains', 1, 2 ** 31 - 1);
  const loads: number[] = [];
  for (let host = 0; host < hosts; host++) {
    number('a label', 0, 2 ** 31 - 1);
    loads.push(number('a load', 0, 2 ** 31 - 1));
    number('a number in the tree', 0, 2 ** 31 - 1);
  }
  const distances = new Float64Array(hosts * hosts);
  for (let row = 1; row < hosts; row++) {
    for (let column = 0; column < row; column++) {
      const { text, where } = next('a distance');
      if (!/^\d{1,9}$/.test(text)) throw new LodgeError('topology', `'${text}' is not a distance`, { where });
      distances[row * hosts + column] = Number(text);
      distances[column * hosts + row] = Number(text);
    }
  }
  const areAlike = loads.every((load) => load === loads[0]);
  return { level: { kind: 'matrix', hosts, distances, weight: 1 }, ...(areAlike ? {} : { loads }) };
}

function wordsOf(text: string, file: string): Word[] {
  const words: Word[] = [];
  text.split('\n').forEach((line, i) => {
    for (const match of line.matchAll(/\S+/g)) {
      words.push({ text: printable(match[0]).slice(0, 40), where: `${file}:${i + 1}:${match.index + 1}` });
    }
  });
  return words;
}

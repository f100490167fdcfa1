/** A matrix of distances as text: rows of numbers, with commas or blanks between them; `#` begins a comment. Pure. */

import { LodgeError } from '../../errors.ts';
import { printable } from '../../printable.ts';
import type { Level } from './levels.ts';

/** Matrices of more places take too much memory. */
export const mostMatrixPlaces = 8192;

/**
 * Reads a symmetric matrix with a zero diagonal. A first row that begins with a word has the names of the places.
 * @throws LodgeError `topology`, with file, line and column
 */
export function parseDistanceMatrix(text: string, file: string): Level {
  let names: string[] | undefined;
  let distances: Float64Array | undefined;
  let hosts = 0;
  let row = 0;
  const where: number[] = [];
  text
    .replace(/^\u{feff}/u, '')
    .split(/\r?\n/)
    .forEach((raw, i) => {
      const content = raw.replace(/#.*$/, '');
      if (content.trim() === '') return;
      const fields = [...content.matchAll(content.includes(',') ? /[^,]+/g : /\S+/g)].map((match) => ({
        text: match[0].trim(),
        column: match.index + /^\s*/.exec(match[0])![0].length + 1,
      }));
      const fault = (column: number, what: string, fix?: string): LodgeError =>
        new LodgeError('topology', what, {
          where: `${file}:${i + 1}:${column}`,
          ...(fix === undefined ? {} : { fix }),
        });
      if (distances === undefined) {
        hosts = fields.length;
        if (hosts > mostMatrixPlaces) throw fault(1, `it has ${hosts} places`, `at most ${mostMatrixPlaces}`);
        distances = new Float64Array(hosts * hosts);
        if (!isNumber(fields[0]!.text)) {
          names = fields.map(({ text: name }) => printable(name));
          if (new Set(names).size < hosts) throw fault(1, 'a name comes twice');
          return;
        }
      }
      if (row === hosts) throw fault(1, `there are more rows than the ${hosts} places`);
      if (fields.length !== hosts)
        throw fault(1, `the row has ${fields.length} distances, and there are ${hosts} places`);
      fields.forEach(({ text: word, column }, to) => {
        const value = Number(word);
        if (!isNumber(word) || !(value <= 1e9)) {
          throw fault(
            column,
            `'${printable(word).slice(0, 40)}' is not a distance`,
            'finite numbers from 0 up',
          );
        }
        if (to === row && value !== 0) throw fault(column, 'the distance of a place to itself is not 0');
        if (to < row && distances![to * hosts + row] !== value) {
          throw fault(
            column,
            `the distance is ${value} this way, and ${distances![to * hosts + row]} the other (line ${where[to]})`,
            'distances are the same both ways',
          );
        }
        distances![row * hosts + to] = value;
      });
      where.push(i + 1);
      row++;
    });
  if (distances === undefined) throw new LodgeError('topology', 'it has no distances', { where: file });
  if (row < hosts) {
    throw new LodgeError('topology', `it has ${row} rows, and ${hosts} columns`, {
      where: file,
      fix: 'was it cut off?',
    });
  }
  return { kind: 'matrix', hosts, distances, weight: 1, ...(names === undefined ? {} : { names }) };
}

function isNumber(text: string): boolean {
  return /^\+?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text);
}

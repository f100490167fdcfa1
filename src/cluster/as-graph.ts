/**
 * Graphs of autonomous systems in CAIDA's form: lines `A|B|RELATION` (serial-1) or `A|B|RELATION|SOURCE` (serial-2),
 * comments after `#`. The relation is -1 (A provides for B) or 0 (peers); serial-2 has 1 and 2 too in some files. What
 * it is does not matter here: each line is a link. Source: the README of CAIDA's AS Relationships data set.
 */

import { LodgeError } from '../errors.ts';
import { mostSwitches } from './topology.ts';

export interface AsGraph {
  /** Numbers of the systems, ascending. */
  numbers: number[];
  /** Indices into `numbers`, in the order of the file. */
  links: [number, number][];
}

/**
 * Reads a graph.
 * @param file what errors name it by
 * @throws LodgeError `spec-value`, `where` being `file:line`
 */
export function parseAsGraph(text: string, file: string): AsGraph {
  const pairs: [number, number][] = [];
  const lineOfPair = new Map<string, number>();
  const seen = new Set<number>();
  let lineNumber = 0;
  for (const line of text.split('\n')) {
    lineNumber++;
    if (line.trim() === '' || line.startsWith('#')) continue;
    const fault = (what: string, fix: string): LodgeError =>
      new LodgeError('spec-value', what, { where: `${file}:${lineNumber}`, fix });
    const match = /^(\d{1,10})\|(\d{1,10})\|(-?\d)(?:\|[\w,.-]*)?\s*$/.exec(line);
    if (match === null) {
      throw fault(
        `'${shortened(line)}' is not a link between two systems`,
        'lines are A|B|RELATION: 64496|64511|-1',
      );
    }
    const [a, b] = [Number(match[1]), Number(match[2])];
    if (Math.max(a, b) > 0xffff_ffff) throw fault('numbers of systems have 32 bits', 'correct the number');
    if (!['-1', '0', '1', '2'].includes(match[3]!)) {
      throw fault(`${match[3]} is not a relation`, '-1 for provider and customer, 0 for peers');
    }
    if (a === b) throw fault(`${a} is linked to itself`, 'take the line out');
    const key = a < b ? `${a}|${b}` : `${b}|${a}`;
    const earlier = lineOfPair.get(key);
    if (earlier !== undefined)
      throw fault(`the link of line ${earlier} comes again`, 'take one of the lines out');
    lineOfPair.set(key, lineNumber);
    pairs.push([a, b]);
    seen.add(a).add(b);
    if (seen.size > mostSwitches) {
      throw fault(`it has more than ${mostSwitches} systems`, 'use a part of the graph');
    }
  }
  if (pairs.length === 0) {
    throw new LodgeError('spec-value', 'it has no links', {
      where: file,
      fix: 'lines are A|B|RELATION: 64496|64511|-1',
    });
  }
  const numbers = [...seen].sort((x, y) => x - y);
  const indexOf = new Map(numbers.map((number, index) => [number, index]));
  return { numbers, links: pairs.map(([a, b]) => [indexOf.get(a)!, indexOf.get(b)!]) };
}

function shortened(line: string): string {
  const printable = line.replaceAll(/[^\x20-\x7e]/g, '?');
  return printable.length > 40 ? `${printable.slice(0, 40)}…` : printable;
}

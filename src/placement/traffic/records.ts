/** Traffic as lists of records: CSV with one connection in each line, and the matrix of a fabric as JSON. Pure. */

import { LodgeError } from '../../errors.ts';
import { printable } from '../../printable.ts';
import { ArcList, mostRanks, type Traffic, trafficOfArcs } from './graph.ts';
import { Scanner, weightFix, weightOf } from './scanner.ts';

const hash = 35;

/**
 * Lines `from,to,bytes`; without bytes, 1. Where all ends are whole numbers they are the numbers of ranks, from 0;
 * else they are names, and ranks are numbered in the order in which they come. A first line whose third field is no
 * number is a head.
 * @param ranks how many there are, where some say nothing
 */
export function readEdgeList(bytes: Uint8Array, file: string, ranks?: number): Traffic {
  const rows = readEdgeRows(new Scanner(bytes, file));
  const areNumbers = rows.every(({ from, to }) => isRankNumber(from) && isRankNumber(to));
  const arcs = new ArcList();
  if (areNumbers) {
    let count = ranks ?? 0;
    for (const { from, to, weight, line } of rows) {
      const [a, b] = [Number(from), Number(to)];
      const most = Math.max(a, b);
      if (most >= (ranks ?? mostRanks)) {
        throw new LodgeError('traffic', `there is no rank ${most} of ${ranks ?? mostRanks}`, {
          where: `${file}:${line}:1`,
          fix: 'ranks are numbered from 0',
        });
      }
      count = Math.max(count, most + 1);
      arcs.add(a, b, weight);
    }
    return trafficOfArcs(count, arcs, true);
  }
  const numbers = new Map<string, number>();
  const numberOf = (name: string): number => {
    const known = numbers.get(name);
    if (known !== undefined) return known;
    numbers.set(name, numbers.size);
    return numbers.size - 1;
  };
  for (const { from, to, weight } of rows) arcs.add(numberOf(from), numberOf(to), weight);
  if (ranks !== undefined && numbers.size > ranks) {
    throw new LodgeError('traffic', `it has ${numbers.size} names, and there are ${ranks} ranks`, {
      where: file,
    });
  }
  return { ...trafficOfArcs(numbers.size, arcs, true), names: [...numbers.keys()] };
}

interface EdgeRow {
  from: string;
  to: string;
  weight: number;
  line: number;
}

function isRankNumber(text: string): boolean {
  return /^\d{1,8}$/.test(text);
}

function readEdgeRows(scanner: Scanner): EdgeRow[] {
  const rows: EdgeRow[] = [];
  let isFirst = true;
  for (scanner.skipEmptyLines(hash); !scanner.isAtEnd; scanner.skipEmptyLines(hash)) {
    const { line, at, lineStart } = scanner;
    const text = scanner.restOfLine();
    const fields = text.split(',');
    const fault = (field: number, what: string, fix?: string): LodgeError => {
      const before = fields.slice(0, field).reduce((sum, { length }) => sum + length + 1, 0);
      const column = at - lineStart + before + (/^\s*/.exec(fields[field] ?? '')?.[0].length ?? 0) + 1;
      return new LodgeError('traffic', what, {
        where: `${scanner.file}:${line}:${column}`,
        ...(fix === undefined ? {} : { fix }),
      });
    };
    const wasFirst = isFirst;
    isFirst = false;
    if (fields.length < 2 || fields.length > 3) {
      throw fault(
        0,
        `'${printable(text).slice(0, 40)}' is no connection`,
        'lines are from,to,bytes: 0,1,4096',
      );
    }
    const [from = '', to = '', bytesText] = fields.map((field) => field.trim());
    const weight = bytesText === undefined ? 1 : weightOf(bytesText);
    if (
      wasFirst &&
      (/^(from|source|src)$/i.test(from) ||
        (typeof weight === 'string' &&
          /^[a-z_ ()/]+$/i.test(bytesText!) &&
          weight === 'is not a number' &&
          !/^nan$/i.test(bytesText!)))
    ) {
      continue;
    }
    for (const [field, name] of [from, to].entries()) {
      if (name === '') throw fault(field, 'a name is empty', 'lines are from,to,bytes: 0,1,4096');
      if (/^-\d/.test(name))
        throw fault(field, `'${printable(name)}' is no rank`, 'ranks are numbered from 0');
    }
    if (typeof weight === 'string')
      throw fault(2, `the weight ${weight}: '${printable(bytesText!).slice(0, 40)}'`, weightFix);
    rows.push({ from: printable(from), to: printable(to), weight, line });
  }
  return rows;
}

/** What of `lodge fabric matrix --json` is used. */
interface MatrixPair {
  from: unknown;
  to: unknown;
  bytes: unknown;
}

/**
 * The traffic matrix of a fabric, as `lodge fabric matrix --json` prints it. Ranks are guests, in the order of their
 * names; what a guest has sent in several networks is added up.
 */
export function readFabricMatrix(bytes: Uint8Array, file: string): Traffic {
  const fault = (what: string, where = file): LodgeError =>
    new LodgeError('traffic', what, { where, fix: 'write it with lodge fabric matrix --json' });
  const text = Buffer.from(bytes)
    .toString('utf8')
    .replace(/^\u{feff}/u, '');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw fault(
      `this is not JSON: ${(cause as Error).message}`,
      placeOfJsonFault(text, file, cause as Error),
    );
  }
  const { pairs, windowSeconds } = (value ?? {}) as { pairs?: unknown; windowSeconds?: unknown };
  if (!Array.isArray(pairs)) throw fault("this is no traffic matrix: it has no 'pairs'");
  const checked = pairs.map((pair: unknown, i) => {
    const { from, to, bytes: sent } = (pair ?? {}) as MatrixPair;
    const where = `${file}: pairs[${i}]`;
    if (typeof from !== 'string' || typeof to !== 'string')
      throw fault("'from' and 'to' must be names", where);
    const weight = typeof sent === 'number' ? weightOf(String(sent)) : 'is not a number';
    if (typeof weight === 'string') throw fault(`'bytes' ${weight}`, where);
    return { from: guestOf(from), to: guestOf(to), weight };
  });
  const toAll = checked.filter(({ to }) => to === 'all');
  const between = checked.filter(({ to }) => to !== 'all');
  const names = [...new Set(checked.flatMap(({ from, to }) => (to === 'all' ? [from] : [from, to])))].sort();
  const numberOf = new Map(names.map((name, i) => [name, i]));
  const arcs = new ArcList();
  for (const { from, to, weight } of between) arcs.add(numberOf.get(from)!, numberOf.get(to)!, weight);
  const traffic = trafficOfArcs(names.length, arcs, true);
  const window = typeof windowSeconds === 'number' && windowSeconds > 0 ? { windowSeconds } : {};
  const notes =
    toAll.length === 0
      ? []
      : [`${toAll.length} entries to all (broadcast, multicast, unknown) were left out`];
  return { ...traffic, names, ...window, notes: [...traffic.notes, ...notes] };
}

/** The guest of a link `NETWORK/GUEST`; what has an address behind it is somebody behind a trunk. */
function guestOf(endpoint: string): string {
  const name = printable(endpoint);
  return /\s/.test(name) ? name : name.slice(name.indexOf('/') + 1);
}

/** Line and column, where the parser tells the position. */
function placeOfJsonFault(text: string, file: string, { message }: Error): string {
  const position = Number(/position (\d+)/.exec(message)?.[1] ?? Number.NaN);
  if (Number.isNaN(position)) return file;
  const before = text.slice(0, position).split('\n');
  return `${file}:${before.length}:${before.at(-1)!.length + 1}`;
}

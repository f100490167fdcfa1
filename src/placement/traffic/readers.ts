/** Readers of graphs that others write. Each fault is told with file, line and column. Pure. */

import { LodgeError } from '../../errors.ts';
import { ArcList, mostRanks, type Traffic, trafficOfArcs } from './graph.ts';
import { Scanner } from './scanner.ts';

const percent = 37;

/**
 * Scotch's centralised graphs (`.grf`). Format: F. Pellegrini, "Scotch and libScotch User's Guide", version 0 of graph
 * files: after the head, for each vertex its label, its load, its number of arcs, and each arc as load and end, where
 * the flag says that there are labels (hundreds), loads of arcs (tens) and loads of vertices (units).
 */
export function readScotchGraph(bytes: Uint8Array, file: string): Traffic {
  const scanner = new Scanner(bytes, file);
  const next = (what: string, least: number, most: number): number => {
    scanner.skipWhite();
    return scanner.whole(what, least, most);
  };
  const version = next('the version of the format', 0, 9);
  if (version !== 0) throw scanner.refuse(`version ${version} of Scotch's graphs is not known`, 'only 0 is');
  const ranks = next('a number of vertices', 0, mostRanks);
  const arcCount = next('a number of arcs', 0, 2 ** 30);
  const base = next('the first number', 0, 1);
  const flag = next('the flag', 0, 111);
  requireLength(scanner, ranks + arcCount);
  const [hasLabels, hasWeights, hasLoads] = [Math.floor(flag / 100), Math.floor(flag / 10) % 10, flag % 10];
  if (hasLabels > 1 || hasWeights > 1 || hasLoads > 1) {
    throw scanner.refuse(`${flag} is no flag`, 'three digits, each 0 or 1: 010 for weights of arcs');
  }
  const labels = hasLabels === 1 ? new Map<number, number>() : undefined;
  const found = {
    from: new Int32Array(arcCount),
    to: new Float64Array(arcCount),
    bytes: new Float64Array(arcCount),
    at: new Int32Array(arcCount),
  };
  const demand = hasLoads === 1 ? new Float64Array(ranks) : undefined;
  let arcs = 0;
  for (let rank = 0; rank < ranks; rank++) {
    if (labels !== undefined) {
      const label = next('the label of a vertex', 0, Number.MAX_SAFE_INTEGER);
      if (labels.has(label)) throw scanner.refuse(`the label ${label} comes twice`);
      labels.set(label, rank);
    }
    if (demand !== undefined) {
      scanner.skipWhite();
      demand[rank] = scanner.weight('the load of a vertex');
    }
    const degree = next('a number of arcs', 0, arcCount);
    if (arcs + degree > arcCount)
      throw scanner.refuse(`there are more arcs than the ${arcCount} of the head`);
    for (let i = 0; i < degree; i++) {
      let weight = 1;
      if (hasWeights === 1) {
        scanner.skipWhite();
        weight = scanner.weight('the weight of an arc');
      }
      scanner.skipWhite();
      found.at[arcs] = scanner.at;
      const most = labels === undefined ? ranks - 1 + base : Number.MAX_SAFE_INTEGER;
      found.from[arcs] = rank;
      found.to[arcs] =
        scanner.whole('the end of an arc', labels === undefined ? base : 0, most) - (labels ? 0 : base);
      if (found.to[arcs] === rank && labels === undefined) throw selfLoop(scanner, rank + base);
      found.bytes[arcs++] = weight;
    }
  }
  scanner.skipWhite();
  if (!scanner.isAtEnd)
    throw scanner.fault(`the graph is complete, and there is more: '${scanner.peekWord()}'`);
  if (arcs !== arcCount) {
    throw scanner.fault(
      `the head says ${arcCount} arcs, and there are ${arcs}`,
      'correct the head, or was it cut off?',
    );
  }
  if (labels !== undefined) {
    for (let arc = 0; arc < arcs; arc++) {
      const end = labels.get(found.to[arc]!);
      if (end === undefined)
        throw scanner.faultAt(found.at[arc]!, `no vertex has the label ${found.to[arc]}`);
      found.to[arc] = end;
    }
  }
  const traffic = symmetric(ranks, found, base, scanner);
  return demand === undefined ? traffic : { ...traffic, demand: { cpus: demand } };
}

/** A head that promises more than the file can hold must not have memory set aside for it. */
function requireLength(scanner: Scanner, numbers: number): void {
  if (numbers <= scanner.bytes.length) return;
  throw scanner.fault(
    'the head says more than the file has',
    'correct the head, or was the file cut off?',
    scanner.lineStart,
  );
}

/** A graph as Scotch and METIS write it, each edge once in the row of each of its ends. */
interface Rows {
  from: Int32Array;
  to: Float64Array;
  bytes: Float64Array;
  /** Where in the file each end is named. */
  at: Int32Array;
}

function selfLoop(scanner: Scanner, rank: number): LodgeError {
  return scanner.refuse(`${rank} is connected with itself`, 'take the arc out: it costs nothing anywhere');
}

/** Keeps each edge once, after it was seen that both of its ends say the same. */
function symmetric(ranks: number, rows: Rows, base: number, scanner: Scanner): Traffic {
  const { from, to, bytes } = rows;
  const arcs = new ArcList();
  for (let arc = 0; arc < from.length; arc++) {
    if (from[arc]! < to[arc]!) arcs.add(from[arc]!, to[arc]!, bytes[arc]!);
  }
  const traffic = trafficOfArcs(ranks, arcs, false);
  const { offsets, neighbours, weights } = traffic;
  const fault = (arc: number, what: string): LodgeError =>
    scanner.faultAt(rows.at[arc]!, what, 'each edge is in the rows of both ends, with the same weight');
  const oneWay = (arc: number): LodgeError =>
    fault(arc, `${from[arc]! + base} has ${to[arc]! + base} as a neighbour, but not the other way round`);
  // The other direction must have the same pairs, each with the same sum.
  const sums = new Float64Array(neighbours.length);
  const seen = new Uint8Array(neighbours.length);
  for (let arc = 0; arc < from.length; arc++) {
    const [a, b] = [from[arc]!, to[arc]!];
    if (a === b) throw fault(arc, `${a + base} is connected with itself`);
    if (a < b) continue;
    const at = indexIn(neighbours, offsets[a]!, offsets[a + 1]!, b);
    if (at < 0) throw oneWay(arc);
    sums[at]! += bytes[arc]!;
    seen[at] = 1;
  }
  for (let rank = 0; rank < ranks; rank++) {
    for (let at = offsets[rank]!; at < offsets[rank + 1]!; at++) {
      const other = neighbours[at]!;
      if (other > rank) continue;
      if (seen[at] === 0) throw oneWay(indexOfArc(rows, other, rank));
      if (Math.abs(sums[at]! - weights[at]!) > 1e-9 * weights[at]!) {
        throw fault(
          indexOfArc(rows, rank, other),
          `the edge of ${other + base} and ${rank + base} weighs ${weights[at]} one way and ${sums[at]} the other`,
        );
      }
    }
  }
  return traffic;
}

function indexOfArc({ from, to }: Rows, a: number, b: number): number {
  return from.findIndex((rank, arc) => rank === a && to[arc] === b);
}

/** Where a number is in an ascending part of an array; -1 where it is not. */
export function indexIn(sorted: Int32Array, from: number, to: number, number: number): number {
  let low = from;
  let high = to - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const value = sorted[middle]!;
    if (value === number) return middle;
    if (value < number) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}

/** METIS's graphs (`.graph`). Format: G. Karypis, "METIS: a software package for partitioning", manual of version 5. */
export function readMetisGraph(bytes: Uint8Array, file: string): Traffic {
  const scanner = new Scanner(bytes, file);
  scanner.skipEmptyLines(percent);
  const ranks = scanner.whole('a number of vertices', 0, mostRanks);
  const edges = scanner.whole('a number of edges', 0, 2 ** 29);
  let [hasSizes, hasLoads, hasWeights] = [false, false, false];
  let loads = 1;
  if (!scanner.isLineOver()) {
    const flag = scanner.whole('the format (fmt)', 0, 111);
    const digits = String(flag).padStart(3, '0');
    if (/[^01]/.test(digits)) throw scanner.refuse(`'${digits}' is no fmt`, 'three digits, each 0 or 1');
    [hasSizes, hasLoads, hasWeights] = [...digits].map((digit) => digit === '1') as [
      boolean,
      boolean,
      boolean,
    ];
    if (!scanner.isLineOver()) loads = scanner.whole('a number of weights (ncon)', 1, 100);
  }
  scanner.endLine('the head');
  requireLength(scanner, Math.max(ranks - 1, 2 * edges));
  const found = {
    from: new Int32Array(2 * edges),
    to: new Float64Array(2 * edges),
    bytes: new Float64Array(2 * edges),
    at: new Int32Array(2 * edges),
  };
  const demand = hasLoads ? new Float64Array(ranks) : undefined;
  let arcs = 0;
  for (let rank = 0; rank < ranks; rank++) {
    // A vertex without neighbours has an empty line; only comments are passed over.
    while (!scanner.isAtEnd && scanner.bytes[scanner.at] === percent) scanner.nextLine();
    if (scanner.isAtEnd) {
      throw scanner.fault(`the file ends after ${rank} of ${ranks} vertices`, 'was it cut off?');
    }
    if (hasSizes) scanner.weight('the size of a vertex');
    for (let i = 0; i < (hasLoads ? loads : 0); i++) {
      const load = scanner.weight('the weight of a vertex');
      if (i === 0) demand![rank] = load;
    }
    while (!scanner.isLineOver()) {
      found.at[arcs] = scanner.at;
      const to = scanner.whole('a neighbour', 1, ranks) - 1;
      if (to === rank) throw selfLoop(scanner, rank + 1);
      if (arcs === 2 * edges) throw scanner.refuse(`there are more edges than the ${edges} of the head`);
      found.from[arcs] = rank;
      found.to[arcs] = to;
      found.bytes[arcs++] = hasWeights ? scanner.weight('the weight of an edge') : 1;
    }
    scanner.nextLine();
  }
  scanner.skipEmptyLines(percent);
  if (!scanner.isAtEnd) throw scanner.fault(`the head says ${ranks} vertices, and there are more lines`);
  if (arcs !== 2 * edges) {
    throw scanner.fault(
      `the head says ${edges} edges, and the lines have ${arcs} ends of edges`,
      'correct the head',
    );
  }
  const traffic = symmetric(ranks, found, 1, scanner);
  return demand === undefined ? traffic : { ...traffic, demand: { cpus: demand } };
}

/** MatrixMarket, entry (i, j) being the bytes from i to j. Format: R. Boisvert and others, NISTIR 5935, 1996. */
export function readMatrixMarket(bytes: Uint8Array, file: string): Traffic {
  const scanner = new Scanner(bytes, file);
  const words = scanner.restOfLine().trim().toLowerCase().split(/\s+/);
  const [banner, object, layout = '', field = '', symmetry = ''] = words;
  const headFault = (what: string, fix: string): LodgeError =>
    new LodgeError('traffic', what, { where: `${file}:1:1`, fix });
  if (banner !== '%%matrixmarket' || object !== 'matrix') {
    throw headFault(
      'this is no MatrixMarket file',
      'it begins with %%MatrixMarket matrix coordinate real general',
    );
  }
  if (layout !== 'coordinate' && layout !== 'array')
    throw headFault(`the layout '${layout}' is not known`, 'coordinate or array');
  if (
    !['real', 'double', 'integer', 'pattern'].includes(field) ||
    (layout === 'array' && field === 'pattern')
  ) {
    throw headFault(`values that are '${field}' are no traffic`, 'real, integer or pattern');
  }
  if (symmetry !== 'general' && symmetry !== 'symmetric') {
    throw headFault(`a matrix that is '${symmetry}' is no traffic`, 'general or symmetric');
  }
  scanner.nextLine();
  scanner.skipEmptyLines(percent);
  const rows = scanner.whole('a number of rows', 0, mostRanks);
  const columns = scanner.whole('a number of columns', 0, mostRanks);
  if (rows !== columns)
    throw scanner.refuse(`it has ${rows} rows and ${columns} columns`, 'a graph has as many of both');
  const isSymmetric = symmetry === 'symmetric';
  const entries =
    layout === 'coordinate'
      ? scanner.whole('a number of entries', 0, 2 ** 30)
      : isSymmetric
        ? (rows * (rows + 1)) / 2
        : rows * rows;
  scanner.endLine('the line of sizes');
  requireLength(scanner, entries);
  const arcs = new ArcList();
  let [row, column] = [0, 0];
  for (let entry = 0; entry < entries; entry++) {
    scanner.skipEmptyLines(percent);
    let bytesSent = 1;
    if (layout === 'coordinate') {
      row = scanner.whole('a row', 1, rows) - 1;
      column = scanner.whole('a column', 1, columns) - 1;
      if (isSymmetric && column > row) {
        throw scanner.refuse(
          'a symmetric matrix has only its lower half',
          'row not less than column, or say general',
        );
      }
      if (field !== 'pattern') bytesSent = scanner.weight('a value');
      arcs.add(row, column, bytesSent);
    } else {
      // Column by column.
      bytesSent = scanner.weight('a value');
      if (bytesSent > 0) arcs.add(row, column, bytesSent);
      if (++row === rows) {
        column++;
        row = isSymmetric ? column : 0;
      }
    }
    scanner.endLine('the entry');
  }
  scanner.skipEmptyLines(percent);
  if (!scanner.isAtEnd) throw scanner.fault(`there are more entries than the ${entries} of the head`);
  return trafficOfArcs(rows, arcs, !isSymmetric);
}

/**
 * Ranks in rows and columns, each talking with all of its row and of its column, as in transposes of matrices that are
 * shared out over a square of ranks: products of two complete graphs, whatever the order of ranks.
 */

import type { Deadline } from './deadline.ts';
import type { Grid, Rows } from './grid.ts';

/** @returns undefined when it is none; what is returned was checked edge by edge */
export function recogniseCliques({ count, offsets, neighbours }: Rows, deadline: Deadline): Grid | undefined {
  const degree = offsets[1]! - offsets[0]!;
  if (degree * (count - degree - 1) === 0) return undefined;
  for (let vertex = 0; vertex < count; vertex++) {
    if (offsets[vertex + 1]! - offsets[vertex]! !== degree) return undefined;
  }
  const around = (vertex: number): Int32Array => neighbours.subarray(offsets[vertex]!, offsets[vertex + 1]!);
  /** The row or column that two neighbours share. */
  const lineOf = (vertex: number, other: number): number[] => {
    const beside = new Set(around(other));
    return [vertex, other, ...around(vertex).filter((third) => beside.has(third))];
  };
  const row = lineOf(0, neighbours[0]!);
  const isInRow = new Set(row);
  const across = around(0).find((vertex) => !isInRow.has(vertex));
  if (across === undefined) return undefined;
  const column = lineOf(0, across);
  const sizes = [column.length, row.length];
  if (column.length * row.length !== count || column.length + row.length - 2 !== degree) return undefined;
  const coordinates = new Int32Array(2 * count).fill(-1);
  /** Gives each of a line of which `start` is one the coordinate of `start`. */
  const mark = (start: number, isInOther: ReadonlySet<number>, dimension: number, value: number): void => {
    coordinates[2 * start + dimension] = value;
    const first = around(start).find((vertex) => !isInOther.has(vertex));
    if (first !== undefined)
      for (const vertex of lineOf(start, first)) coordinates[2 * vertex + dimension] = value;
  };
  const isInColumn = new Set(column);
  for (let i = 0; i < row.length; i++) mark(row[i]!, isInRow, 1, i);
  for (let i = 0; i < column.length; i++) mark(column[i]!, isInColumn, 0, i);
  const isTaken = new Uint8Array(count);
  for (let vertex = 0; vertex < count; vertex++) {
    if (vertex % 256 === 0) deadline.check();
    const [y, x] = [coordinates[2 * vertex]!, coordinates[2 * vertex + 1]!];
    if (y < 0 || x < 0 || isTaken[y * row.length + x] !== 0) return undefined;
    isTaken[y * row.length + x] = 1;
    // As many as there can be, each in the same row or column: these are all.
    for (const other of around(vertex)) {
      if ((coordinates[2 * other] === y) === (coordinates[2 * other + 1] === x)) return undefined;
    }
  }
  return { sizes, wraps: [false, false], coordinates, isComplete: true };
}

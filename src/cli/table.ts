import { printable } from '../printable.ts';

/** Beside narrower columns than this, a line that the terminal breaks reads better. */
const leastRoom = 16;

/**
 * Rows of text as columns as wide as what is in them. Cells may come from anywhere: each stays one line of plain text.
 * On a terminal that is too narrow, columns of nothing but `-` are left out, and the last one goes on below itself.
 * @param columns of the terminal; without a limit where there is none, so that scripts find each row on one line
 */
export function table(
  cells: readonly (readonly string[])[],
  columns = process.stdout.isTTY ? process.stdout.columns : Number.POSITIVE_INFINITY,
): string {
  const rows = cells.map((row) => row.map((cell) => printable(cell).replaceAll(/\s/g, ' ')));
  if (width(widthsOf(rows)) <= columns) return linesOf(rows);
  const shown = withoutEmpty(rows);
  return linesOf(shown, columns);
}

function widthsOf(rows: readonly (readonly string[])[]): number[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length);
    });
  }
  return widths;
}

/** Of columns with the space between them. */
function width(widths: readonly number[]): number {
  return widths.reduce((sum, one) => sum + one, 2 * (widths.length - 1));
}

/** Rows below a head without the columns that say nothing of any of them. */
function withoutEmpty(rows: string[][]): string[][] {
  const [head, ...body] = rows;
  if (body.length === 0 || body.some(({ length }) => length !== head!.length)) return rows;
  const says = head!.map((_, i) => body.some((row) => row[i] !== '-'));
  return rows.map((row) => row.filter((_, i) => says[i]));
}

function linesOf(rows: readonly (readonly string[])[], columns = Number.POSITIVE_INFINITY): string {
  const widths = widthsOf(rows);
  const start = width(widths) - widths.at(-1)!;
  const room = columns - start < leastRoom ? Number.POSITIVE_INFINITY : columns - start;
  return rows
    .map((row) => {
      const last = row.at(-1) ?? '';
      const [first, ...more] = row.length < widths.length ? [last] : broken(last, room);
      const line = [...row.slice(0, -1), first!].map((cell, i) => cell.padEnd(widths[i]!)).join('  ');
      return [line, ...more.map((piece) => ' '.repeat(start) + piece)]
        .map((one) => `${one.trimEnd()}\n`)
        .join('');
    })
    .join('');
}

/** Text in pieces that are not wider than the room, but for a word that is. */
function broken(text: string, room: number): string[] {
  const pieces: string[] = [];
  for (const word of text.split(' ')) {
    const longer = `${pieces.at(-1)} ${word}`;
    if (pieces.length > 0 && longer.length <= room) pieces[pieces.length - 1] = longer;
    else pieces.push(word);
  }
  return pieces;
}

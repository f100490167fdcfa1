/** Lines of text for a terminal: colours, columns, wrapping, and nothing that could steer it. Pure. */

import { printable } from '../../markup.ts';

export interface TerminalLook {
  /** Columns of the terminal. */
  width: number;
  colour: boolean;
}

/** How to write to a stream: 80 columns and no colour when it is no terminal, none for NO_COLOR (no-color.org). */
export function terminalLook(
  stream: { isTTY?: boolean; columns?: number },
  env: Readonly<Record<string, string | undefined>>,
): TerminalLook {
  const isTerminal = stream.isTTY === true;
  return {
    width: isTerminal ? Math.max(20, stream.columns || 80) : 80,
    colour: isTerminal && (env.NO_COLOR ?? '') === '' && env.TERM !== 'dumb',
  };
}

const codes = { good: '32', bad: '33', open: '2', bold: '1' } as const;

export function paint(text: string, kind: keyof typeof codes | undefined, { colour }: TerminalLook): string {
  return colour && kind !== undefined && text !== '' ? `\u001b[${codes[kind]}m${text}\u001b[0m` : text;
}

/** Words on lines that fit; lines after the first begin with two spaces more than `indent`, if there is one. */
export function wrapped(text: string, { width }: TerminalLook, indent = ''): string[] {
  const lines: string[] = [];
  let line = '';
  const next = indent === '' ? '' : `${indent}  `;
  const start = () => (lines.length === 0 ? indent : next);
  for (const word of oneLineOf(text).split(' ')) {
    if (line !== '' && start().length + line.length + 1 + word.length > width) {
      lines.push(start() + line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, start() + line];
}

/** Thin spaces as plain ones: they are not in every font of terminals. */
export function plain(text: string): string {
  return text.replaceAll('\u202F', ' ');
}

/** What a study's text may not do to a terminal: no control characters, no lines of its own. */
export function oneLineOf(text: string): string {
  return printable(text.replace(/[ \t\r\n]+/g, ' '));
}

export type Columns = readonly ('start' | 'end')[];

/** Rows as columns as wide as what is in them, each line cut to the terminal; `moods` colours the last column. */
export function tableLines(
  rows: readonly (readonly string[])[],
  columns: Columns,
  moods: readonly (keyof typeof codes | undefined)[],
  look: TerminalLook,
): string[] {
  const cells = rows.map((row) => row.map((text) => oneLineOf(plain(text))));
  const widths = columns.map((_, i) => Math.max(...cells.map((row) => row[i]?.length ?? 0)));
  return cells.map((row, k) => {
    const padded = row.map((text, i) =>
      columns[i] === 'end' ? text.padStart(widths[i]!) : text.padEnd(widths[i]!),
    );
    const before = `  ${padded.slice(0, -1).join('  ')}`;
    if (before.length + 4 > look.width) return before.slice(0, look.width);
    const last = padded.at(-1)!.trimEnd();
    return `${before}  ${paint(last.slice(0, look.width - before.length - 2), moods[k], look)}`;
  });
}

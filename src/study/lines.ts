/** Reads a file line by line in memory of a fixed size, however long the file or a line of it is. */

import { closeSync, openSync, readSync } from 'node:fs';

const pieceBytes = 2 ** 16;
const lineFeed = 0x0a;

/**
 * Gives each line without its line feed, numbered from 1; `undefined` stands for one of more than `longestBytes`.
 * What follows the last line feed is a line of its own, unless it is empty.
 * @throws what Node.js throws when the file cannot be read
 */
export function forEachLine(
  path: string,
  longestBytes: number,
  onLine: (line: string | undefined, number: number) => void,
): void {
  const descriptor = openSync(path, 'r');
  try {
    const piece = Buffer.allocUnsafe(pieceBytes);
    const line = new LineBuffer(longestBytes);
    let number = 0;
    for (let length = -1; length !== 0; ) {
      length = readSync(descriptor, piece, 0, piece.length, null);
      for (let from = 0; from < length; ) {
        const end = piece.subarray(0, length).indexOf(lineFeed, from);
        line.add(piece.subarray(from, end < 0 ? length : end));
        if (end < 0) break;
        onLine(line.take(), ++number);
        from = end + 1;
      }
    }
    if (!line.isEmpty) onLine(line.take(), ++number);
  } finally {
    closeSync(descriptor);
  }
}

class LineBuffer {
  readonly #longestBytes: number;
  #parts: Buffer[] = [];
  #bytes = 0;

  constructor(longestBytes: number) {
    this.#longestBytes = longestBytes;
  }

  get isEmpty(): boolean {
    return this.#bytes === 0;
  }

  add(part: Buffer): void {
    this.#bytes += part.length;
    // What is too long already is counted, and not kept.
    if (this.#bytes > this.#longestBytes) this.#parts = [];
    else this.#parts.push(Buffer.from(part));
  }

  /** The line so far, and a new one begins. */
  take(): string | undefined {
    const text = this.#bytes > this.#longestBytes ? undefined : Buffer.concat(this.#parts).toString();
    this.#parts = [];
    this.#bytes = 0;
    return text;
  }
}

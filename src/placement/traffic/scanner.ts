/** Words and numbers out of the bytes of a text file, with line and column for what is wrong. */

import { LodgeError } from '../../errors.ts';
import { printable } from '../../printable.ts';

const [newline, carriageReturn, space, tab] = [10, 13, 32, 9];
const [zero, nine, minus, plus] = [48, 57, 45, 43];

export class Scanner {
  readonly bytes: Uint8Array;
  readonly file: string;
  at = 0;
  line = 1;
  /** Where the line begins. */
  lineStart = 0;
  /** Where the number that was read last begins. */
  #number = 0;

  constructor(bytes: Uint8Array, file: string) {
    this.bytes = bytes;
    this.file = file;
    // A byte order mark is no part of what is said.
    if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) this.at = this.lineStart = 3;
  }

  /** An error about what begins at `from`, or lies next. */
  fault(what: string, fix?: string, from = this.at): LodgeError {
    return new LodgeError('traffic', what, {
      where: `${this.file}:${this.line}:${from - this.lineStart + 1}`,
      ...(fix === undefined ? {} : { fix }),
    });
  }

  /** An error about the number that was read last. */
  refuse(what: string, fix?: string): LodgeError {
    return this.fault(what, fix, this.#number);
  }

  /** An error about what begins at a place that was read before. */
  faultAt(at: number, what: string, fix?: string): LodgeError {
    const { bytes } = this;
    [this.line, this.lineStart] = [1, bytes[0] === 0xef ? 3 : 0];
    for (let i = 0; i < at; i++)
      if (bytes[i] === newline) [this.line, this.lineStart] = [this.line + 1, i + 1];
    return this.fault(what, fix, at);
  }

  get isAtEnd(): boolean {
    return this.at >= this.bytes.length;
  }

  skipBlanks(): void {
    const { bytes } = this;
    while (this.at < bytes.length && isBlank(bytes[this.at]!)) this.at++;
  }

  /** Whether nothing more is on this line. */
  isLineOver(): boolean {
    this.skipBlanks();
    return this.isAtEnd || this.bytes[this.at] === newline;
  }

  /** Goes to the next line, whatever is left of this one. */
  nextLine(): void {
    const { bytes } = this;
    while (this.at < bytes.length && bytes[this.at] !== newline) this.at++;
    if (this.at >= bytes.length) return;
    this.at++;
    this.line++;
    this.lineStart = this.at;
  }

  /** @throws LodgeError when there is more on the line */
  endLine(what: string): void {
    if (!this.isLineOver()) throw this.fault(`${what} is complete, and there is more: '${this.peekWord()}'`);
    this.nextLine();
  }

  /** Goes over empty lines and, where a mark is given, those that begin with it. */
  skipEmptyLines(commentMark?: number): void {
    for (;;) {
      this.skipBlanks();
      if (this.isAtEnd) return;
      const byte = this.bytes[this.at];
      if (byte !== newline && byte !== commentMark) return;
      this.nextLine();
    }
  }

  /** Goes over blanks and line ends. */
  skipWhite(): void {
    for (;;) {
      this.skipBlanks();
      if (this.isAtEnd || this.bytes[this.at] !== newline) return;
      this.nextLine();
    }
  }

  /** The next word of the line, up to a blank, cut where it is long; nothing is read. */
  peekWord(): string {
    this.skipBlanks();
    let end = this.at;
    while (end < this.bytes.length && !isBlank(this.bytes[end]!) && this.bytes[end] !== newline) end++;
    const word = Buffer.from(this.bytes.subarray(this.at, Math.min(end, this.at + 40))).toString('utf8');
    return `${printable(word)}${end - this.at > 40 ? '…' : ''}`;
  }

  /** The rest of the line, without its end. */
  restOfLine(): string {
    const from = this.at;
    while (this.at < this.bytes.length && this.bytes[this.at] !== newline) this.at++;
    return Buffer.from(this.bytes.subarray(from, this.at)).toString('utf8').replace(/\r$/, '');
  }

  /**
   * A whole number from `least` to `most` on this line.
   * @param what it is, for the error: `a number of ranks`
   */
  whole(what: string, least: number, most: number): number {
    this.skipBlanks();
    const { bytes } = this;
    const from = this.at;
    this.#number = from;
    let at = from;
    const isNegative = bytes[at] === minus;
    if (isNegative || bytes[at] === plus) at++;
    const digits = at;
    let value = 0;
    while (at < bytes.length && bytes[at]! >= zero && bytes[at]! <= nine)
      value = 10 * value + (bytes[at++]! - zero);
    if (at === digits || (at < bytes.length && !isBlank(bytes[at]!) && bytes[at] !== newline)) {
      throw this.#notANumber(what);
    }
    if (isNegative) value = -value;
    if (value < least || value > most) {
      throw this.fault(`${what} must be from ${least} to ${most}, and is ${this.peekWord()}`);
    }
    this.at = at;
    return value;
  }

  /** A number of bytes or the like: finite, not negative. */
  weight(what: string): number {
    this.skipBlanks();
    const { bytes } = this;
    const from = this.at;
    this.#number = from;
    let at = from;
    let value = 0;
    while (at < bytes.length && bytes[at]! >= zero && bytes[at]! <= nine)
      value = 10 * value + (bytes[at++]! - zero);
    const isOver = at >= bytes.length || isBlank(bytes[at]!) || bytes[at] === newline;
    if (at > from && at - from <= 15 && isOver) {
      this.at = at;
      return value;
    }
    while (at < bytes.length && !isBlank(bytes[at]!) && bytes[at] !== newline) at++;
    const number = weightOf(Buffer.from(bytes.subarray(from, Math.min(at, from + 400))).toString('latin1'));
    if (typeof number === 'string') {
      if (from === at) throw this.#notANumber(what);
      throw this.fault(`${what} ${number}: '${this.peekWord()}'`, weightFix);
    }
    this.at = at;
    return number;
  }

  #notANumber(what: string): LodgeError {
    if (this.isAtEnd) return this.fault(`the file ends where ${what} should be`, 'was it cut off?');
    if (this.bytes[this.at] === newline) return this.fault(`the line ends where ${what} should be`);
    return this.fault(`'${this.peekWord()}' is not ${what}`);
  }
}

export const weightFix = 'weights are finite numbers from 0 up, such as 1024 or 2.5e6';

/** Larger weights would not add up exactly, or not at all. */
const largestWeight = 1e18;

/** A weight, or what is wrong with it. */
export function weightOf(text: string): number | string {
  const trimmed = text.trim();
  if (/^[+-]?nan$/i.test(trimmed)) return 'is not a number';
  if (/^[+-]?inf(inity)?$/i.test(trimmed)) return 'is not finite';
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(trimmed)) return 'is not a number';
  const number = Number(trimmed);
  if (number < 0) return 'is negative';
  if (!(number <= largestWeight)) return `is larger than ${largestWeight}`;
  return number;
}

function isBlank(byte: number): boolean {
  return byte === space || byte === tab || byte === carriageReturn;
}

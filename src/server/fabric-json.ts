/** Answers of a fabric as JSON: typed arrays become lists, and are made again on the other side. */

import type { Matrix, Requests } from '../fabric/control.ts';
import type { Question } from './fabrics.ts';

export function answerText(answer: unknown): string {
  return JSON.stringify(answer, (_, value: unknown) =>
    ArrayBuffer.isView(value) ? Array.from(value as Uint32Array) : value,
  );
}

type Listed<T> = { [Key in keyof T]: T[Key] extends Uint32Array | Float64Array ? number[] : T[Key] };

/** Reads {@link answerText}. */
export function parseAnswer<Kind extends Question>(kind: Kind, text: string): Requests[Kind]['answer'] {
  const value: unknown = JSON.parse(text);
  if (kind !== 'matrix') return value as Requests[Kind]['answer'];
  const matrix = value as Listed<Matrix>;
  return {
    ...matrix,
    source: Uint32Array.from(matrix.source),
    destination: Uint32Array.from(matrix.destination),
    frames: Float64Array.from(matrix.frames),
    bytes: Float64Array.from(matrix.bytes),
    bytesPerSecond: Float64Array.from(matrix.bytesPerSecond),
  } satisfies Matrix as Requests[Kind]['answer'];
}

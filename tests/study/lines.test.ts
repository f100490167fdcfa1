import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { forEachLine } from '../../src/study/lines.ts';

const dir = mkdtempSync(join(tmpdir(), 'lodge-lines-'));
afterAll(() => rmSync(dir, { recursive: true }));
const path = join(dir, 'file');

function linesOf(text: string, longestBytes: number): (string | undefined)[] {
  writeFileSync(path, text);
  const lines: (string | undefined)[] = [];
  forEachLine(path, longestBytes, (line, number) => {
    lines.push(line);
    expect(number).toBe(lines.length);
  });
  return lines;
}

describe('the lines of a file', () => {
  it('are those that a split at line feeds gives', () => {
    const pieces = fc.constantFrom('', 'a', 'ä€', 'x'.repeat(70_000), '\n', '\r\n');
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 8 }), (parts) => {
        const text = parts.join('');
        const expected = text.split('\n');
        // What ends with a line feed has no line after it.
        if (expected.at(-1) === '') expected.pop();
        expect(linesOf(text, 2 ** 20)).toEqual(expected);
      }),
      { numRuns: 50 },
    );
  });

  it('that are longer than allowed are told and not kept', () => {
    const long = 'y'.repeat(200_000);
    expect(linesOf(`a\n${long}\nb\n${long}`, 100_000)).toEqual(['a', undefined, 'b', undefined]);
    expect(linesOf('12345\n123456', 5)).toEqual(['12345', undefined]);
  });
});

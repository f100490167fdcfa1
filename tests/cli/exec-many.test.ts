import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { prefixer } from '../../src/cli/exec-many.ts';

async function shown(pieces: readonly Uint8Array[]): Promise<string> {
  const written: Buffer[] = [];
  const to = {
    write(bytes: Buffer, done: () => void): boolean {
      written.push(Buffer.from(bytes));
      done();
      return true;
    },
  };
  const lines = prefixer('v01', to);
  for (const piece of pieces) await lines.take(Buffer.from(piece));
  await lines.end();
  return Buffer.concat(written).toString('latin1');
}

describe('output of one of many guests', () => {
  it.each([
    [['a\nb\n'], 'v01: a\nv01: b\n'],
    [['a', 'b\nc', '\n'], 'v01: ab\nv01: c\n'],
    [['no end'], 'v01: no end\n'],
    [['\n\n'], 'v01: \nv01: \n'],
    [[], ''],
  ])('%j', async (pieces, text) => {
    expect(await shown(pieces.map((piece) => Buffer.from(piece)))).toBe(text);
  });
  it('is the same whatever pieces it comes in', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 20 })), async (pieces) => {
        expect(await shown(pieces)).toBe(await shown([Buffer.concat(pieces)]));
      }),
    );
  });
  it.each([
    ['ENOSPC', true],
    ['EPIPE', false],
  ])('that was not written for %s is lost: %j', async (code, isLost) => {
    const to = {
      write(_: Buffer, done: (error?: Error) => void): boolean {
        done(Object.assign(new Error(code), { code }));
        return false;
      },
    };
    const lines = prefixer('v01', to);
    await lines.take(Buffer.from('a\n'));
    expect(lines.isLost()).toBe(isLost);
  });
  it('takes bounded memory for a line without end', async () => {
    const piece = Buffer.alloc(50_000, 'x');
    const text = await shown([piece, piece, piece]);
    expect(
      text
        .split('\n')
        .slice(0, -1)
        .every((line) => line.startsWith('v01: ')),
    ).toBe(true);
    expect(text.replaceAll(/v01: |\n/g, '')).toHaveLength(150_000);
  });
});

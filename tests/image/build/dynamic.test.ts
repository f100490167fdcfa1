import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readDynamic } from '../../../src/image/build/dynamic.ts';
import { bytesOfBuffer } from '../../../src/image/bytes.ts';

const read = (buffer: Buffer) => readDynamic(bytesOfBuffer(buffer));
const program = readFileSync('/bin/true');

/** A 64-bit ELF with one loaded segment, at address 0x1000 and offset 0x200, holding strings and a dynamic table. */
function sample(rows: [tag: number, value: number][], strings: string): Buffer {
  const file = Buffer.alloc(0x600);
  file.write('\x7fELF\x02\x01\x01', 0, 'latin1');
  file.writeUInt16LE(3, 16);
  file.writeUInt16LE(62, 18);
  file.writeBigUInt64LE(64n, 32);
  file.writeUInt16LE(56, 54);
  file.writeUInt16LE(3, 56);
  const segments = [
    [1, 0x200, 0x1000, 0x400],
    [2, 0x400, 0x1200, rows.length * 16],
    [3, 0x200, 0x1000, 32],
  ];
  segments.forEach(([type, offset, address, bytes], i) => {
    const at = 64 + i * 56;
    file.writeUInt32LE(type!, at);
    file.writeBigUInt64LE(BigInt(offset!), at + 8);
    file.writeBigUInt64LE(BigInt(address!), at + 16);
    file.writeBigUInt64LE(BigInt(bytes!), at + 32);
  });
  file.write(strings, 0x200, 'latin1');
  rows.forEach(([tag, value], i) => {
    file.writeBigUInt64LE(BigInt(tag), 0x400 + i * 16);
    file.writeBigUInt64LE(BigInt(value), 0x408 + i * 16);
  });
  return file;
}

describe('readDynamic', () => {
  it('reads a program of this host', () => {
    const elf = read(program);
    expect(elf?.bits).toBe(64);
    expect(elf?.interpreter).toMatch(/^\/lib/);
    expect(elf?.needed.some((name) => /^libc\./.test(name))).toBe(true);
  });

  it('reads interpreter, libraries and search paths', () => {
    const strings = '/lib/ld.so\0liba.so\0$ORIGIN/../lib:/opt\0/run/path\0';
    const rows: [number, number][] = [
      [1, 11],
      [15, 19],
      [29, 39],
      [5, 0x1000],
      [10, 50],
      [0, 0],
      [1, 11],
    ];
    expect(read(sample(rows, strings))).toEqual({
      bits: 64,
      machine: 62,
      interpreter: '/lib/ld.so',
      needed: ['liba.so'],
      rpath: ['$ORIGIN/../lib', '/opt'],
      runpath: ['/run/path'],
    });
  });

  it('leaves out names that lie outside of the string table or the file', () => {
    const strings = '/lib/ld.so\0liba.so\0';
    expect(
      read(
        sample(
          [
            [1, 11],
            [1, 4000],
            [1, 2 ** 50],
            [5, 0x1000],
            [10, 19],
            [0, 0],
          ],
          strings,
        ),
      )?.needed,
    ).toEqual(['liba.so']);
    expect(
      read(
        sample(
          [
            [1, 11],
            [5, 0x9000],
            [10, 19],
            [0, 0],
          ],
          strings,
        ),
      )?.needed,
    ).toEqual([]);
  });

  it('is not misled by what is not an ELF file', () => {
    for (const other of ['', '#!/bin/sh\n', '\x7fELF', '\x7fELF\x02\x02\x01']) {
      expect(read(Buffer.from(other.padEnd(64), 'latin1'))).toBeUndefined();
    }
    expect(read(Buffer.alloc(0))).toBeUndefined();
  });

  it('survives garbage and every damage to a sound file', () => {
    const sound = sample(
      [
        [1, 11],
        [5, 0x1000],
        [10, 19],
        [0, 0],
      ],
      '/lib/ld.so\0liba.so\0',
    );
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(0x5ff), fc.nat(255)), { maxLength: 12 }),
        fc.nat(0x600),
        (edits, end) => {
          const damaged = Buffer.from(sound);
          for (const [at, value] of edits) damaged[at] = value;
          const elf = read(damaged.subarray(0, end));
          expect(elf === undefined || elf.needed.every((name) => name.length <= 4096)).toBe(true);
        },
      ),
      { numRuns: 500 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (tail) => {
        read(Buffer.concat([sound.subarray(0, 24), tail]));
      }),
    );
  });
});

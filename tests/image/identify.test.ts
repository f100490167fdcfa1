import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytesOfBuffer } from '../../src/image/bytes.ts';
import { identify, identifyBytes } from '../../src/image/identify.ts';
import { tarEnd, tarHeader, tarPadding } from '../../src/image/tar.ts';
import {
  makeBzImage,
  makeDisk,
  makeElf,
  makeIso,
  makeMultiboot,
  temporaryDirectory,
  writeTree,
} from './samples.ts';

const root = temporaryDirectory();
const of = (content: Buffer) => identifyBytes(bytesOfBuffer(content));

function tar(...names: string[]): Buffer {
  const data = Buffer.from('content');
  const members = names.map((name) =>
    Buffer.concat([
      tarHeader({ name, type: 'file', bytes: data.length, mode: 0o644, target: '' }),
      data,
      tarPadding(data.length),
    ]),
  );
  return Buffer.concat([...members, tarEnd]);
}

function squashfs(bytesUsed: number, size: number): Buffer {
  const image = Buffer.alloc(size);
  image.write('hsqs');
  image.writeBigUInt64LE(BigInt(bytesUsed), 40);
  return image;
}

function withBlock(size: number, fill: (block: Buffer) => void): Buffer {
  const image = Buffer.alloc(size);
  fill(image.subarray(1024));
  return image;
}

const erofs = (blocks: number) =>
  withBlock(8192, (block) => {
    block.writeUInt32LE(0xe0f5e1e2, 0);
    block[12] = 12;
    block.writeUInt32LE(blocks, 36);
  });

const ext4 = withBlock(1 << 16, (block) => {
  block.writeUInt32LE(16, 4);
  block.writeUInt32LE(2, 24);
  block.writeUInt16LE(0xef53, 56);
  block.writeUInt16LE(1, 58);
});

function elf32Multiboot(): Buffer {
  const image = Buffer.concat([makeElf({ pvh: false, text: 'x' }), Buffer.alloc(4096)]);
  const at = 1024;
  image.writeUInt32LE(0x1badb002, at);
  image.writeUInt32LE((2 ** 32 - 0x1badb002) % 2 ** 32, at + 8);
  return image;
}

function multiboot2(): Buffer {
  const image = Buffer.concat([makeElf({ pvh: false, text: 'x' }), Buffer.alloc(4096)]);
  const at = 1024;
  image.writeUInt32LE(0xe85250d6, at);
  image.writeUInt32LE(24, at + 8);
  image.writeUInt32LE(2 ** 32 - 0xe85250d6 - 24, at + 12);
  return image;
}

describe('identifyBytes', () => {
  const cases: [string, Buffer, object][] = [
    ['a bzImage', makeBzImage(makeElf()), { kind: 'kernel', format: 'bzimage', release: '6.1.0-test' }],
    [
      'a cut bzImage',
      makeBzImage(makeElf()).subarray(0, -40),
      { kind: 'kernel', problem: expect.stringContaining('cut') },
    ],
    [
      'a boot image that is not Linux',
      makeBzImage(makeElf(), 'gzip', 'Memtest86+ v6.10'),
      { format: 'bzimage' },
    ],
    ['a PVH kernel', makeElf(), { kind: 'kernel', format: 'pvh' }],
    [
      'a cut PVH kernel',
      makeElf().subarray(0, -5),
      { kind: 'kernel', problem: expect.stringContaining('cut') },
    ],
    [
      'a PVH kernel for arm',
      makeElf({ machine: 183 }),
      { problem: expect.stringContaining('another processor') },
    ],
    ['a multiboot binary', makeMultiboot(), { kind: 'kernel', format: 'multiboot' }],
    [
      'a 64-bit multiboot ELF',
      elf32Multiboot(),
      { format: 'multiboot', problem: expect.stringContaining('32-bit') },
    ],
    [
      'a multiboot2 kernel',
      multiboot2(),
      { format: 'multiboot', problem: expect.stringContaining('multiboot 1') },
    ],
    ['a program', makeElf({ pvh: false }), { kind: 'unknown' }],
    ['an MBR disk', makeDisk({ bootCode: true }), { kind: 'disk', format: 'raw', firmware: 'bios' }],
    ['a GPT disk for UEFI', makeDisk({ gpt: true, efi: true }), { kind: 'disk', firmware: 'uefi' }],
    ['a GPT disk with boot code', makeDisk({ gpt: true, efi: true, bootCode: true }), { firmware: 'bios' }],
    ['a GPT disk of data', makeDisk({ gpt: true }), { kind: 'disk', firmware: 'bios' }],
    ['a cut disk', makeDisk({ gpt: true }).subarray(0, 1 << 19), { problem: expect.stringContaining('cut') }],
    ['a CD', makeIso(0), { kind: 'iso', firmware: 'bios' }],
    ['a CD for UEFI', makeIso(0xef), { kind: 'iso', firmware: 'uefi' }],
    ['a CD for both', makeIso(0, 0xef), { kind: 'iso', firmware: 'bios' }],
    ['a CD of data', makeIso(), { kind: 'iso', problem: expect.stringContaining('nothing') }],
    ['a cut CD', makeIso(0).subarray(0, 80 * 2048), { kind: 'iso', problem: expect.stringContaining('cut') }],
    ['squashfs', squashfs(4000, 4096), { kind: 'filesystem', filesystem: 'squashfs' }],
    ['cut squashfs', squashfs(5000, 4096), { problem: expect.stringContaining('cut') }],
    ['erofs', erofs(2), { kind: 'filesystem', filesystem: 'erofs' }],
    ['cut erofs', erofs(3), { problem: expect.stringContaining('cut') }],
    ['ext4', ext4, { kind: 'filesystem', filesystem: 'ext4' }],
    ['an OCI archive', tar('blobs/sha256/x', 'index.json', './oci-layout'), { kind: 'oci', form: 'archive' }],
    ['a Docker archive', tar('layer.tar', 'manifest.json'), { kind: 'oci', form: 'docker-archive' }],
    ['an exported image', tar('lodge-export.json', 'x'), { kind: 'export' }],
    ['another archive', tar('src/main.c'), { kind: 'unknown', description: expect.stringContaining('tar') }],
    [
      'an archive that is cut short before it tells what it is',
      tar('blobs/sha256/x', 'index.json', 'oci-layout').subarray(0, 1540),
      { kind: 'unknown', problem: expect.stringMatching(/^cut short: it has 1540 bytes and needs.* 1543$/) },
    ],
    [
      'an ELF file that is cut short',
      makeElf().subarray(0, 100),
      { kind: 'unknown', description: 'ELF file', problem: expect.stringContaining('cut short') },
    ],
    ['gzip', Buffer.from('1f8b0800', 'hex'), { kind: 'compressed', compression: 'gzip' }],
    ['VMDK', Buffer.from('KDMV and more'), { problem: expect.stringContaining('raw and qcow2') }],
    ['nothing', Buffer.alloc(0), { kind: 'unknown', description: 'an empty file' }],
    ['zeros', Buffer.alloc(1 << 16), { kind: 'unknown' }],
    [
      'text',
      Buffer.from('#!/bin/sh\n'),
      { kind: 'unknown', description: expect.stringContaining('23212f62696e2f73') },
    ],
  ];
  it.each(cases)('knows %s', (_, content, expected) => {
    expect(of(content)).toMatchObject(expected);
  });

  const samples = cases.map(([, content]) => content);

  it('never throws on garbage', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4096 }), (data) => of(Buffer.from(data)).description.length > 0),
    );
  });

  it('never throws on damaged or truncated files', () => {
    const damage = fc.record({
      sample: fc.nat({ max: samples.length - 1 }),
      length: fc.double({ min: 0, max: 1, noNaN: true }),
      // Damage in the first blocks, where the headers are.
      changes: fc.array(fc.tuple(fc.nat({ max: 2200 }), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff)), {
        maxLength: 12,
      }),
    });
    fc.assert(
      fc.property(damage, ({ sample, length, changes }) => {
        const original = samples[sample]!;
        const content = Buffer.from(original.subarray(0, Math.ceil(original.length * length)));
        for (const [at, value] of changes) if (at < content.length) content[at] = value;
        return of(content).description.length > 0;
      }),
      { numRuns: 300 },
    );
  });
});

describe('identify', () => {
  it('knows directories', () => {
    writeTree(join(root, 'oci'), { 'oci-layout': '{}', 'index.json': '{}' });
    mkdirSync(join(root, 'plain'));
    expect(identify(join(root, 'oci'))).toMatchObject({ kind: 'oci', form: 'layout' });
    expect(identify(join(root, 'plain'))).toMatchObject({ kind: 'directory' });
    expect(identify('/dev/null')).toMatchObject({ kind: 'unknown' });
  });

  it('goes by content, not by name', () => {
    writeFileSync(join(root, 'disk.qcow2'), makeIso(0));
    expect(identify(join(root, 'disk.qcow2')).kind).toBe('iso');
  });

  it('says when nothing is there', () => {
    expect(() => identify(join(root, 'none'))).toThrow('no such file');
  });
});

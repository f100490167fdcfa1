/** Small files of the formats that lodge reads, made byte by byte, so that tests know what is in them. */

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll } from 'vitest';

/** A directory that is removed after the tests of the file. */
export function temporaryDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'lodge-image-'));
  afterAll(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export function hasProgram(program: string): boolean {
  return (process.env.PATH ?? '').split(':').some((directory) => existsSync(join(directory, program)));
}

export function writeTree(root: string, files: Record<string, string | Buffer>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  }
}

interface ElfOptions {
  machine?: number;
  /** With the note that a PVH loader looks for. */
  pvh?: boolean;
  text?: string;
}

/** An ELF64 file: one loaded segment with a text, one note segment. */
export function makeElf({
  machine = 62,
  pvh = true,
  text = 'Linux version 6.1.0-test (a@b) #1',
}: ElfOptions = {}): Buffer {
  const note = Buffer.alloc(24);
  note.writeUInt32LE(4, 0);
  note.writeUInt32LE(8, 4);
  note.writeUInt32LE(pvh ? 18 : 6, 8);
  note.write('Xen\0', 12, 'latin1');
  const data = Buffer.from(`${text}\0`);
  const head = Buffer.alloc(64 + 2 * 56);
  head.write('\x7fELF', 0, 'latin1');
  head.set([2, 1, 1], 4);
  head.writeUInt16LE(2, 16);
  head.writeUInt16LE(machine, 18);
  head.writeBigUInt64LE(64n, 32);
  head.writeUInt16LE(56, 54);
  head.writeUInt16LE(2, 56);
  const segment = (index: number, type: number, offset: number, bytes: number): void => {
    const at = 64 + index * 56;
    head.writeUInt32LE(type, at);
    head.writeBigUInt64LE(BigInt(offset), at + 8);
    head.writeBigUInt64LE(BigInt(bytes), at + 32);
  };
  segment(0, 4, head.length, note.length);
  segment(1, 1, head.length + note.length, data.length);
  return Buffer.concat([head, note, data]);
}

const packers: Record<string, readonly string[]> = {
  xz: ['xz', '-c', '--check=crc32'],
  zstd: ['zstd', '-c', '-q'],
  lz4: ['lz4', '-l', '-c', '-q'],
  lzma: ['xz', '-c', '--format=lzma'],
  bzip2: ['bzip2', '-c'],
};

export function pack(data: Buffer, compression: string): Buffer {
  if (compression === 'gzip') return gzipSync(data);
  const [program = '', ...args] = packers[compression]!;
  return execFileSync(program, args, { input: data });
}

/** A boot image as Linux builds it: two setup sectors, then a payload in some protected-mode code. */
export function makeBzImage(
  vmlinux: Buffer,
  compression = 'gzip',
  version = '6.1.0-test (a@b) #1 SMP',
): Buffer {
  const size = Buffer.alloc(4);
  size.writeUInt32LE(vmlinux.length);
  const payload = Buffer.concat([pack(vmlinux, compression), ...(compression === 'gzip' ? [] : [size])]);
  const setup = Buffer.alloc(3 * 512);
  const code = Buffer.concat([Buffer.alloc(64, 0x90), payload, Buffer.alloc(-payload.length & 15, 0x90)]);
  setup[0x1f1] = 2;
  setup.writeUInt32LE(code.length / 16, 0x1f4);
  setup.writeUInt16LE(0xaa55, 0x1fe);
  setup.write('HdrS', 0x202);
  setup.writeUInt16LE(0x20f, 0x206);
  setup.writeUInt16LE(0x300, 0x20e);
  setup.writeUInt32LE(64, 0x248);
  setup.writeUInt32LE(payload.length, 0x24c);
  setup.write(`${version}\0`, 0x500);
  return Buffer.concat([setup, code]);
}

/** A kernel module: an ELF64 object with a .modinfo section. */
export function makeModule(information: Record<string, string>): Buffer {
  const modinfo = Buffer.from(
    Object.entries(information)
      .map(([key, value]) => `${key}=${value}\0`)
      .join(''),
  );
  const names = Buffer.from('\0.modinfo\0.shstrtab\0');
  const head = Buffer.alloc(64);
  head.write('\x7fELF', 0, 'latin1');
  head.set([2, 1, 1], 4);
  head.writeUInt16LE(1, 16);
  head.writeUInt16LE(62, 18);
  head.writeBigUInt64LE(BigInt(64 + modinfo.length + names.length), 40);
  head.writeUInt16LE(64, 58);
  head.writeUInt16LE(3, 60);
  head.writeUInt16LE(2, 62);
  const section = (name: number, type: number, offset: number, bytes: number): Buffer => {
    const row = Buffer.alloc(64);
    row.writeUInt32LE(name, 0);
    row.writeUInt32LE(type, 4);
    row.writeBigUInt64LE(BigInt(offset), 24);
    row.writeBigUInt64LE(BigInt(bytes), 32);
    return row;
  };
  return Buffer.concat([
    head,
    modinfo,
    names,
    Buffer.alloc(64),
    section(1, 1, 64, modinfo.length),
    section(10, 3, 64 + modinfo.length, names.length),
  ]);
}

/** A disk of a megabyte with a partition table. */
export function makeDisk(options: { gpt?: boolean; efi?: boolean; bootCode?: boolean } = {}): Buffer {
  const disk = Buffer.alloc(1 << 20);
  if (options.bootCode === true) disk.fill(0x90, 0, 200);
  disk.writeUInt16LE(0xaa55, 510);
  disk[446 + 4] = options.gpt === true ? 0xee : 0x83;
  disk.writeUInt32LE(1, 446 + 8);
  disk.writeUInt32LE(options.gpt === true ? 0xffff_ffff : 1000, 446 + 12);
  if (options.gpt !== true) return disk;
  disk.write('EFI PART', 512);
  disk.writeBigUInt64LE(BigInt(disk.length / 512 - 1), 512 + 32);
  disk.writeBigUInt64LE(2n, 512 + 72);
  disk.writeUInt32LE(128, 512 + 80);
  disk.writeUInt32LE(128, 512 + 84);
  const type = options.efi === true ? '28732ac11ff8d211ba4b00a0c93ec93b' : 'af3dc60f838472478e793d69d8477de4';
  disk.write(type, 1024, 'hex');
  return disk;
}

/** A CD image with a boot catalogue for these platforms (0 is BIOS, 0xef is UEFI); none: a CD of data. */
export function makeIso(...platforms: number[]): Buffer {
  const sector = 2048;
  const iso = Buffer.alloc(400 * sector);
  const descriptor = (index: number, type: number): number => {
    const at = index * sector;
    iso[at] = type;
    iso.write('CD001\x01', at + 1, 'latin1');
    return at;
  };
  const primary = descriptor(16, 1);
  iso.writeUInt32LE(iso.length / sector, primary + 80);
  iso.writeUInt16LE(sector, primary + 128);
  if (platforms.length > 0) {
    const boot = descriptor(17, 0);
    iso.write('EL TORITO SPECIFICATION', boot + 7);
    iso.writeUInt32LE(20, boot + 0x47);
    const at = 20 * sector;
    iso[at] = 1;
    iso[at + 1] = platforms[0]!;
    iso.writeUInt16LE(0xaa55, at + 30);
    iso[at + 32] = 0x88;
    platforms.slice(1).forEach((platform, index) => {
      iso[at + 64 + index * 64] = 0x91;
      iso[at + 65 + index * 64] = platform;
      iso[at + 96 + index * 64] = 0x88;
    });
  }
  descriptor(18, 255);
  return iso;
}

/** A flat multiboot binary: the header with its checksum, some way in. */
export function makeMultiboot(at = 64): Buffer {
  const binary = Buffer.alloc(16 << 10, 0x90);
  binary.writeUInt32LE(0x1badb002, at);
  binary.writeUInt32LE(0x10000, at + 4);
  binary.writeUInt32LE((2 ** 32 - 0x1badb002 - 0x10000) % 2 ** 32, at + 8);
  return binary;
}

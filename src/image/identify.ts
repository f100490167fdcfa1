/**
 * What a file or directory is, by its content and never by its name. Everything read here may be damaged or
 * hostile: reads are bounded, and garbage is an answer, not a fault.
 */

import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { hostIoError, LodgeError } from '../errors.ts';
import { type Bytes, bytesOfBuffer, withFileBytes } from './bytes.ts';
import { type BootHeader, missingBytes, readBootHeader, releaseOf } from './bzimage.ts';
import { type Compression, compressionOf } from './decompress.ts';
import { readDisk, readIso } from './disk.ts';
import { type Elf, elfEndBytes, elfMachine, hasPvhEntry, readElf } from './elf.ts';
import type { Firmware } from './image.ts';
import { qcow2DiskStart, readQcow2 } from './qcow2.ts';
import { tarContent } from './tar.ts';

interface Common {
  /** For people: `Linux 6.1.0-56-amd64 (bzImage)`. */
  description: string;
  /** Why it cannot be used although its format is known: cut short, for another machine. */
  problem?: string;
  /** What to do about the problem. */
  fix?: string;
}

export type Identity = Common &
  (
    | { kind: 'kernel'; format: 'bzimage' | 'multiboot' | 'pvh'; release?: string }
    | { kind: 'disk'; format: 'raw' | 'qcow2'; firmware: Firmware; backing?: string; hasDataFile?: boolean }
    | { kind: 'iso'; firmware: Firmware }
    | { kind: 'filesystem'; filesystem: 'squashfs' | 'erofs' | 'ext4' }
    | { kind: 'oci'; form: 'layout' | 'archive' | 'docker-archive' }
    /** What `lodge image export` writes. */
    | { kind: 'export' }
    | { kind: 'directory' }
    | { kind: 'compressed'; compression: Compression }
    | { kind: 'unknown' }
  );

/** The first member of an archive that lodge exports. */
export const exportManifestName = 'lodge-export.json';
/** A partition table with its entries; what lies further is not needed to choose the firmware. */
const diskStartBytes = 64 << 10;
/** Tools that copy CDs drop up to 150 sectors of padding at the end. */
const isoPaddingBytes = 150 * 2048;

/**
 * Identifies what lies at a path.
 * @throws LodgeError `image-not-found` when nothing does, `host-io` when it cannot be read
 */
export function identify(path: string): Identity {
  try {
    const stats = statSync(path);
    if (stats.isDirectory()) return identifyDirectory(path);
    if (!stats.isFile()) return { kind: 'unknown', description: 'neither a file nor a directory' };
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw hostIoError('reading', path, cause);
    throw new LodgeError('image-not-found', 'there is no such file', { where: path });
  }
  return withFileBytes(path, identifyBytes);
}

function identifyDirectory(path: string): Identity {
  const isLayout = existsSync(join(path, 'oci-layout')) && existsSync(join(path, 'index.json'));
  return isLayout
    ? { kind: 'oci', form: 'layout', description: 'OCI image layout' }
    : { kind: 'directory', description: 'a directory' };
}

/** Identifies content. Never throws for what it reads. */
export function identifyBytes(bytes: Bytes): Identity {
  const head = bytes.read(0, 32 << 10);
  if (head.length === 0) return { kind: 'unknown', description: 'an empty file' };
  return (
    identifyKernel(bytes, head) ??
    identifyVirtualDisk(bytes, head) ??
    identifyIso(bytes) ??
    identifyFilesystem(bytes) ??
    identifyRawDisk(bytes) ??
    identifyArchive(bytes) ??
    identifyForeign(head)
  );
}

function identifyKernel(bytes: Bytes, head: Buffer): Identity | undefined {
  const boot = readBootHeader(bytes);
  if (boot !== undefined) return describeBoot(bytes, boot);
  const elf = readElf(bytes);
  const multiboot = multibootIn(head);
  // QEMU looks for these in this order too (hw/i386/x86.c, x86_load_linux).
  if (multiboot !== undefined) {
    const problem = elf === undefined ? {} : elfProblem(bytes, elf, multiboot.loadsElf);
    return { kind: 'kernel', format: 'multiboot', description: 'multiboot kernel', ...problem };
  }
  if (elf === undefined) return undefined;
  if (hasPvhEntry(bytes, elf)) {
    return {
      kind: 'kernel',
      format: 'pvh',
      description: 'ELF kernel with a PVH entry',
      ...elfProblem(bytes, elf, false),
    };
  }
  if (hasMultiboot2(head)) {
    return {
      kind: 'kernel',
      format: 'multiboot',
      description: 'multiboot2 kernel',
      problem: 'QEMU loads multiboot 1 kernels only',
      fix: 'put it on a CD image with a boot loader (grub-mkrescue) and boot that',
    };
  }
  return { kind: 'unknown', description: 'an ELF file that is not a kernel QEMU can load' };
}

function describeBoot(bytes: Bytes, boot: BootHeader): Identity {
  const release = releaseOf(boot.version);
  const missing = missingBytes(boot, bytes.size);
  return {
    kind: 'kernel',
    format: 'bzimage',
    description: `${release === undefined ? boot.version || 'a boot image' : `Linux ${release}`} (bzImage)`,
    ...(release === undefined ? {} : { release }),
    ...(missing > 0 ? { problem: `cut short: at least ${missing} bytes are missing` } : {}),
  };
}

/** Multiboot Specification 0.6.96, section 3.1; QEMU looks in the same place (hw/i386/multiboot.c). */
function multibootIn(head: Buffer): { loadsElf: boolean } | undefined {
  for (let at = 0; at < 8192 - 48 && at + 12 <= head.length; at += 4) {
    if (head.readUInt32LE(at) !== 0x1badb002) continue;
    const flags = head.readUInt32LE(at + 4);
    if ((0x1badb002 + flags + head.readUInt32LE(at + 8)) % 2 ** 32 !== 0) continue;
    // Without this flag the header has no addresses: the ELF headers say where things go.
    return { loadsElf: (flags & 0x10000) === 0 };
  }
  return undefined;
}

/** Multiboot2 Specification 2.0, section 3.1. */
function hasMultiboot2(head: Buffer): boolean {
  for (let at = 0; at + 16 <= head.length; at += 8) {
    if (head.readUInt32LE(at) !== 0xe85250d6) continue;
    const rest = head.readUInt32LE(at + 4) + head.readUInt32LE(at + 8) + head.readUInt32LE(at + 12);
    if ((0xe85250d6 + rest) % 2 ** 32 === 0) return true;
  }
  return false;
}

function elfProblem(bytes: Bytes, elf: Elf, loadedByMultiboot: boolean): { problem?: string; fix?: string } {
  if (elf.machine !== elfMachine.x86_64 && elf.machine !== elfMachine.i386) {
    return { problem: `made for another processor (ELF machine ${elf.machine})` };
  }
  if (elfEndBytes(elf) > bytes.size) {
    return { problem: `cut short: it has ${bytes.size} bytes and needs ${elfEndBytes(elf)}` };
  }
  if (loadedByMultiboot && elf.bits === 64) {
    return {
      problem: 'QEMU loads 32-bit ELF files only by multiboot',
      fix: 'give it as a 32-bit ELF file: objcopy -O elf32-i386 KERNEL KERNEL32',
    };
  }
  return {};
}

function identifyVirtualDisk(bytes: Bytes, head: Buffer): Identity | undefined {
  const qcow2 = readQcow2(bytes);
  if (qcow2 !== undefined) {
    const { problem, backing, hasDataFile, version } = qcow2;
    const inside =
      problem === undefined ? readDisk(bytesOfBuffer(qcow2DiskStart(bytes, diskStartBytes))) : undefined;
    return {
      kind: 'disk',
      format: 'qcow2',
      description: `qcow2 version ${version} disk`,
      firmware: inside?.firmware ?? 'bios',
      hasDataFile,
      ...(backing === undefined ? {} : { backing }),
      ...(problem === undefined ? {} : { problem }),
    };
  }
  const other = otherDisks.find(([, at, magic]) => head.toString('latin1', at, at + magic.length) === magic);
  if (other === undefined) return undefined;
  return {
    kind: 'unknown',
    description: `${other[0]} disk`,
    problem: 'lodge boots raw and qcow2 disks only',
    fix: 'convert it: qemu-img convert -O qcow2 DISK DISK.qcow2',
  };
}

/** Names, and where which bytes are, of disk formats of other makers, as `file` knows them. */
const otherDisks: readonly [string, number, string][] = [
  ['VMDK', 0, 'KDMV'],
  ['VHDX', 0, 'vhdxfile'],
  ['VHD', 0, 'conectix'],
  ['VDI', 64, '\x7f\x10\xda\xbe'],
];

function identifyIso(bytes: Bytes): Identity | undefined {
  const iso = readIso(bytes);
  if (iso === undefined) return undefined;
  const missing = iso.endBytes - isoPaddingBytes - bytes.size;
  return {
    kind: 'iso',
    description: `CD image${iso.hybrid ? ' (hybrid)' : ''}`,
    firmware: iso.firmware ?? 'bios',
    ...(missing > 0
      ? { problem: `cut short: it has ${bytes.size} bytes and should have ${iso.endBytes}` }
      : {}),
    ...(missing <= 0 && iso.firmware === undefined
      ? { problem: 'there is nothing on this CD that boots' }
      : {}),
  };
}

/**
 * Sources: fs/squashfs/squashfs_fs.h, fs/erofs/erofs_fs.h and Documentation/filesystems/ext4/super.rst of Linux.
 */
function identifyFilesystem(bytes: Bytes): Identity | undefined {
  const start = bytes.read(0, 96);
  const block = bytes.read(1024, 96);
  if (start.length === 96 && start.toString('latin1', 0, 4) === 'hsqs') {
    return filesystem('squashfs', bytes, Number(start.readBigUInt64LE(40)));
  }
  if (block.length < 96) return undefined;
  if (block.readUInt32LE(0) === 0xe0f5e1e2) {
    return filesystem('erofs', bytes, block.readUInt32LE(36) * 2 ** Math.min(block[12]!, 32));
  }
  // The state and the error behaviour have few values: two magic bytes alone are too little.
  if (block.readUInt16LE(56) === 0xef53 && block.readUInt16LE(58) <= 7 && block.readUInt16LE(60) <= 3) {
    return filesystem(
      'ext4',
      bytes,
      block.readUInt32LE(4) * 1024 * 2 ** Math.min(block.readUInt32LE(24), 32),
    );
  }
  return undefined;
}

function filesystem(name: 'squashfs' | 'erofs' | 'ext4', bytes: Bytes, endBytes: number): Identity {
  const cut = endBytes > bytes.size;
  return {
    kind: 'filesystem',
    filesystem: name,
    description: `${name} file system`,
    ...(cut ? { problem: `cut short: it has ${bytes.size} bytes and needs ${endBytes}` } : {}),
  };
}

function identifyRawDisk(bytes: Bytes): Identity | undefined {
  const disk = readDisk(bytes);
  if (disk === undefined) return undefined;
  const cut = disk.endBytes > bytes.size;
  return {
    kind: 'disk',
    format: 'raw',
    description: `raw disk (${disk.table.toUpperCase()})`,
    firmware: disk.firmware,
    ...(cut
      ? { problem: `cut short: it has ${bytes.size} bytes and its partitions need ${disk.endBytes}` }
      : {}),
  };
}

function identifyArchive(bytes: Bytes): Identity | undefined {
  const content = tarContent(bytes);
  if (content === undefined) return undefined;
  const { names, endBytes } = content;
  if (names[0] === exportManifestName) return { kind: 'export', description: 'an image exported by lodge' };
  if (names.includes('oci-layout')) return { kind: 'oci', form: 'archive', description: 'OCI archive' };
  if (names.includes('manifest.json'))
    return { kind: 'oci', form: 'docker-archive', description: 'Docker archive' };
  // What would tell a container image may be in the part that is not there.
  if (endBytes > bytes.size) {
    const problem = `cut short: it has ${bytes.size} bytes and needs at least ${endBytes}`;
    return { kind: 'unknown', description: 'tar archive', problem };
  }
  return { kind: 'unknown', description: 'a tar archive that is not a container image' };
}

function identifyForeign(head: Buffer): Identity {
  const compression = compressionOf(head);
  if (compression !== undefined) {
    return { kind: 'compressed', compression, description: `data compressed with ${compression}` };
  }
  if (head.toString('latin1', 0, 4) === '\x7fELF') {
    return head[5] === 1
      ? {
          kind: 'unknown',
          description: 'ELF file',
          problem: 'cut short or damaged: not all its headers are there',
        }
      : { kind: 'unknown', description: 'an ELF file for another processor' };
  }
  if (/^0707(01|02|07)/.test(head.toString('latin1', 0, 6)))
    return { kind: 'unknown', description: 'a cpio archive, as an initrd is, without a kernel' };
  if (head.toString('latin1', 56, 60) === 'ARM\x64')
    return { kind: 'unknown', description: 'an arm64 Linux kernel' };
  if (head.toString('latin1', 0, 2) === 'MZ')
    return { kind: 'unknown', description: 'an EFI or Windows program' };
  return {
    kind: 'unknown',
    description: `of no format lodge knows (it begins with ${head.toString('hex', 0, 8)})`,
  };
}

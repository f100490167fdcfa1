/**
 * Reads a Linux kernel in the x86 boot format and takes the ELF kernel out of it.
 * Format: Documentation/x86/boot.rst of Linux, "The Real-Mode Kernel Header".
 */

import { LodgeError } from '../errors.ts';
import { type Bytes, bytesOfBuffer } from './bytes.ts';
import { compressionOf, decompress } from './decompress.ts';
import { elfEndBytes, readElf } from './elf.ts';

export interface BootHeader {
  /** Boot protocol, 0x20c is 2.12. */
  protocol: number;
  /** The version text: `6.1.0-56-amd64 (…) #1 SMP …`; empty when there is none. */
  version: string;
  /** Where the protected-mode code begins and, by the header, ends (bytes in the file). */
  codeStart: number;
  codeEnd: number;
  /** The compressed kernel inside that code; nothing when the header does not say. */
  payload?: { offset: number; bytes: number };
}

const firstProtocolWithPayload = 0x208;
const sectorBytes = 512;

/** The boot header; nothing when this is not a Linux x86 boot image. */
export function readBootHeader(bytes: Bytes): BootHeader | undefined {
  const head = bytes.read(0, 0x260);
  if (
    head.length < 0x260 ||
    head.readUInt16LE(0x1fe) !== 0xaa55 ||
    head.toString('latin1', 0x202, 0x206) !== 'HdrS'
  ) {
    return undefined;
  }
  const protocol = head.readUInt16LE(0x206);
  // 0 means 4, for the first boot loaders.
  const setupSectors = head[0x1f1] === 0 ? 4 : head[0x1f1]!;
  const codeStart = (setupSectors + 1) * sectorBytes;
  const versionAt = head.readUInt16LE(0x20e);
  const versionBytes = versionAt === 0 ? undefined : bytes.read(versionAt + 0x200, 256);
  const payloadBytes = protocol >= firstProtocolWithPayload ? head.readUInt32LE(0x24c) : 0;
  return {
    protocol,
    version:
      versionBytes === undefined ? '' : (/^[\x20-\x7e]*/.exec(versionBytes.toString('latin1'))?.[0] ?? ''),
    codeStart,
    codeEnd: codeStart + head.readUInt32LE(0x1f4) * 16,
    ...(payloadBytes === 0
      ? {}
      : { payload: { offset: codeStart + head.readUInt32LE(0x248), bytes: payloadBytes } }),
  };
}

/** The kernel's release as `uname -r` prints it: the first word of its version text. */
export function releaseOf(version: string): string | undefined {
  const word = version.split(' ')[0];
  return word === undefined || !/^\d+\.[\w.+~-]+$/.test(word) ? undefined : word;
}

/** How many bytes are missing at the end of the file by what its header says; 0 for a whole one. */
export function missingBytes(header: BootHeader, size: number): number {
  // The code's size is counted in paragraphs of 16 bytes, rounded up.
  const codeMissing = header.codeEnd - 15 - size;
  const payloadMissing =
    header.payload === undefined ? 0 : header.payload.offset + header.payload.bytes - size;
  return Math.max(0, codeMissing, payloadMissing);
}

/**
 * Unpacks the ELF kernel (vmlinux) from a boot image.
 * @param where the file, for errors
 * @throws LodgeError `image-unreadable` for a truncated or damaged image, or one with nothing packed in it
 */
export async function unpackVmlinux(bytes: Bytes, header: BootHeader, where: string): Promise<Buffer> {
  const missing = missingBytes(header, bytes.size);
  if (missing > 0) {
    throw new LodgeError(
      'image-unreadable',
      `a kernel that is cut short: at least ${missing} of its bytes are missing`,
      {
        where,
        fix: 'copy or build it again',
      },
    );
  }
  if (header.payload === undefined) {
    throw new LodgeError('image-unreadable', 'a boot image with no packed Linux kernel in it', {
      where,
      fix: 'boot it as it is, without a command, or give a Linux kernel',
    });
  }
  const payload = bytes.read(header.payload.offset, header.payload.bytes);
  const compression = compressionOf(payload);
  const elf = bytesOfBuffer(payload);
  if (compression === undefined) {
    if (readElf(elf) !== undefined) return payload;
    throw new LodgeError('image-unreadable', 'a kernel packed in a way lodge does not know', {
      where,
      detail: `the packed part begins with ${payload.toString('hex', 0, 8)}`,
      fix: 'give the unpacked kernel (vmlinux of the kernel build)',
    });
  }
  // All but gzip, which has it built in, are followed by the unpacked size, which their programs do not expect.
  const stream = compression === 'gzip' ? payload : payload.subarray(0, -4);
  const unpacked = await decompress(stream, compression, where);
  const unpackedBytes = payload.readUInt32LE(payload.length - 4);
  if (unpacked.length !== unpackedBytes) {
    throw new LodgeError(
      'image-unreadable',
      `a damaged kernel: it unpacks to ${unpacked.length} bytes and should give ${unpackedBytes}`,
      { where, fix: 'copy or build it again' },
    );
  }
  return checkVmlinux(unpacked, where);
}

/** Cuts what follows the ELF file (relocations for the loader in the boot image) and checks the rest. */
function checkVmlinux(unpacked: Buffer, where: string): Buffer {
  const elf = readElf(bytesOfBuffer(unpacked));
  const end = elf === undefined ? 0 : elfEndBytes(elf);
  if (elf === undefined || end > unpacked.length) {
    throw new LodgeError(
      'image-unreadable',
      'a damaged kernel: what is packed in it is not a whole ELF file',
      {
        where,
        fix: 'copy or build it again',
      },
    );
  }
  return unpacked;
}

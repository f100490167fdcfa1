/**
 * Tar archives: the names in one that somebody brings, and writing and reading lodge's own.
 * Format: POSIX.1-2017, pax, "ustar Interchange Format"; numbers past 8 GiB as GNU tar writes them.
 */

import type { Bytes } from './bytes.ts';

const blockBytes = 512;
/** Members looked at before giving up on finding what tells an archive's kind. */
const mostMembers = 10_000;
const largestOctal = 8 ** 11;

export interface TarMember {
  name: string;
  /** `file`, `directory`, `link`, or anything else an archive may hold. */
  type: 'file' | 'directory' | 'link' | 'other';
  bytes: number;
  mode: number;
  target: string;
  /** Where its data begin in the archive. */
  at: number;
}

/**
 * The names of the members, without a leading `./`, and where the data of the last one end; nothing when this is not a
 * tar archive.
 */
export function tarContent(bytes: Bytes): { names: string[]; endBytes: number } | undefined {
  const names: string[] = [];
  let endBytes = 0;
  for (const member of tarMembers(bytes)) {
    names.push(member.name.replace(/^\.\//, ''));
    endBytes = member.at + member.bytes;
    if (names.length >= mostMembers) break;
  }
  return names.length === 0 ? undefined : { names, endBytes };
}

/** Members in their order; ends at the end of the archive or at the first thing that is not a header. */
export function* tarMembers(bytes: Bytes): Generator<TarMember> {
  for (let at = 0; ; ) {
    const header = bytes.read(at, blockBytes);
    const member = parseHeader(header, at);
    if (member === undefined) return;
    yield member;
    at = member.at + roundUp(member.bytes);
  }
}

function parseHeader(header: Buffer, at: number): TarMember | undefined {
  if (header.length < blockBytes || header.toString('latin1', 257, 262) !== 'ustar') return undefined;
  const bytes = number(header, 124, 12);
  const mode = number(header, 100, 8);
  if (bytes === undefined || mode === undefined || number(header, 148, 8) !== checksumOf(header))
    return undefined;
  const prefix = header.toString('latin1', 257, 265) === 'ustar\x0000' ? text(header, 345, 155) : '';
  const name = text(header, 0, 100);
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    type:
      ({ '0': 'file', '\0': 'file', '5': 'directory', '2': 'link' } as const)[
        header.toString('latin1', 156, 157)
      ] ?? 'other',
    bytes,
    mode,
    target: text(header, 157, 100),
    at: at + blockBytes,
  };
}

/** An octal number, or, with the top bit set, a big-endian one. */
function number(header: Buffer, at: number, length: number): number | undefined {
  if ((header[at]! & 0x80) !== 0) {
    const value = Number(header.readBigUInt64BE(at + length - 8));
    return Number.isSafeInteger(value) ? value : undefined;
  }
  const digits = text(header, at, length).trim();
  if (digits === '') return 0;
  return /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : undefined;
}

function text(header: Buffer, at: number, length: number): string {
  const raw = header.toString('utf8', at, at + length);
  const end = raw.indexOf('\0');
  return end === -1 ? raw : raw.slice(0, end);
}

/** The sum of the header's bytes, the checksum itself counted as spaces. */
function checksumOf(header: Buffer): number {
  let sum = 0;
  for (let at = 0; at < blockBytes; at++) sum += at >= 148 && at < 156 ? 0x20 : header[at]!;
  return sum;
}

/** The header of a member. Owner root, time 0: the same content gives the same archive. */
export function tarHeader(member: Pick<TarMember, 'name' | 'type' | 'bytes' | 'mode' | 'target'>): Buffer {
  if (Buffer.byteLength(member.target) > 100)
    throw new RangeError(`the link '${member.name}' is too long for a tar archive`);
  const header = Buffer.alloc(blockBytes);
  const [prefix, name] = splitName(member.name);
  const octal = (value: number, length: number): string => value.toString(8).padStart(length - 1, '0');
  header.write(name, 0);
  header.write(octal(member.mode, 8), 100);
  header.write(octal(0, 8), 108);
  header.write(octal(0, 8), 116);
  if (member.bytes < largestOctal) header.write(octal(member.bytes, 12), 124);
  else {
    header[124] = 0x80;
    header.writeBigUInt64BE(BigInt(member.bytes), 128);
  }
  header.write(octal(0, 12), 136);
  header.write({ file: '0', directory: '5', link: '2', other: '0' }[member.type], 156);
  header.write(member.target, 157, 100);
  header.write('ustar\x0000', 257, 'latin1');
  header.write(prefix, 345);
  header.write(`${checksumOf(header).toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}

/** Splits a long name at a slash into the two fields there are for it. */
function splitName(name: string): [prefix: string, name: string] {
  if (Buffer.byteLength(name) <= 100) return ['', name];
  for (let slash = name.indexOf('/'); slash !== -1; slash = name.indexOf('/', slash + 1)) {
    const [prefix, rest] = [name.slice(0, slash), name.slice(slash + 1)];
    if (Buffer.byteLength(prefix) <= 155 && Buffer.byteLength(rest) <= 100) return [prefix, rest];
  }
  throw new RangeError(`'${name}' is too long for a tar archive`);
}

/** Zeros that follow a member's data. */
export function tarPadding(bytes: number): Buffer {
  return Buffer.alloc(roundUp(bytes) - bytes);
}

/** The end of an archive. */
export const tarEnd: Buffer = Buffer.alloc(2 * blockBytes);

function roundUp(bytes: number): number {
  return Math.ceil(bytes / blockBytes) * blockBytes;
}

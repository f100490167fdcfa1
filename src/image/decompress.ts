/** Compressed data by its magic number, and taking it apart with the host's own programs (gzip: Node itself). */

import { spawn } from 'node:child_process';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { LodgeError } from '../errors.ts';
import { missingProgram } from '../process.ts';

export type Compression = 'gzip' | 'xz' | 'zstd' | 'lz4' | 'lzma' | 'bzip2' | 'lzo';

/**
 * Sources: RFC 1952 (gzip), the .xz file format, RFC 8878 (zstd), the lz4 frame and legacy frame formats,
 * lzma.txt of the LZMA SDK, bzip2's manual, lzop's header.
 */
const magics: readonly [Compression, string][] = [
  ['gzip', '1f8b08'],
  ['xz', 'fd377a585a00'],
  ['zstd', '28b52ffd'],
  ['lz4', '02214c18'],
  ['lz4', '04224d18'],
  ['lzma', '5d0000'],
  ['bzip2', '425a68'],
  ['lzo', '894c5a4f000d0a1a0a'],
];

const programs: Readonly<Record<Exclude<Compression, 'gzip'>, readonly string[]>> = {
  // What follows the first stream is ignored: kernels append the unpacked size.
  xz: ['xz', '--decompress', '--stdout', '--single-stream', '--quiet'],
  zstd: ['zstd', '--decompress', '--stdout', '--quiet', '--long=31'],
  lz4: ['lz4', '-d', '-c', '-q'],
  lzma: ['xz', '--decompress', '--stdout', '--format=lzma', '--quiet'],
  bzip2: ['bzip2', '--decompress', '--stdout', '--quiet'],
  lzo: ['lzop', '--decompress', '--stdout', '--quiet'],
};

/** The line of a program that unpacks its standard input to its standard output, all of it. */
export function decompressArgv(compression: Compression): readonly string[] {
  if (compression === 'gzip') return ['gzip', '--decompress', '--stdout', '--quiet'];
  return programs[compression].filter((word) => word !== '--single-stream');
}

const gunzipAsync = promisify(gunzip);
/** Nothing lodge unpacks in memory (kernels, modules) is larger; a bomb stops here. */
const mostUnpackedBytes = 1 << 30;

/** How data is compressed, by its first bytes. */
export function compressionOf(head: Buffer): Compression | undefined {
  return magics.find(([, magic]) => head.toString('hex', 0, magic.length / 2) === magic)?.[0];
}

/**
 * Unpacks data in memory.
 * @param where what the data is part of, for errors
 * @throws LodgeError `image-unreadable` when it is damaged, `missing-program`
 */
export async function decompress(data: Buffer, compression: Compression, where: string): Promise<Buffer> {
  if (compression === 'gzip') {
    try {
      return await gunzipAsync(data, { maxOutputLength: mostUnpackedBytes });
    } catch (cause) {
      throw unreadable(compression, where, (cause as Error).message, cause);
    }
  }
  return pipeThrough(programs[compression], data, compression, where);
}

function pipeThrough(
  [program = '', ...args]: readonly string[],
  data: Buffer,
  compression: Compression,
  where: string,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    let outBytes = 0;
    child.stdout.on('data', (piece: Buffer) => {
      outBytes += piece.length;
      if (outBytes > mostUnpackedBytes) child.kill('SIGKILL');
      else out.push(piece);
    });
    child.stderr.on('data', (piece: Buffer) => err.push(piece));
    child.on('error', (cause: NodeJS.ErrnoException) => {
      reject(cause.code === 'ENOENT' ? missingProgram(program, cause) : cause);
    });
    child.on('close', (code) => {
      if (code === 0) resolve(Buffer.concat(out, outBytes));
      else reject(unreadable(compression, where, Buffer.concat(err).toString().trim().split('\n')[0] ?? ''));
    });
    // The program stops reading at damage, or at the end of the first stream.
    child.stdin.on('error', () => {});
    child.stdin.end(data);
  });
}

/** The error for compressed data that is damaged. */
export function unreadable(
  compression: Compression,
  where: string,
  reason: string,
  cause?: unknown,
): LodgeError {
  const why = reason === '' ? '' : `: ${reason}`;
  return new LodgeError('image-unreadable', `its ${compression} data cannot be unpacked${why}`, {
    where,
    fix: 'the file is damaged or was cut short: fetch or build it again',
    cause,
  });
}

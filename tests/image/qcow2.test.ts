import { execFileSync } from 'node:child_process';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytesOfBuffer } from '../../src/image/bytes.ts';
import { identify } from '../../src/image/identify.ts';
import { qcow2DiskStart, readQcow2 } from '../../src/image/qcow2.ts';
import { hasProgram, makeDisk, temporaryDirectory } from './samples.ts';

const root = temporaryDirectory();
const qemuImg = (...args: string[]) => execFileSync('qemu-img', args, { cwd: root, stdio: 'pipe' });
const path = (name: string) => join(root, name);
const read = (name: string) => readQcow2(bytesOfBuffer(readFileSync(path(name))));

/** A disk with data that do not compress, so that its clusters are really there. */
function source(): Buffer {
  const disk = makeDisk({ gpt: true, efi: true });
  let state = 1;
  for (let at = 64 << 10; at < disk.length - 512; at++) {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    disk[at] = state >> 16;
  }
  return disk;
}

// These need qemu-img, which is installed with QEMU.
describe.skipIf(!hasProgram('qemu-img'))('readQcow2', () => {
  writeFileSync(path('raw'), source());
  const convert = (name: string, ...options: string[]) =>
    qemuImg('convert', '-f', 'raw', '-O', 'qcow2', ...options, 'raw', name);

  const variants: [string, string[]][] = [
    ['v3', []],
    ['v2', ['-o', 'compat=0.10']],
    ['compressed', ['-c']],
    ['small-clusters', ['-o', 'cluster_size=4096']],
    ['large-clusters', ['-o', 'cluster_size=2M']],
    ['refcounts-of-a-bit', ['-o', 'refcount_bits=1']],
    ['lazy', ['-o', 'lazy_refcounts=on']],
  ];
  it.each(variants)('finds %s sound, with the disk in it', (name, options) => {
    convert(name, ...options);
    expect(read(name)).toMatchObject({ virtualBytes: 1 << 20, hasDataFile: false });
    expect(read(name)?.problem).toBeUndefined();
    expect(identify(path(name))).toMatchObject({ kind: 'disk', format: 'qcow2', firmware: 'uefi' });
    const start = qcow2DiskStart(bytesOfBuffer(readFileSync(path(name))), 4096);
    expect(start.equals(source().subarray(0, 4096))).toBe(true);
  });

  it.each(variants)('finds %s cut short wherever it is cut by more than a cluster', (name, options) => {
    convert(`${name}-cut`, ...options);
    const whole = readFileSync(path(`${name}-cut`));
    const clusterBytes = read(`${name}-cut`)!.clusterBytes;
    for (const share of [0.01, 0.1, 0.3, 0.5, 0.7, 0.9]) {
      const length = Math.floor(whole.length * share);
      if (length < 72 || whole.length - length < clusterBytes) continue;
      expect(readQcow2(bytesOfBuffer(whole.subarray(0, length)))?.problem).toMatch(/cut short/);
    }
  });

  it('finds an empty and a sparse disk sound, and one that QEMU wrote', () => {
    qemuImg('create', '-q', '-f', 'qcow2', 'empty', '10G');
    expect(read('empty')).toMatchObject({ virtualBytes: 10 * 2 ** 30 });
    expect(read('empty')?.problem).toBeUndefined();
    expect(identify(path('empty'))).toMatchObject({ kind: 'disk', firmware: 'bios' });
    execFileSync('qemu-io', ['-c', 'write 5G 1M', path('empty')], { stdio: 'pipe' });
    expect(read('empty')?.problem).toBeUndefined();
    const { length } = readFileSync(path('empty'));
    truncateSync(path('empty'), length - (512 << 10));
    expect(read('empty')?.problem).toMatch(/cut short/);
  });

  it('sees a backing file and a data file', () => {
    qemuImg('create', '-q', '-f', 'qcow2', '-b', '/etc/shadow', '-F', 'raw', '-u', 'based', '1M');
    expect(read('based')).toMatchObject({ backing: '/etc/shadow' });
    qemuImg('create', '-q', '-f', 'qcow2', '-o', 'data_file=else', 'outside', '1M');
    expect(read('outside')).toMatchObject({ hasDataFile: true });
  });

  it('sees encryption and the mark of corruption', () => {
    const image = readFileSync(path('v3'));
    image[79] = 2;
    expect(readQcow2(bytesOfBuffer(image))?.problem).toMatch(/corrupt/);
    const encrypted = readFileSync(path('v2'));
    encrypted.writeUInt32BE(1, 32);
    expect(readQcow2(bytesOfBuffer(encrypted))?.problem).toMatch(/encrypted/);
  });

  it('never throws on damage', () => {
    const image = readFileSync(path('small-clusters'));
    const change = fc.tuple(fc.nat({ max: 12_500 }), fc.nat({ max: 255 }));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 20 }), (changes) => {
        const copy = Buffer.from(image);
        for (const [at, value] of changes) copy[at] = value;
        readQcow2(bytesOfBuffer(copy));
        return qcow2DiskStart(bytesOfBuffer(copy), 65_536).length <= 65_536;
      }),
      { numRuns: 300 },
    );
  });
});

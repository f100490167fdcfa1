import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { type CpioEntry, writeCpio } from '../../src/image/cpio.ts';
import { hasProgram } from './samples.ts';

const entries: CpioEntry[] = [
  { kind: 'directory', path: 'dev' },
  { kind: 'device', path: 'dev/console', type: 'character', major: 5, minor: 1 },
  { kind: 'file', path: '/init', data: Buffer.from('hello'), mode: 0o755 },
  { kind: 'symlink', path: 'link', target: 'init' },
];

interface Parsed {
  name: string;
  fields: number[];
  data: string;
}

/** Reads an archive by the same document, independently of the writer. */
function parse(archive: Buffer): Parsed[] {
  const parsed: Parsed[] = [];
  for (let at = 0; ; ) {
    expect(archive.toString('latin1', at, at + 6)).toBe('070701');
    const fields = Array.from({ length: 13 }, (_, i) =>
      Number.parseInt(archive.toString('latin1', at + 6 + i * 8, at + 14 + i * 8), 16),
    );
    const [fileBytes, nameBytes] = [fields[6]!, fields[11]!];
    const name = archive.toString('utf8', at + 110, at + 110 + nameBytes - 1);
    const dataAt = (at + 110 + nameBytes + 3) & ~3;
    parsed.push({ name, fields, data: archive.toString('utf8', dataAt, dataAt + fileBytes) });
    if (name === 'TRAILER!!!') return parsed;
    at = (dataAt + fileBytes + 3) & ~3;
  }
}

describe('writeCpio', () => {
  it('writes every kind of entry with its mode, owner root and time 0', () => {
    const parsed = parse(writeCpio(entries));
    expect(parsed.map(({ name, data }) => [name, data])).toEqual([
      ['dev', ''],
      ['dev/console', ''],
      ['init', 'hello'],
      ['link', 'init'],
      ['TRAILER!!!', ''],
    ]);
    // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor
    expect(parsed[0]!.fields.slice(0, 11)).toEqual([1, 0o040755, 0, 0, 2, 0, 0, 0, 0, 0, 0]);
    expect(parsed[1]!.fields.slice(0, 11)).toEqual([2, 0o020600, 0, 0, 1, 0, 0, 0, 0, 5, 1]);
    expect(parsed[2]!.fields.slice(0, 11)).toEqual([3, 0o100755, 0, 0, 1, 0, 5, 0, 0, 0, 0]);
    expect(parsed[3]!.fields[1]).toBe(0o120777);
  });

  it('gives the same bytes for the same entries, in whole sectors', () => {
    expect(writeCpio(entries).equals(writeCpio(entries))).toBe(true);
    expect(writeCpio(entries).length % 512).toBe(0);
  });

  it('refuses a path that the format cannot hold', () => {
    expect(() => writeCpio([{ kind: 'directory', path: '/' }])).toThrow('does not fit');
    expect(() => writeCpio([{ kind: 'directory', path: 'a\0b' }])).toThrow('does not fit');
    expect(() => writeCpio([{ kind: 'directory', path: 'x'.repeat(5000) }])).toThrow('does not fit');
  });

  it.skipIf(!hasProgram('cpio'))('is read by cpio', () => {
    const listing = execFileSync('cpio', ['-tv', '--quiet'], { input: writeCpio(entries) }).toString();
    expect(listing).toMatch(/crw-------\s+1 root\s+root\s+5,\s+1 .* dev\/console/);
    expect(listing).toMatch(/-rwxr-xr-x\s+1 root\s+root\s+5 .* init/);
  });
});
